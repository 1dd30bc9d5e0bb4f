//! Durations of an identity provider: each does what it says, whatever the others are set to.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::timeout;

use crate::support::deaf::Deaf;
use crate::support::gateway::ACCESS;
use crate::support::{Endpoint, Fault, Request, World};

/// A call goes on for 20 s at least.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_may_take_as_long_as_is_configured_for_a_refresh() {
    let world = World::with("[identity_providers.main]\nrequest_timeout = '1m'").await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.fail_next(Endpoint::Refresh, Fault::delay(21_500));
    let mut wire = browser.clone().open().await;
    wire.send(crate::support::client::request_bytes(&browser, &Request::get("/api/x"))).await.unwrap();
    let head =
        timeout(Duration::from_secs(60), wire.head()).await.expect("an answer").unwrap().expect("a head");
    assert_eq!(head.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_cannot_be_connected_to_is_given_up_by_the_shorter_of_two_times() {
    let deaf = Deaf::start().await;
    for (connect, request, least) in [("300ms", "1m", 300), ("1m", "1s", 1000)] {
        let toml = format!(
            "[identity_providers.main]\ntoken_endpoint = 'http://{}/token'\nconnect_timeout = '{connect}'\nrequest_timeout = '{request}'",
            deaf.address
        );
        let world = World::with(&toml).await;
        let started = Instant::now();
        let answer = world.browser().try_log_in("ada", crate::support::provider::PASSWORD).await;
        assert_eq!(answer.status(), 503, "{}", answer.text());
        assert!(started.elapsed() >= Duration::from_millis(least), "{connect}: {:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_jwt_is_good_for_the_leeway() {
    for (leeway, is_good) in [("5m", true), ("0s", false)] {
        let world = World::with(&format!("[identity_providers.main]\nleeway = '{leeway}'")).await;
        let now = world.provider_now();
        let token = world.provider.mint("ada", "store", &json!({"exp": now - 100}));
        let mut browser = world.browser();
        browser.jar.insert(ACCESS.to_owned(), token);
        let status = browser.get("/api/x").await.status();
        assert_eq!(status, if is_good { 200 } else { 401 }, "{leeway}");
    }
}
