//! A provider whose clock is ahead of ours.

use serde_json::{Value, json};

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Browser, Endpoint, Key, Request, World};

/// From now on every JWT is issued so many seconds from now.
fn put_ahead(world: &World, seconds: u64) {
    let issued_at = world.provider_now() + seconds;
    world.provider.set(|settings| settings.claims = json!({"iat": issued_at}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_half_a_minute_ahead_keeps_nobody_out() {
    for leeway in ["0s", "5s"] {
        let world = World::with(&format!("[identity_providers.main]\nleeway = '{leeway}'")).await;
        for seconds in [1, 6, 20, 30] {
            put_ahead(&world, seconds);
            let mut browser = world.browser();
            let answer = browser.try_log_in("ada", "correct horse").await;
            assert_eq!(answer.status(), 200, "{seconds} s: {}", answer.text());
            browser.get("/api/cart").await.assert_status(200);
            world.expire_access_tokens();
            put_ahead(&world, seconds);
            browser.get("/api/cart").await.assert_status(200);
        }
        put_ahead(&world, 31);
        let answer = world.browser().try_log_in("ada", "correct horse").await;
        answer.assert_problem(503, "identity_provider_unavailable");
    }
    let world = World::with("[identity_providers.main]\nleeway = '60s'").await;
    put_ahead(&world, 60);
    world.browser().log_in("ada").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_to_be_used_yet_is_not() {
    let world = World::start().await;
    let now = world.provider_now();
    world.provider.set(|settings| settings.claims = json!({"iat": now + 10, "nbf": now + 10}));
    let answer = world.browser().try_log_in("ada", "correct horse").await;
    answer.assert_problem(503, "identity_provider_unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_such_a_clock_issued_before_a_revocation_is_revoked() {
    let world = World::with("[server]\nadmin_token = 'a token of the tests'").await;
    put_ahead(&world, 20);
    let mut browser = world.logged_in("ada").await;
    browser.jar.remove(REFRESH);
    browser.get("/api/cart").await.assert_status(200);
    let request = Request::post("/sessions/revoke").header("Authorization", "Bearer a token of the tests");
    let mut admin = Browser::new(world.gateway.admin, "localhost");
    admin.send(request.json(&json!({"sub": "id-of-ada"}))).await.assert_status(204);
    browser.get("/api/cart").await.assert_problem(401, "not_logged_in");
    assert_eq!(world.provider.count(Endpoint::Refresh), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_token_of_such_a_clock_counts() {
    let world = World::with("[apps.store.backchannel_logout]\npath = '/backchannel'").await;
    world.provider.set(|settings| settings.claims = json!({"sid": "s-1"}));
    let mut browser = world.logged_in("ada").await;
    let now = world.provider_now();
    let claims: Value = json!({
        "iss": world.provider.issuer(), "aud": "store", "iat": now + 20, "exp": now + 140, "jti": "l-1",
        "sid": "s-1", "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    });
    let token = Key::Rsa.sign(&claims);
    let request = Request::post("/backchannel").form(&format!("logout_token={token}"));
    world.browser().send(request).await.assert_status(200);
    assert!(browser.jar.contains_key(ACCESS));
    browser.get("/api/cart").await.assert_problem(401, "session_expired");
}
