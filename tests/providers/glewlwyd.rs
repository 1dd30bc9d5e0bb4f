//! Glewlwyd: errors with empty bodies, 403 for a wrong password, a client secret that must not be encoded, `aud` that
//! is a scope.
//!
//! A wrong client secret cannot be told from a wrong password or a dead refresh token here: all are an empty 400 or
//! 403. So there is no test of one; `portcullis doctor` finds it. With rotation it even uses the refresh token up.
//!
//! On SQLite it answers 500 to some of several logins at the same time, whoever logs in, so these tests take turns.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{App, Client, Provider, Setup, Shared, request};
use crate::workflow::{self, ALICE, Site, header_of_access_token};

static SHARED: Shared = Shared::new("glewlwyd");

const SECRET: &str = "gwsecret-0123456789";

/// `plugin` is what Glewlwyd calls one of its providers; see `glewlwyd/setup.py`.
fn issuer(provider: &Provider, plugin: &str) -> String {
    format!("{}/api/{plugin}", provider.base())
}

async fn site_of(
    provider: &Provider,
    plugin: &str,
    client_id: &'static str,
    secret: &'static str,
    auth: &str,
) -> Site {
    let issuer = issuer(provider, plugin);
    let app = App::new("store", client_id, Some(secret)).settings(r#"audience = "openid api""#);
    let setup = Setup::new(&issuer).provider(r#"scope = "openid api""#).provider(auth).app(app);
    let gateway = setup.start().await;
    gateway.ready().await;
    let client = Client {
        token_endpoint: format!("{issuer}/token"),
        revocation_endpoint: format!("{issuer}/revoke"),
        id: client_id.to_owned(),
        secret: secret.to_owned(),
    };
    Site { gateway, client, admin_role: "admin" }
}

/// Rotation, JWT 1 h.
async fn rotating(provider: &Provider) -> Site {
    site_of(provider, "oidcr", "gw", SECRET, "").await
}

/// Rotation, JWT 4 s, refresh token 20 s.
async fn short_lived(provider: &Provider) -> Site {
    site_of(provider, "oidcs", "gw", SECRET, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn login() {
    workflow::login(&rotating(&*SHARED.get_alone().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_password() {
    workflow::wrong_password(&rotating(&*SHARED.get_alone().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_user() {
    let provider = SHARED.get_alone().await;
    let site = rotating(&provider).await;
    let refused = site.gateway.browser("store").log_in("dis", "Passw0rd!dis").await;
    refused.expect(401, Some("invalid_credentials"));
}

#[tokio::test(flavor = "multi_thread")]
async fn unicode_password() {
    workflow::unicode_password(&rotating(&*SHARED.get_alone().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_refresh() {
    workflow::silent_refresh(&short_lived(&*SHARED.get_alone().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_refresh_without_rotation() {
    let provider = SHARED.get_alone().await;
    let site = site_of(&provider, "oidc", "gw", SECRET, "").await;
    let mut browser = site.gateway.browser("store").signed_in(ALICE).await;
    let refresh_token = browser.refresh_token();
    for _ in 0..2 {
        browser.drop_access_token();
        browser.get("/api/cart").await.expect(200, None);
        assert_eq!(browser.refresh_token(), refresh_token, "kept, as the provider does not rotate it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_refresh() {
    workflow::parallel_refresh(&short_lived(&*SHARED.get_alone().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_session() {
    workflow::dead_session(&rotating(&*SHARED.get_alone().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logout() {
    workflow::logout(&rotating(&*SHARED.get_alone().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outage() {
    let mut provider = Provider::start("glewlwyd");
    let site = rotating(&provider).await;
    workflow::outage(&site, &mut provider).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_secret_that_must_not_be_encoded() {
    let provider = SHARED.get_alone().await;
    let site = site_of(&provider, "oidcr", "gw-sp", "p+q%2Fr:s", r#"client_auth = "basic_raw""#).await;
    let mut browser = site.gateway.browser("store").signed_in(ALICE).await;
    browser.drop_access_token();
    browser.get("/api/cart").await.expect(200, None);
    browser.log_out().await.expect(204, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_secret_in_the_body() {
    let provider = SHARED.get_alone().await;
    let site = site_of(&provider, "oidcr", "gw-sp", "p+q%2Fr:s", r#"client_auth = "post""#).await;
    let mut browser = site.gateway.browser("store").signed_in(ALICE).await;
    browser.drop_access_token();
    browser.get("/api/cart").await.expect(200, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn es256() {
    let provider = SHARED.get_alone().await;
    let site = site_of(&provider, "oidce", "gw", SECRET, "").await;
    let mut browser = site.gateway.browser("store").signed_in(ALICE).await;
    assert_eq!(header_of_access_token(&browser)["alg"], "ES256");
    browser.drop_access_token();
    browser.get("/api/cart").await.expect(200, None);
}

/// The old key vanishes from the JWKS at once.
#[tokio::test(flavor = "multi_thread")]
async fn key_rotation() {
    let provider = SHARED.get_alone().await;
    let site = site_of(&provider, "oidck", "gw", SECRET, "").await;
    let mut browser = site.gateway.browser("store").signed_in(ALICE).await;
    rotate_key(&provider, "oidck").await;
    workflow::refreshed_after_key_rotation(&mut browser).await;
}

async fn rotate_key(provider: &Provider, plugin: &str) {
    let read = |name: &str| std::fs::read_to_string(provider.state().join(name)).unwrap();
    let cookie = admin_cookie(provider).await;
    let url = format!("{}/api/mod/plugin/{plugin}", provider.base());
    let header = Some(("cookie", cookie.as_str()));
    let mut settings = request(Method::GET, &url, header, None).await;
    settings["parameters"]["key"] = Value::String(read("rotated.key"));
    settings["parameters"]["cert"] = Value::String(read("rotated.pub"));
    request(Method::PUT, &url, header, Some(&settings)).await;
    request(Method::PUT, &format!("{url}/reset"), header, None).await;
}

async fn admin_cookie(provider: &Provider) -> String {
    let answer = reqwest::Client::builder()
        .build()
        .unwrap()
        .post(format!("{}/api/auth/", provider.base()))
        .header("content-type", "application/json")
        .body(json!({ "username": "admin", "password": "password" }).to_string())
        .send()
        .await
        .unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}
