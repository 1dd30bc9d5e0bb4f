//! Answers that never come to their client: they make no thief of it, and a real thief is found.

use std::time::Duration;

use tokio::sync::watch;

use crate::late_answers::{SETTINGS, WINDOW, assert_signed_in, world};
use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Endpoint, Fault, Rotation, wait_for};

/// An answer of our own is written whether or not anybody reads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_got_an_answer_of_ours_is_no_thief() {
    for settings in SETTINGS {
        let world = world(settings).await;
        let mut browser = world.logged_in("ada").await;
        for (path, status) in [
            ("/api/user", 200),
            ("/api/admin/x", 403),
            ("/api/cart", 502),
            ("/either/x", 502),
            ("/api/cart", 200),
        ] {
            if status == 502 {
                world.store.listening().down();
            }
            world.expire_access_tokens();
            let answer = browser.clone().get(path).await;
            assert_eq!(answer.status(), status, "{path}");
            assert!(answer.set_cookie(ACCESS).is_some(), "{path}");
            tokio::time::sleep(WINDOW * 2).await;
            if status == 502 {
                world.store.listening().up().await;
            }
            assert_signed_in(&mut browser, "ada").await;
        }
        assert_eq!(world.provider.count(Endpoint::Revoke), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_keeps_no_cookies_stays_signed_in_and_is_refreshed_once_for_each_jwt() {
    for settings in SETTINGS {
        let world = world(settings).await;
        let script = world.logged_in("ada").await;
        for count in 1..=4 {
            world.expire_access_tokens();
            for _ in 0..3 {
                let answer = script.clone().get("/api/cart").await;
                answer.assert_status(200);
                assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
                tokio::time::sleep(WINDOW * 3 / 2).await;
            }
            assert_eq!(world.provider.count(Endpoint::Refresh), count);
        }
    }
}

/// Either of the two new cookies tells that they arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thief_is_found_once_the_new_tokens_are_used() {
    for (path, by) in [("/api/cart", "the JWT"), ("/api/user", "the JWT"), ("/api/cart", "the refresh token")]
    {
        let world = world("").await;
        let mut browser = world.logged_in("ada").await;
        let mut thief = browser.clone();
        world.expire_access_tokens();
        browser.get("/api/cart").await.assert_status(200);
        if by == "the refresh token" {
            browser.jar.remove(ACCESS);
        }
        browser.get(path).await.assert_status(200);
        world.expire_access_tokens();
        tokio::time::sleep(WINDOW * 2).await;
        thief.get("/api/cart").await.assert_problem(401, "session_expired");
        browser.get("/api/cart").await.assert_problem(401, "session_expired");
        let newest = browser.jar.get(REFRESH).cloned();
        wait_for("the revocation", || world.provider.count(Endpoint::Revoke) > 0).await;
        assert!(newest.is_none_or(|newest| !world.provider.is_alive(&newest)), "{by}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thief_who_is_first_is_found_one_generation_later() {
    let world = world("").await;
    let mut browser = world.logged_in("ada").await;
    let mut thief = browser.clone();
    world.expire_access_tokens();
    thief.get("/api/cart").await.assert_status(200);
    thief.get("/api/cart").await.assert_status(200);
    tokio::time::sleep(WINDOW * 2).await;
    browser.get("/api/cart").await.assert_problem(401, "session_expired");
    thief.get("/api/cart").await.assert_status(401);
}

/// The newest JWT can still be used, and the provider does not say a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_cookies_get_the_newest_jwt_while_the_provider_hangs() {
    for settings in SETTINGS {
        let world = world(settings).await;
        let mut browser = world.logged_in("ada").await;
        let old = browser.clone();
        world.expire_access_tokens();
        browser.get("/api/cart").await.assert_status(200);
        world.clock.advance(280);
        let (gate, opened) = watch::channel(false);
        world.provider.fail(Endpoint::Refresh, Fault::Held(opened));
        let answer = old.clone().get("/api/cart").await;
        answer.assert_status(200);
        assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
        drop(gate);
    }
}

/// The provider has a JWT in a cache, or ends it with its own session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_that_gains_nothing_is_not_made_again_with_every_request() {
    for settings in SETTINGS {
        for rotation in [Rotation::Rotate, Rotation::Same, Rotation::Omit] {
            let world = world(settings).await;
            let mut browser = world.logged_in("ada").await;
            let same = browser.jar[ACCESS].clone();
            world.provider.set(|settings| {
                settings.rotation = rotation;
                settings.access_token = Some(same);
            });
            world.clock.advance(280);
            for _ in 0..10 {
                browser.get("/api/cart").await.assert_status(200);
            }
            assert_eq!(world.provider.count(Endpoint::Refresh), 1, "{settings} {rotation:?}");
            world.clock.advance(30);
            for _ in 0..3 {
                browser.get("/api/cart").await.assert_problem(503, "identity_provider_unavailable");
            }
            assert_eq!(world.provider.count(Endpoint::Refresh), 2, "{settings} {rotation:?}: it has expired");
            world.provider.set(|settings| settings.access_token = None);
            let signed_in = async {
                while browser.get("/api/cart").await.status() != 200 {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            crate::support::patiently("the session goes on", signed_in).await;
        }
    }
}
