//! The way to the engine: TLS, and a user that may do no more than it has to.

use crate::calls_under_way::served_again;
use crate::harness::{Engine, Fleet};
use crate::support::Request;
use crate::support::certificates::Authority;

/// The document that says which rights the user needs.
const OPERATIONS: &str = include_str!("../../docs/operations.md");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_these_rights_and_a_password_is_enough() {
    let (_, rights) = OPERATIONS.split_once("ACL SETUSER portcullis on >PASSWORD ").expect("the command");
    let rights = rights.lines().next().expect("the rest of the line").trim_end_matches('`');
    let users = format!(
        "user default on >password-of-the-tests ~* &* +@all\nuser portcullis on >password-of-portcullis {rights}\n"
    );
    let engine = Engine::with(&users, Some(("default", "password-of-the-tests"))).await;
    let credentials = "[shared_state]\nusername = 'portcullis'\npassword = 'password-of-portcullis'";
    let fleet = Fleet::with(&engine.url(), credentials).await;
    uses_everything(&fleet).await;
    let refused = engine.ask(&["ACL", "LOG"]).await;
    // redis-rs says its name, which engines before 7.2 do not understand.
    let refused: Vec<_> = refused.chunks(2).filter(|pair| pair[0] == "object").map(|pair| &pair[1]).collect();
    assert!(refused.iter().all(|command| *command == "client|setinfo"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valkey_where_there_is_one_does_as_well() {
    let engine = Engine::preferring_valkey().await;
    let url = engine.url().replace("redis://", "valkey://");
    uses_everything(&Fleet::start(&url).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_with_tls_is_reached_by_its_authority() {
    let authority = Authority::new();
    authority.certify("engine", &["localhost", "127.0.0.1"]);
    let ca = authority.ca();
    let file = |name: &str| authority.path(name).display().to_string();
    let tls = format!(
        "tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {ca}\ntls-auth-clients no\n",
        file("engine.pem"),
        file("engine.key")
    );
    let engine = Engine::with(&tls, None).await;
    let url = format!("rediss://{}/0", engine.address());
    let fleet = Fleet::with(&url, &format!("[shared_state]\nca = '{ca}'")).await;
    uses_everything(&fleet).await;
}

/// Login, refresh, replay, logout, a wrong password, an operator's revocation.
async fn uses_everything(fleet: &Fleet) {
    let browser = fleet.logged_in(0, "ada").await;
    fleet.replicas[1].browser().try_log_in("ada", "wrong").await.assert_status(401);
    fleet.expired(&browser).await;
    fleet.provider.set(|settings| settings.lifetime = 300);
    let mut tab = fleet.tab(&browser, 1);
    tab.get("/api/cart").await.assert_status(200);
    for replica in [0, 2] {
        served_again(&fleet.tab(&browser, replica)).await;
    }
    assert_eq!(fleet.calls(), 1);
    tab.send(Request::post("/api/logout")).await.assert_status(204);
    fleet.revoke(2, "id-of-bob").await;
    let mut old = fleet.tab(&tab, 0);
    old.jar.clone_from(&browser.jar);
    crate::harness::soon("the end of the session", async {
        while old.clone().get("/api/cart").await.status() != 401 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}
