//! panva's oidc-provider: `aud` is an API's URI, Basic is form-encoded, `/_ctl/` injects faults.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::harness::{App, Client, Gateway, Provider, Setup, Shared, eventually, request};
use crate::workflow::{self, ALICE, BOB, Site, header_of_access_token};

static SHARED: Shared = Shared::new("oidc-provider");

fn setup(provider: &Provider) -> Setup {
    Setup::new(provider.base()).provider(r#"scope = "openid offline_access api""#)
}

fn store(client_id: &'static str, secret: Option<&'static str>) -> App {
    App::new("store", client_id, secret).settings(r#"audience = "https://api.example""#)
}

async fn site_of(setup: Setup, provider: &Provider, client_id: &'static str, secret: &'static str) -> Site {
    let gateway = setup.app(store(client_id, Some(secret))).start().await;
    gateway.ready().await;
    Site { gateway, client: direct(provider, client_id, secret), admin_role: "admin" }
}

fn direct(provider: &Provider, id: &str, secret: &str) -> Client {
    Client {
        token_endpoint: format!("{}/token", provider.base()),
        revocation_endpoint: format!("{}/token/revocation", provider.base()),
        id: id.to_owned(),
        secret: secret.to_owned(),
    }
}

/// JWT 3 s, rotation.
async fn short_lived(provider: &Provider) -> Site {
    site_of(setup(provider), provider, "gw-brief", "gw-brief-secret-0123456789").await
}

async fn rotating(provider: &Provider) -> Site {
    site_of(setup(provider), provider, "gw-rot", "gw-rot-secret-0123456789").await
}

async fn control(provider: &Provider, path: &str, body: Option<Value>) -> Value {
    let method = if body.is_some() { Method::POST } else { Method::GET };
    request(method, &format!("{}/_ctl/{path}", provider.base()), None, body.as_ref()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn login() {
    workflow::login(&rotating(&*SHARED.get().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_password() {
    workflow::wrong_password(&rotating(&*SHARED.get().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unicode_password() {
    workflow::unicode_password(&rotating(&*SHARED.get().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_refresh() {
    workflow::silent_refresh(&short_lived(&*SHARED.get().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_refresh() {
    let provider = Provider::start("oidc-provider");
    workflow::parallel_refresh(&short_lived(&provider).await).await;
    let log = control(&provider, "log", None).await;
    let refreshes: Vec<_> =
        log.as_array().unwrap().iter().filter(|call| call["grant"] == "refresh_token").collect();
    assert_eq!(refreshes.len(), 2, "one for the 21 requests, one for the request after them: {refreshes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_session() {
    workflow::dead_session(&rotating(&*SHARED.get().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_token_expires() {
    let provider = SHARED.get().await;
    let site = site_of(setup(&provider), &provider, "gw-short", "gw-short-secret-0123456789").await;
    let mut browser = site.gateway.browser("store").signed_in(ALICE).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    browser.get("/api/cart").await.expect_end_of_session();
}

#[tokio::test(flavor = "multi_thread")]
async fn logout() {
    workflow::logout(&rotating(&*SHARED.get().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outage() {
    let mut provider = Provider::start("oidc-provider");
    let site = rotating(&provider).await;
    workflow::outage(&site, &mut provider).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_starts_before_the_provider() {
    let mut provider = Provider::start("oidc-provider");
    provider.stop();
    let gateway = setup(&provider).app(store("gw", Some("gw-secret-0123456789"))).start().await;
    assert_eq!(gateway.readiness().await, 503);
    gateway.browser("store").get("/").await.expect(200, None);
    gateway.browser("store").log_in(ALICE.0, ALICE.1).await.expect_outage();
    provider.start_again();
    gateway.ready().await;
    gateway.browser("store").signed_in(ALICE).await.get("/api/cart").await.expect(200, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_provider_keep_the_session() {
    let provider = Provider::start("oidc-provider");
    let site = rotating(&provider).await;
    let mut browser = site.gateway.browser("store").signed_in(ALICE).await;
    browser.drop_access_token();
    for status in [500, 503, 429] {
        control(&provider, "mode", Some(json!({ "fail": status }))).await;
        browser.get("/api/cart").await.expect_outage();
    }
    control(&provider, "mode", Some(json!({}))).await;
    let back = || async { Some(browser.peek("/api/cart").await).filter(|answer| answer.status == 200) };
    eventually("the session goes on", Duration::from_secs(30), back).await;
}

/// The answer that comes after the browser got its 503 has the rotated refresh token: losing it would end the session.
#[tokio::test(flavor = "multi_thread")]
async fn slow_refresh_is_not_lost() {
    let provider = Provider::start("oidc-provider");
    let setup = setup(&provider).provider(r#"request_timeout = "1s""#);
    let site = site_of(setup, &provider, "gw-rot", "gw-rot-secret-0123456789").await;
    let mut browser = site.gateway.browser("store").signed_in(ALICE).await;
    browser.drop_access_token();
    control(&provider, "mode", Some(json!({ "delay_ms": 4000 }))).await;
    browser.get("/api/cart").await.expect_outage();
    let back = || async { Some(browser.peek("/api/cart").await).filter(|answer| answer.status == 200) };
    let answer = eventually("the late answer is used", Duration::from_secs(20), back).await;
    browser.keep(&answer);

    control(&provider, "mode", Some(json!({}))).await;
    browser.drop_access_token();
    browser.get("/api/cart").await.expect(200, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_client_secret() {
    let provider = SHARED.get().await;
    let wrong = setup(&provider).app(store("gw-rot", Some("not the secret"))).start().await;
    wrong.ready().await;
    workflow::wrong_client_secret(&rotating(&provider).await, &wrong).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_replaced() {
    let mut provider = Provider::start("oidc-provider");
    let site = rotating(&provider).await;
    let mut browser = site.gateway.browser("store").signed_in(ALICE).await;
    provider.stop();
    std::fs::remove_file(provider.state().join("jwks.json")).unwrap();
    provider.start_again();
    workflow::refreshed_after_key_rotation(&mut browser).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn user_disabled() {
    let provider = Provider::start("oidc-provider");
    let site = rotating(&provider).await;
    let mut browser = site.gateway.browser("store").signed_in(BOB).await;
    control(&provider, "user/bob", Some(json!({ "disabled": true }))).await;
    browser.drop_access_token();
    browser.get("/api/cart").await.expect_end_of_session();
    browser.log_in(BOB.0, BOB.1).await.expect(401, Some("invalid_credentials"));
}

/// A round through login, refresh and logout with a client that authenticates in its own way or signs with its own
/// algorithm.
async fn round_trip(gateway: &Gateway) -> String {
    gateway.ready().await;
    let mut browser = gateway.browser("store").signed_in(ALICE).await;
    let algorithm = header_of_access_token(&browser)["alg"].as_str().unwrap().to_owned();
    browser.get("/api/cart").await.expect(200, None);
    browser.drop_access_token();
    browser.get("/api/cart").await.expect(200, None);
    let refresh_token = browser.refresh_token();
    browser.log_out().await.expect(204, None);
    browser.cookies.insert("__Host-refresh_token".to_owned(), refresh_token);
    browser.get("/api/cart").await.expect_end_of_session();
    algorithm
}

#[tokio::test(flavor = "multi_thread")]
async fn es256() {
    let app = store("gw-es", Some("gw-es-secret-0123456789"));
    let gateway = setup(&*SHARED.get().await).app(app).start().await;
    assert_eq!(round_trip(&gateway).await, "ES256");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_secret_in_the_body() {
    let app = store("gw-post", Some("gw-post-secret-0123456789"));
    let gateway = setup(&*SHARED.get().await).provider(r#"client_auth = "post""#).app(app).start().await;
    round_trip(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_secret_that_needs_encoding() {
    let app = store("gw-sp", Some("p+q%2Fr:s"));
    let gateway = setup(&*SHARED.get().await).provider(r#"client_auth = "basic""#).app(app).start().await;
    round_trip(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn public_client() {
    let gateway =
        setup(&*SHARED.get().await).provider(r#"client_auth = "none""#).app(store("pub", None)).start().await;
    round_trip(&gateway).await;
}

/// Two clients of one provider whose tokens share their `aud`: `client_id` tells them apart.
#[tokio::test(flavor = "multi_thread")]
async fn another_apps_token_is_refused() {
    let provider = SHARED.get().await;
    let forums = App::new("forums", "gw", Some("gw-secret-0123456789"))
        .settings(r#"audience = "https://api.example""#);
    let gateway =
        setup(&provider).app(store("gw-rot", Some("gw-rot-secret-0123456789"))).app(forums).start().await;
    gateway.ready().await;
    let store = gateway.browser("store").signed_in(ALICE).await;
    let mut forums = gateway.browser("forums");
    forums.get("/api/user").await.expect(404, Some("not_logged_in"));
    forums.cookies.clone_from(&store.cookies);
    forums.cookies.remove("__Host-refresh_token");
    forums.get("/api/cart").await.expect(401, Some("not_logged_in"));
}
