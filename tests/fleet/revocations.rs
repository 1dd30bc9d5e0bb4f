//! A session that ends at one replica ends at all of them.

use serde_json::{Value, json};

use crate::harness::engine::Absence;
use crate::harness::load::{ACCESS, REFRESH};
use crate::harness::socket::Socket;
use crate::harness::{Engine, Fleet, Plan, soon};
use crate::support::{Browser, Key, Request};

const BACKCHANNEL_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

#[derive(Debug, Clone, Copy)]
enum End {
    Logout,
    BackchannelLogout,
    Revocation,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_end_a_session_at_one_replica_ends_it_at_the_others() {
    let engine = Engine::start().await;
    let fleet = long_lived(&engine).await;
    for end in [End::Logout, End::BackchannelLogout, End::Revocation] {
        let user = format!("{end:?}").to_lowercase();
        let browser = sign_in(&fleet, &user).await;
        let bystander = sign_in(&fleet, &format!("not-{user}")).await;
        let mut sockets = Vec::new();
        for replica in [0, 1, 2] {
            let mut tab = fleet.tab(&browser, replica);
            tab.get("/api/cart").await.assert_status(200);
            sockets.push(Socket::open(&tab).await);
        }
        let mut other = Socket::open(&fleet.tab(&bystander, 1)).await;
        finish(&fleet, end, &user, &browser).await;
        for replica in [0, 1, 2] {
            is_refused(&fleet, &browser, replica).await;
        }
        for socket in &mut sockets {
            assert_eq!(socket.closed().await, Some(4401), "{end:?}");
        }
        other.echoes().await;
        for replica in [0, 1, 2] {
            fleet.tab(&bystander, replica).get("/api/cart").await.assert_status(200);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_while_the_engine_is_away_ends_at_the_others_on_its_return() {
    for absence in [Absence::Paused, Absence::Killed] {
        let mut engine = Engine::start().await;
        let fleet = long_lived(&engine).await;
        let browser = sign_in(&fleet, "ada").await;
        let revoked = sign_in(&fleet, "bob").await;
        engine.leave(absence);
        finish(&fleet, End::Logout, "ada", &browser).await;
        finish(&fleet, End::Revocation, "bob", &revoked).await;
        for session in [&browser, &revoked] {
            // At once, where it was said.
            jwt_alone(&fleet, session, 0).get("/api/cart").await.assert_status(401);
            jwt_alone(&fleet, session, 1).get("/api/cart").await.assert_status(200);
        }
        engine.come_back(absence).await;
        for session in [&browser, &revoked] {
            for replica in [1, 2] {
                is_refused(&fleet, session, replica).await;
            }
        }
    }
}

/// The entries of the new generation have smaller ids than those that the replicas have read already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_engine_whose_clock_is_behind_has_nothing_skipped() {
    let mut engine = Engine::start().await;
    let fleet = long_lived(&engine).await;
    let first = sign_in(&fleet, "ada").await;
    finish(&fleet, End::Logout, "ada", &first).await;
    is_refused(&fleet, &first, 1).await;
    // From now on its ids are of the year 2100.
    let stream = engine.keys().await.into_iter().find(|key| key.ends_with("rev")).expect("a stream");
    engine.ask(&["XSETID", &stream, "4102444800000-0"]).await;
    let second = sign_in(&fleet, "bob").await;
    finish(&fleet, End::Logout, "bob", &second).await;
    is_refused(&fleet, &second, 1).await;
    is_refused(&fleet, &second, 2).await;

    engine.start_empty().await;
    let third = sign_in(&fleet, "eve").await;
    finish(&fleet, End::Logout, "eve", &third).await;
    for replica in [1, 2] {
        is_refused(&fleet, &third, replica).await;
        is_refused(&fleet, &first, replica).await;
    }
}

/// One of the replicas tells an empty engine everything that they know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_starts_after_the_engine_was_emptied_knows_all() {
    let mut engine = Engine::start().await;
    let mut fleet = long_lived(&engine).await;
    let browser = sign_in(&fleet, "ada").await;
    finish(&fleet, End::Revocation, "ada", &browser).await;
    is_refused(&fleet, &browser, 2).await;
    engine.start_empty().await;
    soon("a stream in the new engine", async {
        while !engine.keys().await.iter().any(|key| key.ends_with("rev")) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    fleet.replicas.push(fleet.newcomer(""));
    fleet.replicas[3].ready().await;
    jwt_alone(&fleet, &browser, 3).get("/api/cart").await.assert_status(401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_lives_on_while_its_session_is_refreshed_at_another_replica() {
    let engine = Engine::start().await;
    let plan = Plan::shared(&engine.url()).await;
    plan.provider.set(|settings| settings.lifetime = 8);
    let fleet = plan.start().await;
    let browser = fleet.logged_in(0, "ada").await;
    let mut socket = Socket::open(&browser).await;
    let mut tab = fleet.tab(&browser, 1);
    // The JWT is refreshed before it expires, and each time the WebSocket outlives the one before.
    while fleet.calls() < 3 {
        tab.get("/api/cart").await.assert_status(200);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        socket.echoes().await;
    }
    tab.send(Request::post("/api/logout")).await.assert_status(204);
    assert_eq!(socket.closed().await, Some(4401));
}

/// A fleet whose JWTs live for the whole test.
async fn long_lived(engine: &Engine) -> Fleet {
    let plan = Plan::shared(&engine.url()).await;
    plan.provider.set(|settings| settings.lifetime = 300);
    plan.start().await
}

/// Signs a user in at the first replica, in a session that has a name.
async fn sign_in(fleet: &Fleet, user: &str) -> Browser {
    let claims = json!({ "sid": format!("sid-of-{user}") });
    fleet.provider.set(|settings| settings.claims = claims);
    fleet.logged_in(0, user).await
}

/// Ends a session at the first replica.
async fn finish(fleet: &Fleet, end: End, user: &str, browser: &Browser) {
    match end {
        End::Logout => {
            fleet.tab(browser, 0).send(Request::post("/api/logout")).await.assert_status(204);
        }
        End::BackchannelLogout => {
            let expires = crate::harness::fleet::claim(&browser.jar[ACCESS], "exp");
            let claims = json!({
                "iss": fleet.provider.issuer(), "aud": "store", "sid": format!("sid-of-{user}"), "jti": user,
                "iat": expires - 300, "exp": expires, "events": { BACKCHANNEL_EVENT: {} },
            });
            let request = Request::post("/api/backchannel-logout");
            let form = format!("logout_token={}", logout_token(&claims));
            fleet.replicas[0].browser().send(request.form(&form)).await.assert_status(200);
        }
        End::Revocation => fleet.revoke(0, &format!("id-of-{user}")).await,
    }
}

fn logout_token(claims: &Value) -> String {
    let header = json!({"alg": Key::Rsa.algorithm(), "typ": "logout+jwt", "kid": Key::Rsa.id()});
    Key::Rsa.sign_raw(&header.to_string(), &claims.to_string())
}

/// A thief who has the JWT alone: only a revocation can tell.
fn jwt_alone(fleet: &Fleet, browser: &Browser, replica: usize) -> Browser {
    let mut thief = fleet.tab(browser, replica);
    thief.jar.remove(REFRESH);
    thief
}

/// Waits until a replica refuses a session, with and without its refresh token.
async fn is_refused(fleet: &Fleet, browser: &Browser, replica: usize) {
    soon("a refusal", async {
        while jwt_alone(fleet, browser, replica).get("/api/cart").await.status() != 401 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    fleet.tab(browser, replica).get("/api/cart").await.assert_status(401);
}
