//! The answers that the gateway makes itself: every row of "Answers" in `docs/behaviour.md`, and what holds for all of
//! them.

use serde_json::json;

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Endpoint, Fault, Reply, Request, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_survives_every_problem_answer() {
    let world = World::with("[apps.store.timeouts]\nresponse = \"1s\"").await;
    world.store.on("/open/slow", Reply::after(5000, Reply::Echo));
    let mut browser = world.browser();
    let post = |path: &str| Request::post(path);
    let json_body = json!({"username": "ada", "password": "wrong"});
    let steps: Vec<(Request, u16, &str)> = vec![
        (post("/api/login").json(&json!({"username": 1})), 400, "bad_request"),
        (Request::get("/open/%00"), 400, "bad_request"),
        (Request::get("/api/cart"), 401, "not_logged_in"),
        (post("/api/cart").form("a=1"), 401, "not_logged_in"),
        (post("/api/login").json(&json_body), 401, "invalid_credentials"),
        (
            post("/api/login").json(&json_body).header("Origin", "https://evil.example"),
            403,
            "cross_site_request",
        ),
        (Request::get("/api/user"), 404, "not_logged_in"),
        (Request::get("/").header("Host", "unknown.localhost"), 404, "unknown_host"),
        (Request::get("/api/login"), 405, "method_not_allowed"),
        (post("/api/login").body("text/plain", "x"), 415, "unsupported_media_type"),
        (Request::get("/open/slow"), 504, "upstream_timeout"),
    ];
    for (request, status, code) in steps {
        let what = format!("{request:?}");
        let answer = browser.send(request).await;
        assert_eq!(answer.status(), status, "{what}: {}", answer.text());
        answer.assert_problem(status, code);
        assert!(answer.keeps_alive, "{what}");
    }
    world.provider.fail_next(Endpoint::Login, Fault::status(500, ""));
    browser.try_log_in("ada", "correct horse").await.assert_problem(503, "identity_provider_unavailable");
    browser.log_in("ada").await;
    browser.get("/api/admin/x").await.assert_problem(403, "forbidden");
    world.store.listening().down();
    browser.get("/api/cart").await.assert_problem(502, "upstream_unavailable");
    world.provider.end_all_sessions();
    world.expire_access_tokens();
    browser.get("/api/cart").await.assert_problem(401, "session_expired");
    assert_eq!(browser.connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn problem_answers_to_head_have_no_body() {
    let world = World::start().await;
    let mut browser = world.browser();
    for path in ["/api/cart", "/api/user", "/api/login", "/open/%00"] {
        let answer = browser.send(Request::new("HEAD", path)).await;
        assert!(answer.status() >= 400 && answer.body.is_empty(), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    browser.get("/").await.assert_status(200);
    assert_eq!(browser.connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_upload_does_not_desynchronise_the_connection() {
    let world = World::start().await;
    let mut browser = world.browser();
    let smuggled = "GET /open/smuggled HTTP/1.1\r\nHost: store.localhost\r\n\r\n".repeat(500);
    for _ in 0..3 {
        browser
            .send(Request::post("/api/cart").body("text/plain", &smuggled))
            .await
            .assert_problem(401, "not_logged_in");
        browser.get("/").await.assert_status(200);
    }
    assert!(world.store.seen().iter().all(|seen| seen.target() == "/"), "a body was taken for requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_carries_a_token_or_a_password() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let secrets: Vec<String> = browser.jar.values().cloned().collect();
    let mut texts = Vec::new();
    texts.push(browser.try_log_in("ada", "hunter2-canary").await.text());
    texts.push(browser.get("/api/admin/x").await.text());
    world.store.listening().down();
    texts.push(browser.get("/api/cart").await.text());
    world.expire_access_tokens();
    world.provider.fail_next(Endpoint::Refresh, Fault::status(500, "{\"error\":\"provider-detail\"}"));
    texts.push(browser.get("/api/cart").await.text());
    world.provider.end_all_sessions();
    texts.push(browser.get("/api/cart").await.text());
    for text in texts {
        assert!(
            !text.contains("hunter2-canary")
                && !text.contains("store-secret")
                && !text.contains("provider-detail"),
            "{text}"
        );
        assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_beyond_their_limit_are_431() {
    let world = World::start().await;
    let mut browser = world.browser();
    browser.send(Request::get("/open/page").header("X-Big", &"b".repeat(20 * 1024))).await.assert_status(200);
    let answer = browser.send(Request::get("/open/page").header("X-Big", &"b".repeat(40 * 1024))).await;
    answer.assert_problem(431, "header_too_large");
    assert_eq!(world.store.heads(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trace_and_connect_are_405() {
    let world = World::start().await;
    for line in
        ["TRACE /open/page HTTP/1.1", "CONNECT store.localhost:80 HTTP/1.1", "TRACK /open/page HTTP/1.1"]
    {
        let bytes = format!("{line}\r\nHost: store.localhost\r\n\r\n");
        let (answer, _) = crate::support::client::raw(world.gateway.address, bytes).await;
        let answer = answer.unwrap_or_else(|| panic!("{line}: no answer"));
        if !line.starts_with("TRACK") {
            answer.assert_problem(405, "method_not_allowed");
        }
    }
    assert!(world.store.seen().iter().all(|seen| seen.method() == "TRACK"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_survives_what_is_not_its_fault() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let jar = browser.jar.clone();
    browser.get("/api/admin/x").await.assert_status(403);
    browser.get("/open/%00").await.assert_status(400);
    browser.try_log_in("ada", "wrong").await.assert_problem(401, "invalid_credentials");
    world.store.listening().down();
    browser.get("/api/cart").await.assert_status(502);
    assert_eq!(browser.jar, jar);
    assert!(jar.contains_key(ACCESS) && jar.contains_key(REFRESH));
}
