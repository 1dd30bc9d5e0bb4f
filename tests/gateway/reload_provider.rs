//! Reloads that change an identity provider's table, or its name. Everything that depends on the provider goes on.

use crate::support::gateway::REFRESH;
use crate::support::{Browser, Endpoint, Fault, Request, SEALED, World};

/// The provider's table under another name.
fn rename_provider(config: &mut toml::Table) {
    let providers = config["identity_providers"].as_table_mut().unwrap();
    let table = providers.remove("main").unwrap();
    providers.insert("renamed".to_owned(), table);
}

const TOKEN: &str = "[server]\nadmin_token = 'a token of the tests'\n";

async fn revoke(world: &World, body: serde_json::Value) {
    let request = Request::post("/sessions/revoke").header("Authorization", "Bearer a token of the tests");
    let mut admin = Browser::new(world.gateway.admin, "localhost");
    admin.send(request.json(&body)).await.assert_status(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_ended_stays_so_when_the_providers_table_is_renamed() {
    for session in ["", SEALED] {
        let changes = format!("{TOKEN}{session}[server.limits]\nfailed_logins_per_name = 2");
        let world = World::with(&changes).await;
        world.provider.set(|settings| settings.claims = serde_json::json!({"sid": "s-1"}));
        let by_session = world.logged_in("sid").await;
        world.provider.set(|settings| settings.claims = serde_json::json!({}));
        let (by_subject, mut ended) = (world.logged_in("ada").await, world.logged_in("ben").await);
        let stolen = ended.clone();
        revoke(&world, serde_json::json!({"sub": "id-of-ada"})).await;
        revoke(&world, serde_json::json!({"sid": "s-1"})).await;
        world.provider.fail(Endpoint::Revoke, Fault::status(503, ""));
        ended.send(Request::post("/api/logout")).await.assert_status(204);
        let mut going_on = world.logged_in("eve").await;
        for _ in 0..2 {
            world.browser().try_log_in("mallory", "a guess").await.assert_status(401);
        }

        world.reload_without(&changes, rename_provider).await;
        for (mut browser, whose) in [(by_subject, "subject"), (by_session, "session"), (stolen, "logout")] {
            let mut without_refresh = browser.clone();
            without_refresh.jar.remove(REFRESH);
            let answer = without_refresh.get("/api/cart").await;
            assert_eq!(answer.status(), 401, "{whose}: {}", answer.text());
            let answer = browser.get("/api/cart").await;
            assert_eq!(answer.status(), 401, "{whose}: {}", answer.text());
        }
        let guess = world.browser().try_log_in("mallory", "a guess").await;
        guess.assert_problem(429, "too_many_attempts");
        going_on.get("/api/cart").await.assert_status(200);
        world.expire_access_tokens();
        going_on.get("/api/cart").await.assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_and_their_replays_outlive_a_new_name_of_the_provider() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    let mut other_tab = browser.clone();
    browser.get("/api/cart").await.assert_status(200);
    world.reload_without("", rename_provider).await;
    other_tab.get("/api/cart").await.assert_status(200);
    assert_eq!(browser.jar, other_tab.jar);
    assert_eq!(world.provider.count(Endpoint::Refresh), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tables_of_one_issuer_are_one_provider_to_what_is_revoked() {
    let world = World::builder().await;
    let issuer = world.provider.issuer();
    let second = format!(
        "{TOKEN}[identity_providers.second]\nissuer = '{issuer}'\nscope = 'openid'\n\
         [apps.store]\nidentity_provider = 'main'\n[apps.forums]\nidentity_provider = 'second'"
    );
    let world = world.lay_over(&second).start().await;
    world.provider.set(|settings| settings.key = crate::support::Key::Ed);
    let (mut store, mut forums) = (world.logged_in("ada").await, world.forums_browser());
    forums.log_in("ada").await;
    for browser in [&mut store, &mut forums] {
        browser.jar.remove(REFRESH);
        browser.get("/api/cart").await.assert_status(200);
    }
    revoke(&world, serde_json::json!({"sub": "id-of-ada", "identity_provider": "second"})).await;
    for browser in [&mut store, &mut forums] {
        browser.get("/api/cart").await.assert_problem(401, "not_logged_in");
    }
    // Nor do logins of one user go there at the same time by two ways.
    world.provider.fail(Endpoint::Login, Fault::delay(200));
    let (mut one, mut other) = (world.browser(), world.forums_browser());
    tokio::join!(one.log_in("ada"), other.log_in("ada"));
    assert_eq!(world.provider.most_parallel(Endpoint::Login), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_while_the_provider_is_down_keeps_its_keys() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    world.provider.listening().down();
    let issuer = world.provider.issuer();
    let settings = [
        "request_timeout = '4s'".to_owned(),
        "connect_timeout = '1s'".to_owned(),
        "scope = 'openid'".to_owned(),
        "client_auth = 'post'".to_owned(),
        "revocation_client_auth = 'post'".to_owned(),
        "leeway = '9s'".to_owned(),
        "jwks_refresh = '9m'".to_owned(),
        "jwks_cooldown = '9s'".to_owned(),
        "allow_insecure_http = true".to_owned(),
        "logout = 'end_session'".to_owned(),
        format!("token_endpoint = '{issuer}/token'"),
        format!("revocation_endpoint = '{issuer}/revoke'"),
        format!("jwks_uri = '{issuer}/jwks'"),
        "algorithms = ['ES256', 'RS256', 'EdDSA']".to_owned(),
    ];
    for setting in settings {
        let changes = world.reload(&format!("[identity_providers.main]\n{setting}")).await;
        assert!(!changes.is_empty(), "{setting}");
        let answer = browser.get("/api/cart").await;
        assert_eq!(answer.status(), 200, "{setting}: {}", answer.text());
        assert_eq!(world.gateway.admin_get("/readyz").await.status(), 200, "{setting}");
        world.reload("").await;
    }
    world.reload_without("", rename_provider).await;
    browser.get("/api/cart").await.assert_status(200);
    world.reload("[identity_providers.main]\nscope = 'openid'").await;
    world.provider.listening().up().await;
    world.expire_access_tokens();
    browser.get("/api/cart").await.assert_status(200);
    assert_eq!(world.provider.calls(Endpoint::Login).len(), 1);
    world.browser().log_in("ada").await;
    assert_eq!(world.provider.calls(Endpoint::Login)[1].field("scope"), Some("openid"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_elsewhere_are_not_kept() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    browser.jar.remove(REFRESH);
    world.provider.listening().down();
    for (setting, status) in [
        ("issuer = 'http://127.0.0.1:9/other'", 503),
        ("jwks_uri = 'http://127.0.0.1:9/jwks'", 503),
        ("algorithms = ['RS256']", 503),
        ("algorithms = ['HS256']\nhmac_secret = 'a secret of thirty-two bytes, ok?'", 401),
    ] {
        world.reload(&format!("[identity_providers.main]\n{setting}")).await;
        let answer = browser.get("/api/cart").await;
        assert_eq!(answer.status(), status, "{setting}: {}", answer.text());
        world.provider.listening().up().await;
        world.reload("").await;
        browser.get("/api/cart").await.assert_status(200);
        world.provider.listening().down();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_ended_stays_so_when_the_apps_table_is_renamed() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let stolen = browser.clone();
    world.provider.fail(Endpoint::Revoke, Fault::status(503, ""));
    browser.send(Request::post("/api/logout")).await.assert_status(204);
    world
        .reload_without("", |config| {
            let apps = config["apps"].as_table_mut().unwrap();
            let table = apps.remove("store").unwrap();
            apps.insert("shop".to_owned(), table);
        })
        .await;
    let mut refresh_token_alone = stolen.clone();
    refresh_token_alone.jar.remove(crate::support::gateway::ACCESS);
    for mut browser in [stolen, refresh_token_alone] {
        browser.get("/api/cart").await.assert_problem(401, "session_expired");
    }
    assert_eq!(world.provider.count(Endpoint::Refresh), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_apps_of_one_client_share_refreshes_and_nothing_else() {
    let second = "[apps.forums]\nclient_id = 'store'\nclient_secret = 'store-secret'\naudience = 'store'\n\
                  identity_headers = { X-Name = 'name' }";
    let builder = World::builder().await.without("apps.forums.identity_headers");
    let world = builder.lay_over(second).start().await;
    let mut store = world.logged_in("ada").await;
    world.expire_access_tokens();
    let mut forums = store.clone();
    forums.host = "forums.localhost".into();
    for browser in [&mut store, &mut forums] {
        let answer = browser.get("/api/cart").await;
        answer.assert_status(200);
        let is_forums = browser.host.starts_with("forums");
        assert_eq!(answer.seen_by_app("x-name").is_some(), is_forums, "by the app's own rules");
        assert_eq!(answer.seen_by_app("x-auth-user").is_some(), !is_forums);
    }
    assert_eq!(world.provider.count(Endpoint::Refresh), 1, "one session, and one use of its refresh token");
    assert_eq!(store.jar, forums.jar);
}
