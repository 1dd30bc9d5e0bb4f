//! Logout: the refresh token is revoked where that can be done, the cookies are cleared in any case.

use std::time::Duration;

use serde_json::json;

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Endpoint, Fault, Reply, Request, World, patiently};

fn logout() -> Request {
    Request::post("/api/logout")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_204_with_the_cookies_cleared_whatever_the_provider_says() {
    let world = World::with("[identity_providers.main]\nrequest_timeout = \"1s\"").await;
    let faults = [
        Fault::status(200, ""),
        Fault::Answer {
            status: 200,
            headers: "Content-Type: text/html\r\n".into(),
            body: "<html>bye".into(),
        },
        Fault::oauth_error(400, "unsupported_token_type"),
        Fault::oauth_error(401, "invalid_client"),
        Fault::status(500, ""),
        Fault::Garbage,
        Fault::Reset,
        Fault::delay(6000),
    ];
    for fault in faults {
        let mut browser = world.logged_in("ada").await;
        world.provider.fail_next(Endpoint::Revoke, fault.clone());
        let answer = browser.send(logout()).await;
        assert_eq!(answer.status(), 204, "{fault:?}: {}", answer.text());
        assert!(answer.set_cookie(ACCESS).is_some_and(|cookie| cookie.clears()), "{fault:?}");
        assert!(answer.set_cookie(REFRESH).is_some_and(|cookie| cookie.clears()), "{fault:?}");
        assert!(browser.jar.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_while_the_provider_is_down_and_without_a_revocation_endpoint() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    world.provider.listening().down();
    browser.send(logout()).await.assert_status(204);
    assert!(browser.jar.is_empty());

    let builder = World::builder().await;
    builder.provider.set(|settings| settings.discovery = json!({"revocation_endpoint": null}));
    let world = builder.start().await;
    let mut browser = world.logged_in("ada").await;
    browser.send(logout()).await.assert_status(204);
    assert!(browser.jar.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_without_a_session_and_with_an_expired_jwt() {
    let world = World::start().await;
    world.browser().send(logout()).await.assert_status(204);
    assert_eq!(world.provider.count(Endpoint::Revoke), 0);
    let mut browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    browser.send(logout()).await.assert_status(204);
    assert_eq!(world.provider.count(Endpoint::Revoke), 1);
    assert_eq!(world.provider.count(Endpoint::Refresh), 0, "no refresh on the way out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_it_the_old_refresh_token_is_dead_here_even_within_the_replay_window() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let before_refresh = browser.clone();
    world.expire_access_tokens();
    browser.get("/api/cart").await.assert_status(200);
    let after_refresh = browser.clone();
    browser.send(logout()).await.assert_status(204);
    for mut old in [before_refresh, after_refresh] {
        old.jar.remove(ACCESS);
        let answer = old.get("/api/cart").await;
        answer.assert_problem(401, "session_expired");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_with_old_cookies_revokes_the_session_that_they_led_to() {
    // Two tabs: one has refreshed, the other logs out with what it still has.
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let mut other_tab = browser.clone();
    world.expire_access_tokens();
    browser.get("/api/cart").await.assert_status(200);
    other_tab.send(logout()).await.assert_status(204);
    browser.jar.remove(ACCESS);
    browser.get("/api/cart").await.assert_problem(401, "session_expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_under_way_cannot_resurrect_a_session_that_logs_out() {
    let world = World::start().await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.fail_next(Endpoint::Refresh, Fault::delay(600));
    let mut refreshing = browser.clone();
    let refresh = tokio::spawn(async move {
        let answer = refreshing.get("/api/cart").await;
        (answer, refreshing)
    });
    while world.provider.count(Endpoint::Refresh) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    browser.clone().send(logout()).await.assert_status(204);
    let (_, mut after) = refresh.await.unwrap();
    after.jar.remove(ACCESS);
    if after.jar.contains_key(REFRESH) {
        let answer = after.get("/api/cart").await;
        assert_eq!(answer.status(), 401, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_response_brings_no_ended_session_back_and_ends_no_newer_one() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.store.on("/api/slow", Reply::after(1500, Reply::Echo));
    let mut slow = browser.clone();
    let late = tokio::spawn(async move { slow.get("/api/slow").await });
    patiently("the app to be asked", async {
        while !world.store.seen().iter().any(|seen| seen.head.first_line.contains("/api/slow")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // The request has been refreshed and is at the app. Meanwhile, in another tab, ada leaves and eve comes.
    browser.send(logout()).await.assert_status(204);
    browser.log_in("eve").await.assert_status(200);
    let answer = late.await.unwrap();
    answer.assert_status(200);
    assert!(answer.set_cookies().is_empty(), "neither new tokens of ada's session nor the end of eve's");
    browser.get("/api/cart").await.assert_status(200);
}

const END_SESSION: &str = "[identity_providers.main]\nlogout = \"end_session\"\nrequest_timeout = \"1s\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_end_session_the_provider_s_session_ends_by_its_refresh_token() {
    let world = World::with(END_SESSION).await;
    let mut browser = world.logged_in("ada").await;
    let refresh_token = browser.jar[REFRESH].clone();
    browser.send(logout()).await.assert_status(204);
    let call = world.provider.calls(Endpoint::EndSession).pop().expect("a call");
    assert_eq!(call.field("refresh_token"), Some(refresh_token.as_str()));
    assert!(call.head.get("authorization").is_some_and(|header| header.starts_with("Basic ")));
    assert!(!world.provider.is_alive(&refresh_token));
    assert_eq!(world.provider.count(Endpoint::Revoke), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_end_session_what_may_pass_is_tried_again_and_a_refusal_is_final() {
    let world = World::with(END_SESSION).await;
    for fault in [Fault::status(503, ""), Fault::Reset, Fault::delay(6000)] {
        let mut browser = world.logged_in("ada").await;
        let refresh_token = browser.jar[REFRESH].clone();
        let before = world.provider.count(Endpoint::EndSession);
        world.provider.fail_next(Endpoint::EndSession, fault.clone());
        browser.send(logout()).await.assert_status(204);
        assert!(browser.jar.is_empty(), "{fault:?}");
        patiently("another attempt", async {
            while world.provider.count(Endpoint::EndSession) < before + 2 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        assert!(!world.provider.is_alive(&refresh_token), "{fault:?}");
    }
    let before = world.provider.count(Endpoint::EndSession);
    let mut browser = world.logged_in("ada").await;
    browser.jar.insert(REFRESH.into(), "garbage".into());
    browser.send(logout()).await.assert_status(204);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(world.provider.count(Endpoint::EndSession), before + 1, "a refusal is not repeated");
}
