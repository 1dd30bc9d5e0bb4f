//! The gateway's proof to a provider of which client it is, and the discovery of its endpoints.

use base64::Engine;
use serde_json::json;

use crate::support::{Endpoint, Request, World};

fn basic(text: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
}

async fn world_with(client_auth: &str, more: &str) -> World {
    let toml = format!(
        "[identity_providers.main]\nclient_auth = \"{client_auth}\"\n{more}\n[apps.store]\nclient_secret = \"p+q%2Fr:s \u{fc}\""
    );
    World::with(&toml).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn basic_form_encodes_and_basic_raw_does_not() {
    for (client_auth, expected) in
        [("basic", "store:p%2Bq%252Fr%3As+%C3%BC"), ("basic_raw", "store:p+q%2Fr:s \u{fc}")]
    {
        let world = world_with(client_auth, "").await;
        let mut browser = world.logged_in("ada").await;
        world.expire_access_tokens();
        browser.get("/api/cart").await.assert_status(200);
        browser.send(Request::post("/api/logout")).await.assert_status(204);
        for endpoint in [Endpoint::Login, Endpoint::Refresh, Endpoint::Revoke] {
            let call = world.provider.calls(endpoint).pop().expect("a call");
            assert_eq!(
                call.head.get("authorization"),
                Some(basic(expected).as_str()),
                "{client_auth} {endpoint:?}"
            );
            assert_eq!(call.field("client_secret"), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn post_sends_id_and_secret_in_the_body_and_revocation_can_differ() {
    let world = world_with("post", "revocation_client_auth = \"basic\"").await;
    let mut browser = world.logged_in("ada").await;
    browser.send(Request::post("/api/logout")).await.assert_status(204);
    let call = world.provider.calls(Endpoint::Login).pop().expect("a call");
    assert_eq!(call.head.get("authorization"), None);
    assert_eq!(call.field("client_id"), Some("store"));
    assert_eq!(call.field("client_secret"), Some("p+q%2Fr:s \u{fc}"));
    let call = world.provider.calls(Endpoint::Revoke).pop().expect("a call");
    assert!(call.head.get("authorization").is_some_and(|value| value.starts_with("Basic ")));
    assert_eq!(call.field("client_secret"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_client_sends_its_id_alone() {
    let builder =
        World::builder().await.without("apps.store.client_secret").without("apps.forums.client_secret");
    let world = builder.lay_over("[identity_providers.main]\nclient_auth = \"none\"").start().await;
    let mut browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    browser.get("/api/cart").await.assert_status(200);
    for endpoint in [Endpoint::Login, Endpoint::Refresh] {
        let call = world.provider.calls(endpoint).pop().expect("a call");
        assert_eq!(call.head.get("authorization"), None);
        assert_eq!(call.field("client_id"), Some("store"));
        assert_eq!(call.field("client_secret"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explicit_endpoints_need_no_discovery() {
    let builder = World::builder().await;
    let issuer = builder.provider.issuer();
    let toml = format!(
        "[identity_providers.main]\ntoken_endpoint = \"{issuer}/token\"\njwks_uri = \"{issuer}/jwks\"\nrevocation_endpoint = \"{issuer}/revoke\""
    );
    let world = builder.lay_over(&toml).start().await;
    let mut browser = world.logged_in("ada").await;
    browser.send(Request::post("/api/logout")).await.assert_status(204);
    assert_eq!(world.provider.count(Endpoint::Discovery), 0);
    assert_eq!(world.provider.count(Endpoint::Revoke), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_scope_none_is_sent() {
    let world = World::builder().await.without("identity_providers.main.scope").start().await;
    let mut browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    browser.get("/api/cart").await.assert_status(200);
    let call = world.provider.calls(Endpoint::Refresh).pop().expect("a call");
    assert_eq!(call.field("scope"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_never_follow_a_redirect() {
    let world = World::start().await;
    let target = crate::support::App::start("trap").await;
    let headers = format!("Location: {}/token\r\n", target.url());
    for status in [301, 302, 303, 307, 308] {
        let fault = crate::support::Fault::Answer { status, headers: headers.clone(), body: String::new() };
        world.provider.fail_next(Endpoint::Login, fault);
        let answer = world.browser().try_log_in("ada", "correct horse").await;
        answer.assert_problem(503, "identity_provider_unavailable");
    }
    assert_eq!(target.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_change_only_with_the_discovery_document_of_this_issuer() {
    let builder = World::builder().await;
    let trap = crate::support::App::start("trap").await;
    let elsewhere = json!({"issuer": trap.url(), "token_endpoint": format!("{}/token", trap.url())});
    builder.provider.set(|settings| settings.discovery = elsewhere);
    let world = builder.start_unready().await;
    let answer = world.browser().try_log_in("ada", "correct horse").await;
    answer.assert_problem(503, "identity_provider_unavailable");
    assert_eq!(trap.heads(), 0);
}
