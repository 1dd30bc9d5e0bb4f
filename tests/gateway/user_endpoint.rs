//! `GET /api/user`: who the session belongs to, as the config wants it shown.

use serde_json::json;

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Request, World};

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
