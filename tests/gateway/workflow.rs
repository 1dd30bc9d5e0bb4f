//! The workflow of a session, step by step: login, requests, refresh, logout.

use serde_json::json;

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Browser, Endpoint, Request, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn step_1_the_spa_loads_without_a_session() {
    let world = World::start().await;
    let answer = world.browser().get("/").await;
    answer.assert_status(200);
    assert_eq!(answer.json()["app"], "store");
    assert!(answer.set_cookies().is_empty());
    assert_eq!(world.provider.count(Endpoint::Login) + world.provider.count(Endpoint::Refresh), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn step_2_the_user_endpoint_says_404_to_strangers_without_asking_the_provider() {
    let world = World::start().await;
    let calls_before = world.provider.count(Endpoint::Jwks);
    let answer = world.browser().get("/api/user").await;
    answer.assert_problem(404, "not_logged_in");
    assert!(answer.set_cookies().is_empty());
    assert_eq!(world.store.heads(), 0, "the app never sees the user endpoint");
    assert_eq!(world.provider.count(Endpoint::Login) + world.provider.count(Endpoint::Refresh), 0);
    assert_eq!(world.provider.count(Endpoint::Jwks), calls_before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn step_2_the_anonymous_status_is_configurable() {
    let world = World::with("[apps.store.user]\nanonymous_status = 401").await;
    world.browser().get("/api/user").await.assert_problem(401, "not_logged_in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_3_and_4_login_by_json_and_by_form() {
    let world = World::start().await;
    let json = Request::post("/api/login").json(&json!({"username": "ada", "password": "correct horse"}));
    let form = Request::post("/api/login").form("username=ada&password=correct+horse");
    for request in [json, form] {
        let mut browser = world.browser();
        let answer = browser.send(request).await;
        answer.assert_status(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(
            answer.json(),
            json!({"sub": "id-of-ada", "email": "ada@example.com", "name": "The ada", "preferred_username": "ada", "roles": ["user"]})
        );
        assert_eq!(answer.set_cookies().len(), 2);
        for name in [ACCESS, REFRESH] {
            let cookie = answer.set_cookie(name).expect("both cookies");
            assert!(cookie.has("httponly") && cookie.has("secure"), "{cookie:?}");
            assert_eq!(cookie.attribute("samesite"), Some("Lax"));
            assert_eq!(cookie.attribute("path"), Some("/"));
            assert!(!cookie.has("domain") && !cookie.has("max-age") && !cookie.has("expires"), "{cookie:?}");
        }
        assert_eq!(browser.get("/api/user").await.json()["sub"], "id-of-ada");
    }
    assert_eq!(world.store.heads(), 0, "the app never sees a login");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn step_3_the_password_grant_has_what_rfc_6749_wants_and_nothing_else() {
    let world = World::start().await;
    let body = json!({"username": "ada", "password": "correct horse", "grant_type": "client_credentials",
        "client_id": "forums", "scope": "admin", "remember": true});
    world.browser().send(Request::post("/api/login").json(&body)).await.assert_status(200);
    let calls = world.provider.calls(Endpoint::Login);
    assert_eq!(calls.len(), 1);
    let call = &calls[0];
    let mut form = call.form.clone();
    form.sort();
    let expected = [
        ("grant_type", "password"),
        ("password", "correct horse"),
        ("scope", "openid offline_access"),
        ("username", "ada"),
    ];
    assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(call.head.get("authorization"), Some("Basic c3RvcmU6c3RvcmUtc2VjcmV0"));
    assert_eq!(call.head.get("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(call.head.get("cookie"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn step_4_a_refused_login_sets_no_cookie_and_does_not_say_what_was_wrong() {
    let world = World::start().await;
    let mut browser = world.browser();
    let wrong_password = browser.try_log_in("ada", "wrong").await;
    let unknown_user = browser.try_log_in("nobody", "correct horse").await;
    for answer in [&wrong_password, &unknown_user] {
        answer.assert_problem(401, "invalid_credentials");
        assert!(answer.set_cookies().is_empty());
    }
    assert_eq!(wrong_password.problem_without_id(), unknown_user.problem_without_id());
    assert_eq!(browser.connections, 1, "the connection stays usable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn step_5_a_session_is_forwarded_with_identity_headers_and_without_the_cookies() {
    let world = World::start().await;
    let mut browser = world.logged_in("root").await;
    browser.jar.insert("theme".into(), "dark".into());
    let answer = browser.get("/api/shopping-cart?page=2").await;
    answer.assert_status(200);
    assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-root"));
    assert_eq!(answer.seen_by_app("x-auth-email").as_deref(), Some("root@example.com"));
    assert_eq!(answer.seen_by_app("x-auth-roles").as_deref(), Some("user,admin"));
    assert_eq!(answer.seen_by_app("cookie").as_deref(), Some("theme=dark"));
    assert_eq!(answer.seen_by_app("authorization"), None);
    assert_eq!(answer.json()["target"], "/api/shopping-cart?page=2");
    assert!(answer.set_cookies().is_empty());
    assert_eq!(world.provider.count(Endpoint::Refresh), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn step_6_an_expired_jwt_is_refreshed_on_the_way_and_the_new_cookies_ride_on_the_apps_response() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let old = browser.jar.clone();
    world.expire_access_tokens();
    let answer = browser.get("/api/shopping-cart").await;
    answer.assert_status(200);
    assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
    assert_ne!(browser.jar[ACCESS], old[ACCESS]);
    assert_ne!(browser.jar[REFRESH], old[REFRESH], "the provider rotates");
    assert_eq!(browser.jar.len(), 2);
    let calls = world.provider.calls(Endpoint::Refresh);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].field("grant_type"), Some("refresh_token"));
    assert!(calls[0].field("refresh_token").is_some_and(|token| token.starts_with("rt")));
    // And the next one needs nothing more.
    assert!(browser.get("/api/shopping-cart").await.set_cookies().is_empty());
    assert_eq!(world.provider.count(Endpoint::Refresh), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn step_7_a_dead_refresh_token_ends_the_session_and_clears_both_cookies() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    world.provider.end_all_sessions();
    world.expire_access_tokens();
    let answer = browser.get("/api/shopping-cart").await;
    answer.assert_problem(401, "session_expired");
    for name in [ACCESS, REFRESH] {
        let cookie = answer.set_cookie(name).expect("both are cleared");
        assert!(cookie.clears() && cookie.has("secure") && cookie.has("httponly"), "{cookie:?}");
    }
    assert!(browser.jar.is_empty());
    assert_eq!(world.store.heads(), 0);
    browser.get("/api/shopping-cart").await.assert_problem(401, "not_logged_in");
    browser.log_in("ada").await;
    browser.get("/api/shopping-cart").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn step_8_signing_in_to_the_store_does_not_sign_in_to_the_forums() {
    let world = World::start().await;
    let store = world.logged_in("ada").await;
    let mut forums = world.forums_browser();
    forums.get("/api/threads").await.assert_problem(401, "not_logged_in");

    // The store's cookies, carried over by hand: neither token is any good here.
    forums.jar = store.jar.clone();
    let answer = forums.get("/api/threads").await;
    assert_eq!(answer.status(), 401, "{}", answer.text());
    assert_eq!(world.forums.heads(), 0);

    let mut forums = world.forums_browser();
    forums.log_in("bob").await;
    assert_eq!(forums.get("/api/threads").await.seen_by_app("x-auth-user").as_deref(), Some("id-of-bob"));
    let call = world.provider.calls(Endpoint::Login).pop().unwrap();
    assert_eq!(call.head.get("authorization"), Some("Basic Zm9ydW1zOmZvcnVtcy1zZWNyZXQ="));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn step_8_an_unknown_host_is_404() {
    let world = World::start().await;
    let mut browser = Browser::new(world.gateway.address, "shop.localhost");
    browser.get("/").await.assert_problem(404, "unknown_host");
    assert_eq!(world.store.heads() + world.forums.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn step_11_logout_revokes_the_refresh_token_and_clears_both_cookies() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let old = browser.clone();
    let answer = browser.send(Request::post("/api/logout")).await;
    answer.assert_status(204);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(browser.jar.is_empty(), "{:?}", browser.jar);
    let calls = world.provider.calls(Endpoint::Revoke);
    assert_eq!(calls.len(), 1);
    let token = calls[0].field("token").expect("the refresh token");
    assert!(token.starts_with("rt") && !world.provider.is_alive(token));
    assert_eq!(calls[0].head.get("authorization"), Some("Basic c3RvcmU6c3RvcmUtc2VjcmV0"));
    assert_eq!(world.store.heads(), 0);
    drop(old);
}
