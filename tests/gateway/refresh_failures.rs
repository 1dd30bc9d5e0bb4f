//! Refreshes that give no tokens: what ends a session, what only postpones it, and what must not be believed.

use serde_json::json;

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Browser, Endpoint, Fault, Key, World};

/// Asserts 503 with the session kept, then that it goes on once the provider is well.
async fn assert_passing(world: &World, browser: &mut Browser, what: &str) {
    let answer = browser.get("/api/shopping-cart").await;
    assert_eq!(answer.status(), 503, "{what}: {}", answer.text());
    answer.assert_problem(503, "identity_provider_unavailable");
    assert!(answer.header("retry-after").is_some_and(|value| value.parse::<u64>().is_ok()), "{what}");
    assert!(answer.set_cookies().is_empty(), "{what}: cookies are kept");
    let user = browser.get("/api/user").await;
    assert_eq!(user.status(), 503, "{what}: the user endpoint");
    world.provider.recover();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_any_kind_is_503_with_the_session_kept() {
    let world = World::with("[identity_providers.main]\nrequest_timeout = \"2s\"").await;
    let html = "Content-Type: text/html\r\n".to_owned();
    let faults = [
        Fault::status(500, "{}"),
        Fault::status(502, "<html>bad gateway"),
        Fault::status(503, ""),
        Fault::status(429, r#"{"error":"invalid_grant"}"#),
        Fault::status(200, ""),
        Fault::status(200, "not JSON"),
        Fault::status(200, "[]"),
        Fault::status(200, r#"{"token_type":"Bearer"}"#),
        Fault::status(200, r#"{"access_token":17}"#),
        Fault::status(200, r#"{"access_token":""}"#),
        Fault::Answer { status: 200, headers: html, body: "<html>maintenance</html>".into() },
        Fault::Answer { status: 302, headers: "Location: /login\r\n".into(), body: String::new() },
        Fault::Garbage,
        Fault::Reset,
        Fault::Huge,
    ];
    for fault in faults {
        let mut browser = world.logged_in("ada").await;
        world.expire_access_tokens();
        world.provider.fail(Endpoint::Refresh, fault.clone());
        assert_passing(&world, &mut browser, &format!("{fault:?}")).await;
        let answer = browser.get("/api/shopping-cart").await;
        assert_eq!(answer.status(), 200, "{fault:?}, afterwards: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_down_is_503_with_the_session_kept() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.listening().down();
    assert_passing(&world, &mut browser, "down").await;
    world.provider.listening().up().await;
    browser.get("/api/shopping-cart").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_503_and_is_not_blindly_repeated_within_the_request() {
    let world = World::start().await;
    for fault in [Fault::Lost, Fault::Truncated] {
        let mut browser = world.logged_in("ada").await;
        world.expire_access_tokens();
        let before = world.provider.count(Endpoint::Refresh);
        world.provider.fail_next(Endpoint::Refresh, fault.clone());
        let answer = browser.get("/api/shopping-cart").await;
        assert_eq!(answer.status(), 503, "{fault:?}: {}", answer.text());
        assert_eq!(world.provider.count(Endpoint::Refresh), before + 1, "{fault:?}");
        assert_eq!(browser.jar.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_the_provider_refuses_is_the_operators_fault() {
    let world = World::start().await;
    for (status, error) in [
        (401, "invalid_client"),
        (400, "invalid_client"),
        (401, "unauthorized_client"),
        (400, "unauthorized_client"),
    ] {
        let mut browser = world.logged_in("ada").await;
        world.expire_access_tokens();
        world.provider.fail(Endpoint::Refresh, Fault::oauth_error(status, error));
        assert_passing(&world, &mut browser, error).await;
        browser.get("/api/shopping-cart").await.assert_status(200);

        world.provider.fail_next(Endpoint::Login, Fault::oauth_error(status, error));
        let answer = world.browser().try_log_in("ada", "correct horse").await;
        answer.assert_problem(503, "identity_provider_unavailable");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definite_no_ends_the_session_and_clears_both_cookies() {
    let world = World::start().await;
    let refusals = [
        Fault::oauth_error(400, "invalid_grant"),
        Fault::oauth_error(401, "invalid_grant"),
        Fault::oauth_error(403, "invalid_grant"),
        Fault::status(400, ""),
    ];
    for refusal in refusals {
        for path in ["/api/shopping-cart", "/api/user"] {
            let mut browser = world.logged_in("ada").await;
            world.expire_access_tokens();
            world.provider.fail_next(Endpoint::Refresh, refusal.clone());
            let answer = browser.get(path).await;
            assert_eq!(answer.status(), 401, "{refusal:?}: {}", answer.text());
            answer.assert_problem(401, "session_expired");
            assert!(answer.set_cookie(ACCESS).is_some_and(|cookie| cookie.clears()));
            assert!(answer.set_cookie(REFRESH).is_some_and(|cookie| cookie.clears()));
            assert!(browser.jar.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_jwt_that_does_not_verify_is_refused() {
    let world = World::start().await;
    let wrong = [
        json!({"iss": "http://127.0.0.1:1"}),
        json!({"iss": [world.provider.issuer()]}),
        json!({"aud": "forums"}),
        json!({"aud": null, "azp": null}),
        json!({"azp": "forums"}),
        json!({"client_id": "forums"}),
        json!({"sub": "id-of-eve"}),
        json!({"sub": null}),
        json!({"exp": 60}),
        json!({"exp": null}),
        json!({"exp": "tomorrow"}),
        json!({"nbf": 99_999_999_999_u64}),
    ];
    for claims in wrong {
        let mut browser = world.logged_in("ada").await;
        world.expire_access_tokens();
        world.provider.set(|settings| settings.claims = claims.clone());
        let answer = browser.get("/api/shopping-cart").await;
        assert_eq!(answer.status(), 503, "{claims}: {}", answer.text());
        answer.assert_problem(503, "identity_provider_unavailable");
        assert!(answer.set_cookie(ACCESS).is_none(), "{claims}");
        world.provider.set(|settings| settings.claims = json!({}));
    }
    let mut browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.set(|settings| settings.key = Key::Stranger);
    browser.get("/api/shopping-cart").await.assert_problem(503, "identity_provider_unavailable");
    assert_eq!(world.store.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_whose_jwt_does_not_verify_is_no_login() {
    let world = World::start().await;
    for claims in
        [json!({"azp": "forums"}), json!({"aud": "forums"}), json!({"iss": "elsewhere"}), json!({"exp": 1})]
    {
        world.provider.set(|settings| settings.claims = claims.clone());
        let mut browser = world.browser();
        let answer = browser.try_log_in("ada", "correct horse").await;
        assert_eq!(answer.status(), 503, "{claims}: {}", answer.text());
        assert!(answer.set_cookies().is_empty() && browser.jar.is_empty(), "{claims}");
    }
    world.provider.set(|settings| settings.access_token = Some("opaque-token".into()));
    let answer = world.browser().try_log_in("ada", "correct horse").await;
    answer.assert_problem(503, "identity_provider_unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_at_login_are_503_and_set_no_cookie() {
    let world = World::with("[identity_providers.main]\nrequest_timeout = \"1s\"").await;
    let faults = [
        Fault::status(500, "{}"),
        Fault::status(503, ""),
        Fault::status(200, "rubbish"),
        Fault::status(200, "{}"),
        Fault::Garbage,
        Fault::Reset,
        Fault::Truncated,
        Fault::Huge,
        Fault::delay(4000),
    ];
    for fault in faults {
        world.provider.fail_next(Endpoint::Login, fault.clone());
        let answer = world.browser().try_log_in("ada", "correct horse").await;
        assert_eq!(answer.status(), 503, "{fault:?}: {}", answer.text());
        answer.assert_problem(503, "identity_provider_unavailable");
        assert!(answer.header("retry-after").is_some() && answer.set_cookies().is_empty(), "{fault:?}");
    }
}
