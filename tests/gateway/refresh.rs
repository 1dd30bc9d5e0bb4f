//! The refresh on the way through: when it happens, and how often.

use std::time::Duration;

use serde_json::json;

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Browser, Endpoint, Fault, Key, Rotation, World, patiently};

/// Returns both cookies of the jar's session: enough to tell two sessions apart.
pub(crate) fn session(browser: &Browser) -> (String, String) {
    (browser.jar[ACCESS].clone(), browser.jar[REFRESH].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_valid_jwt_makes_no_call_to_the_provider() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let fetches = world.provider.count(Endpoint::Jwks) + world.provider.count(Endpoint::Discovery);
    world.provider.listening().down();
    for _ in 0..20 {
        browser.get("/api/shopping-cart").await.assert_status(200);
    }
    assert_eq!(browser.connections, 1);
    world.provider.listening().up().await;
    assert_eq!(world.provider.count(Endpoint::Refresh), 0);
    assert_eq!(world.provider.count(Endpoint::Jwks) + world.provider.count(Endpoint::Discovery), fetches);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jwt_that_is_absent_or_invalid_is_refreshed_once_per_request() {
    let world = World::start().await;
    let stranger = Key::Stranger
        .sign(&json!({"iss": world.provider.issuer(), "sub": "id-of-ada", "aud": "store",
        "azp": "store", "iat": 0, "exp": 99_999_999_999_u64}));
    let junk = [None, Some("junk".to_owned()), Some("a.b.c".to_owned()), Some(String::new()), Some(stranger)];
    for (count, access) in junk.into_iter().enumerate() {
        let mut browser = world.logged_in("ada").await;
        match access {
            None => browser.jar.remove(ACCESS),
            Some(text) => browser.jar.insert(ACCESS.into(), text),
        };
        let answer = browser.get("/api/shopping-cart").await;
        answer.assert_status(200);
        assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
        assert!(answer.set_cookie(ACCESS).is_some());
        assert_eq!(world.provider.count(Endpoint::Refresh), count + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_jwt_without_a_refresh_token_is_not_logged_in() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    browser.jar.remove(REFRESH);
    browser.get("/api/shopping-cart").await.assert_status(200);
    world.expire_access_tokens();
    browser.get("/api/shopping-cart").await.assert_problem(401, "not_logged_in");
    browser.get("/api/user").await.assert_problem(404, "not_logged_in");
    assert_eq!(world.provider.count(Endpoint::Refresh), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_drips_in_slowly_is_still_read() {
    let world = World::with("[identity_providers.main]\nrequest_timeout = \"1s\"").await;
    let mut browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.fail_next(Endpoint::Refresh, Fault::SlowDrip(Duration::from_millis(2)));
    patiently("the whole answer", async {
        while browser.get("/api/shopping-cart").await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(world.provider.count(Endpoint::Refresh), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_answer_without_a_refresh_token_or_with_the_same_one_keeps_the_old_one() {
    let world = World::with("[refresh]\nreplay_window = \"1s\"").await;
    for rotation in [Rotation::Omit, Rotation::Same] {
        world.provider.set(|settings| settings.rotation = rotation);
        let mut browser = world.logged_in("ada").await;
        let old = session(&browser);
        for _ in 0..2 {
            world.expire_access_tokens();
            tokio::time::sleep(Duration::from_millis(1200)).await;
            browser.get("/api/shopping-cart").await.assert_status(200);
            assert_eq!(browser.jar[REFRESH], old.1, "{rotation:?}");
            assert_ne!(browser.jar[ACCESS], old.0, "{rotation:?}");
        }
    }
    assert_eq!(world.provider.count(Endpoint::Refresh), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unrotated_refresh_token_serves_expiry_after_expiry_within_one_replay_window() {
    // A kept outcome whose JWT has expired is no answer any more.
    let world = World::start().await;
    world.provider.set(|settings| {
        settings.rotation = Rotation::Same;
        settings.lifetime = 10;
    });
    let mut browser = world.logged_in("ada").await;
    for count in 1..=3 {
        world.clock.advance(16);
        browser.get("/api/shopping-cart").await.assert_status(200);
        assert_eq!(world.provider.count(Endpoint::Refresh), count);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jwt_about_to_expire_is_refreshed_early_but_a_short_one_not_before_three_quarters() {
    let world = World::start().await;
    for (lifetime, steps) in [(300, [(265, 0), (10, 1), (10, 0)]), (20, [(10, 0), (6, 1), (10, 0)])] {
        world.provider.set(|settings| settings.lifetime = lifetime);
        let mut browser = world.logged_in("ada").await;
        for (seconds, refreshes) in steps {
            let before = world.provider.count(Endpoint::Refresh);
            world.clock.advance(seconds);
            for _ in 0..3 {
                browser.get("/api/shopping-cart").await.assert_status(200);
            }
            let made = world.provider.count(Endpoint::Refresh) - before;
            assert_eq!(made, refreshes, "lifetime {lifetime}, {seconds} s later");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_refresh_that_fails_for_a_passing_reason_leaves_the_valid_jwt_in_use() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    world.clock.advance(280);
    world.provider.fail(Endpoint::Refresh, Fault::status(500, "{}"));
    let answer = browser.get("/api/shopping-cart").await;
    answer.assert_status(200);
    assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
    assert!(answer.set_cookies().is_empty());
    world.provider.fail(Endpoint::Refresh, Fault::Reset);
    browser.get("/api/shopping-cart").await.assert_status(200);
}
