//! The stand-ins themselves: a provider or an app that does not do what it says would make every other test worthless.

use std::sync::Arc;
use std::time::Duration;

use portcullis::system::clock::ManualClock;

use crate::support::client::raw;
use crate::support::provider::Provider;
use crate::support::{App, Browser, Endpoint, Fault, Reply, Request, wait_for};

async fn provider() -> (Provider, Browser) {
    let provider = Provider::start(Arc::new(ManualClock::new(1_000))).await;
    let browser = Browser::new(provider.listening().address(), "provider");
    (provider, browser)
}

fn grant(body: &str) -> Request {
    Request::post("/token").form(body).header("Authorization", "Basic c3RvcmU6c3RvcmUtc2VjcmV0")
}

fn refresh(token: &str) -> Request {
    grant(&format!("grant_type=refresh_token&refresh_token={token}"))
}

#[tokio::test]
async fn the_provider_rotates_and_kills_the_family_at_reuse() {
    let (provider, mut browser) = provider().await;
    let login = grant("grant_type=password&username=ada&password=correct+horse");
    let first = browser.send(login).await.json()["refresh_token"].as_str().unwrap().to_owned();
    let second = browser.send(refresh(&first)).await.json()["refresh_token"].as_str().unwrap().to_owned();
    assert!(!provider.is_alive(&first) && provider.is_alive(&second));
    browser.send(refresh(&first)).await.assert_status(400);
    assert_eq!(provider.reuses(), 1);
    browser.send(refresh(&second)).await.assert_status(400);
    browser.send(grant("grant_type=password&username=ada&password=wrong")).await.assert_status(400);
    let stranger = Request::post("/token").form("grant_type=password&username=ada&password=correct+horse");
    browser.send(stranger).await.assert_status(401);
    assert_eq!((provider.count(Endpoint::Login), provider.count(Endpoint::Refresh)), (3, 3));
}

#[tokio::test]
async fn within_its_grace_period_the_provider_takes_a_spent_token() {
    let (provider, mut browser) = provider().await;
    provider.set(|settings| settings.grace = Duration::from_secs(3600));
    let login = grant("grant_type=password&username=ada&password=correct+horse");
    let first = browser.send(login).await.json()["refresh_token"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let next = browser.send(refresh(&first)).await.json()["refresh_token"].as_str().unwrap().to_owned();
        assert!(provider.is_alive(&next));
    }
    assert_eq!(provider.reuses(), 0);
}

#[tokio::test]
async fn what_the_provider_does_not_hear_has_no_effect() {
    let (provider, mut browser) = provider().await;
    let login = grant("grant_type=password&username=ada&password=correct+horse");
    let first = browser.send(login).await.json()["refresh_token"].as_str().unwrap().to_owned();
    provider.fail_next(Endpoint::Refresh, Fault::Unheard);
    let (mut unheard, request) = (browser.clone(), refresh(&first));
    let waiting = tokio::spawn(async move { unheard.send(request).await });
    wait_for("the call", || provider.count(Endpoint::Refresh) == 1).await;
    assert!(provider.is_alive(&first) && !waiting.is_finished());
    browser.send(refresh(&first)).await.assert_status(200);
    waiting.abort();
}

#[tokio::test]
async fn the_provider_fails_as_told() {
    let (provider, mut browser) = provider().await;
    provider.fail_next(Endpoint::Jwks, Fault::status(500, "x"));
    browser.get("/jwks").await.assert_status(500);
    assert_eq!(browser.get("/jwks").await.json()["keys"].as_array().unwrap().len(), 3);
    for fault in [Fault::Reset, Fault::Lost, Fault::Garbage] {
        provider.fail_next(Endpoint::Jwks, fault.clone());
        let request = "GET /jwks HTTP/1.1\r\nHost: x\r\n\r\n";
        let (answer, ends) = raw(provider.listening().address(), request).await;
        assert!(answer.is_none_or(|answer| answer.status() == 0) && ends, "{fault:?}");
    }
    provider.listening().down();
    assert!(tokio::net::TcpStream::connect(provider.listening().address()).await.is_err());
    provider.listening().up().await;
    Browser::new(provider.listening().address(), "provider").get("/jwks").await.assert_status(200);
}

#[tokio::test]
async fn the_app_writes_down_what_it_gets_and_answers_as_told() {
    let app = App::start("store").await;
    let mut browser = Browser::new(app.listening().address(), "app");
    let answer = browser.send(Request::post("/x?y=1").body("text/plain", "hello").header("X-A", "1")).await;
    assert_eq!(answer.seen_by_app("x-a").as_deref(), Some("1"));
    let seen = app.last("/x");
    assert_eq!((seen.method(), seen.target(), seen.body.length), ("POST", "/x?y=1", 5));
    assert!(seen.head.raw.starts_with(b"POST /x?y=1 HTTP/1.1\r\nHost: app\r\n"));
    app.on("/big", Reply::Download { length: 1 << 20, chunked: true });
    assert_eq!(browser.get("/big").await.length, 1 << 20);
    let answer = browser.send(Request::new("HEAD", "/x")).await;
    assert!(answer.body.is_empty() && answer.header("content-length").is_some());
    browser.get("/x").await.assert_status(200);
    assert_eq!((browser.connections, app.heads()), (1, 4));
}
