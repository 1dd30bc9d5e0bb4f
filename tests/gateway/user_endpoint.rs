//! `GET /api/user` shows the user of the session, as the configuration says.

use serde_json::json;

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::program::Program;
use crate::support::{Browser, Request, World, patiently};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_the_configured_claims_nested_ones_under_their_full_path_and_absent_ones_not_at_all() {
    let world = World::with(
        r#"
        [apps.store]
        roles_claim = "realm_access.roles"
        [apps.store.user]
        claims = ["sub", "roles", "realm_access.roles", "address.city", "nickname", ["https://example.com/tier"], "level", "flags"]
        "#,
    )
    .await;
    world.provider.set(|settings| {
        settings.claims = json!({"realm_access": {"roles": ["user", "admin"]}, "address": {"city": "Z\u{fc}rich", "zip": "8000"},
            "https://example.com/tier": "gold", "level": 3, "flags": {"beta": true}});
    });
    let mut browser = world.browser();
    let expected = json!({"sub": "id-of-ada", "roles": ["user", "admin"], "realm_access.roles": ["user", "admin"],
        "address.city": "Z\u{fc}rich", "https://example.com/tier": "gold", "level": 3, "flags": {"beta": true}});
    assert_eq!(browser.log_in("ada").await.json(), expected);
    assert_eq!(browser.get("/api/user").await.json(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_are_always_a_list_however_the_provider_writes_them() {
    let world = World::with("[apps.store]\nroles_claim = \"groups\"").await;
    for (claim, roles) in [
        (json!(["a", "b"]), json!(["a", "b"])),
        (json!("a,b"), json!(["a", "b"])),
        (json!("a, b"), json!(["a", "b"])),
        (json!("a b"), json!(["a", "b"])),
        (json!("a"), json!(["a"])),
    ] {
        world.provider.set(|settings| settings.claims = json!({"groups": claim, "roles": ["decoy"]}));
        let answer = world.browser().log_in("ada").await;
        assert_eq!(answer.json()["roles"], roles, "{claim}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_head_like_get_and_stays_uncacheable() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let get = browser.get("/api/user").await;
    assert_eq!(get.header("content-type"), Some("application/json"));
    assert_eq!(get.header("cache-control"), Some("no-store"));
    let head = browser.send(Request::new("HEAD", "/api/user")).await;
    head.assert_status(200);
    assert_eq!(head.header("content-length"), get.header("content-length"));
    browser.get("/api/user").await.assert_status(200);
    assert_eq!(browser.connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_refreshes_like_any_other_request() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let old = browser.jar.clone();
    world.expire_access_tokens();
    let answer = browser.get("/api/user").await;
    assert_eq!(answer.json()["sub"], "id-of-ada");
    assert!(browser.jar[ACCESS] != old[ACCESS] && browser.jar[REFRESH] != old[REFRESH]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_never_shows_a_token() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let text = browser.get("/api/user").await.text();
    for token in browser.jar.values() {
        assert!(!text.contains(token.as_str()));
    }
}

/// Whoever has shown nothing was refused nothing. A route that asks for a session has refused somebody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_a_session_is_no_refusal() {
    let builder = World::builder().await.lay_over("[server.log]\nformat = 'json'");
    let (program, builder) = Program::start_quietly(builder).await;
    let fresh = || Browser::new(program.address, "store.localhost");
    for (request, status) in [
        (Request::get("/api/user"), 404),
        (Request::new("HEAD", "/api/user"), 404),
        (Request::get("/api/user").header("Cookie", "theme=dark; other=1"), 404),
        (Request::get("/either/page"), 200),
        (Request::post("/api/logout"), 204),
    ] {
        fresh().send(request).await.assert_status(status);
    }
    let refused = [
        (
            Request::get("/api/user").header("Cookie", format!("{ACCESS}=junk").as_str()),
            404,
            "token_malformed",
        ),
        (Request::get("/api/user").header("Cookie", format!("{ACCESS}=").as_str()), 404, "incomplete_cookie"),
        (
            Request::get("/api/user").header("Cookie", format!("{ACCESS}=a; {ACCESS}=b").as_str()),
            404,
            "duplicate_cookie",
        ),
        (Request::get("/api/cart"), 401, "no_session"),
        (Request::post("/api/user"), 405, "method"),
    ];
    for (request, status, _) in &refused {
        fresh().send(request.clone()).await.assert_status(*status);
    }
    // A request is counted, and has its line, when it is over: that is after its client has the answer.
    let anonymous = r#"portcullis_decisions_total{app="store",reason="anonymous"} 4"#;
    patiently(anonymous, async {
        while !program.metrics().await.contains(anonymous) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    for (_, _, reason) in &refused {
        program.logged(&["\"access\"", &format!(r#""reason":"{reason}""#)]).await;
    }
    let log = program.end().await;
    drop(builder);
    let access = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let reasons = access.filter(|line| line["target"] == "access").map(|line| line["reason"].to_string());
    let (mut reasons, mut expected): (Vec<_>, Vec<_>) =
        (reasons.collect(), refused.map(|(_, _, reason)| json!(reason).to_string()).to_vec());
    reasons.sort();
    expected.sort();
    assert_eq!(reasons, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_a_session_is_in_the_log_of_all_requests() {
    let more = "[server.log]\nformat = 'json'\naccess = 'all'\n[apps.store.user]\nanonymous_status = 401";
    let (program, builder) = Program::start_quietly(World::builder().await.lay_over(more)).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.get("/api/user").await.assert_problem(401, "not_logged_in");
    program.logged(&[r#""path":"/api/user""#]).await;
    let log = program.end().await;
    drop(builder);
    let access = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let line = access.into_iter().find(|line| line["path"] == "/api/user").expect("a line");
    assert_eq!((&line["reason"], &line["route"]), (&json!("anonymous"), &json!("user")), "{line}");
}
