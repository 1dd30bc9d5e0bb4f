//! Keycloak: roles in `realm_access.roles`, `aud` without the client id on a stock client, `unauthorized_client` for a
//! wrong secret.
//!
//! Every test makes a realm of its own in one shared server.

#[path = "keycloak/admin.rs"]
mod admin;
#[path = "keycloak/back_channel.rs"]
mod back_channel;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{App, Provider, Setup, Shared};
use crate::workflow::{
    self, ALICE, BOB, Site, UNI, claims_of_access_token, header_of_access_token, wait_for_expiry,
};
use admin::{Realm, client_of, user_of};

pub(super) static SHARED: Shared = Shared::new("keycloak");

const SHOP_SECRET: &str = "shop-secret-0123456789";
const BARE_SECRET: &str = "bare-secret-0123456789";

fn setup(realm: &Realm) -> Setup {
    Setup::new(realm.issuer()).provider(r#"scope = "openid""#)
}

fn app(name: &'static str, client_id: &'static str, secret: Option<&'static str>) -> App {
    App::new(name, client_id, secret).settings(r#"roles_claim = "realm_access.roles""#).admin_role("staff")
}

async fn site_of(setup: Setup, realm: &Realm, client_id: &'static str, secret: &'static str) -> Site {
    let gateway = setup.app(app("store", client_id, Some(secret))).start().await;
    gateway.ready().await;
    Site { gateway, client: realm.client(client_id), admin_role: "staff" }
}

/// The client `shop` of a realm without rotation.
async fn shop(provider: &Provider, realm: &str) -> Site {
    let realm = Realm::create(provider, realm, "plain", short_lived).await;
    site_of(setup(&realm), &realm, "shop", SHOP_SECRET).await
}

/// The client `shop` of a realm where a refresh token works once.
async fn shop_rotating(provider: &Provider, realm: &str) -> Site {
    let realm = Realm::create(provider, realm, "rotate", short_lived).await;
    site_of(setup(&realm), &realm, "shop", SHOP_SECRET).await
}

fn short_lived(realm: &mut Value) {
    realm["accessTokenLifespan"] = json!(4);
}

fn unchanged(_: &mut Value) {}

#[tokio::test(flavor = "multi_thread")]
async fn login() {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, "login", "rotate", unchanged).await;
    workflow::login(&site_of(setup(&realm), &realm, "shop", SHOP_SECRET).await).await;
}

/// The realm and the client as Keycloak makes them: `aud` is `account`, only `azp` names the client.
#[tokio::test(flavor = "multi_thread")]
async fn stock_client() {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, "stock-client", "plain", unchanged).await;
    let site = site_of(setup(&realm), &realm, "bare", BARE_SECRET).await;
    let browser = site.gateway.browser("store").signed_in(ALICE).await;
    let claims = claims_of_access_token(&browser);
    assert_eq!((&claims["aud"], &claims["azp"]), (&json!("account"), &json!("bare")));
    workflow::login(&site).await;
    workflow::logout(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_password() {
    workflow::wrong_password(&shop(&*SHARED.get().await, "wrong-password").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unicode_password() {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, "unicode-password", "plain", unchanged).await;
    workflow::unicode_password(&site_of(setup(&realm), &realm, "shop", SHOP_SECRET).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_refresh() {
    workflow::silent_refresh(&shop(&*SHARED.get().await, "silent-refresh").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_refresh_with_rotation() {
    workflow::silent_refresh(&shop_rotating(&*SHARED.get().await, "silent-rotating").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_refresh() {
    workflow::parallel_refresh(&shop(&*SHARED.get().await, "parallel").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_refresh_with_rotation() {
    workflow::parallel_refresh(&shop_rotating(&*SHARED.get().await, "parallel-rotating").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_session() {
    workflow::dead_session(&shop(&*SHARED.get().await, "dead-session").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn session_ended_by_the_admin() {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, "admin-logout", "rotate", unchanged).await;
    let site = site_of(setup(&realm), &realm, "shop", SHOP_SECRET).await;
    let mut browser = site.gateway.browser("store").signed_in(ALICE).await;
    let path = format!("/users/{}/logout", realm.user_id("alice").await);
    realm.call(Method::POST, &path, None).await;
    browser.drop_access_token();
    browser.get("/api/cart").await.expect_end_of_session();
}

#[tokio::test(flavor = "multi_thread")]
async fn logout() {
    workflow::logout(&shop_rotating(&*SHARED.get().await, "logout").await).await;
}

/// Sessions and keys survive the restart.
#[tokio::test(flavor = "multi_thread")]
async fn outage() {
    let mut provider = SHARED.get_alone().await;
    let realm =
        Realm::create(&provider, "outage", "rotate", |realm| realm["accessTokenLifespan"] = json!(300)).await;
    let site = site_of(setup(&realm), &realm, "shop", SHOP_SECRET).await;
    workflow::outage(&site, &mut provider).await;
}

/// Keycloak says `unauthorized_client`.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_client_secret() {
    let provider = SHARED.get().await;
    let realm =
        Realm::create(&provider, "wrong-secret", "rotate", |realm| realm["accessTokenLifespan"] = json!(300))
            .await;
    let right = site_of(setup(&realm), &realm, "shop", SHOP_SECRET).await;
    let wrong = site_of(setup(&realm), &realm, "shop", "not the secret").await;
    workflow::wrong_client_secret(&right, &wrong.gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_secret_that_needs_encoding() {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, "special", "plain", unchanged).await;
    let site = site_of(setup(&realm), &realm, "special", "p+q%2Fr:s").await;
    workflow::unicode_password(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_secret_in_the_body() {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, "post", "plain", unchanged).await;
    let site =
        site_of(setup(&realm).provider(r#"client_auth = "post""#), &realm, "special", "p+q%2Fr:s").await;
    workflow::unicode_password(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn public_client() {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, "public", "rotate", unchanged).await;
    let setup = setup(&realm).provider(r#"client_auth = "none""#).app(app("store", "public", None));
    let gateway = setup.start().await;
    gateway.ready().await;
    let mut browser = gateway.browser("store").signed_in(ALICE).await;
    browser.drop_access_token();
    browser.get("/api/cart").await.expect(200, None);
    let mut stolen = browser.clone();
    browser.log_out().await.expect(204, None);
    stolen.drop_access_token();
    stolen.get("/api/cart").await.expect_end_of_session();
}

#[tokio::test(flavor = "multi_thread")]
async fn es256() {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, "es256", "plain", |realm| {
        client_of(realm, "shop")["attributes"] = json!({ "access.token.signed.response.alg": "ES256" });
    })
    .await;
    let site = site_of(setup(&realm), &realm, "shop", SHOP_SECRET).await;
    let mut browser = site.gateway.browser("store").signed_in(ALICE).await;
    assert_eq!(header_of_access_token(&browser)["alg"], "ES256");
    browser.get("/api/cart").await.expect(200, None);
    browser.drop_access_token();
    browser.get("/api/cart").await.expect(200, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_rotation() {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, "key-rotation", "rotate", unchanged).await;
    let site = site_of(setup(&realm), &realm, "shop", SHOP_SECRET).await;
    let mut browser = site.gateway.browser("store").signed_in(ALICE).await;
    realm.rotate_key().await;
    browser.get("/api/cart").await.expect(200, None);
    workflow::refreshed_after_key_rotation(&mut browser).await;
}

/// Two stock clients, whose tokens have the same `aud`, and two with their own: no token passes at the other app.
#[tokio::test(flavor = "multi_thread")]
async fn another_apps_token_is_refused() {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, "two-apps", "plain", unchanged).await;
    let pairs = [
        (("shop", SHOP_SECRET), ("forum", "forum-secret-0123456789")),
        (("bare", BARE_SECRET), ("special", "p+q%2Fr:s")),
    ];
    for ((store_id, store_secret), (forum_id, forum_secret)) in pairs {
        let setup = setup(&realm).app(app("store", store_id, Some(store_secret))).app(app(
            "forums",
            forum_id,
            Some(forum_secret),
        ));
        let gateway = setup.start().await;
        gateway.ready().await;
        let mut store = gateway.browser("store").signed_in(ALICE).await;
        let mut forums = gateway.browser("forums");
        forums.get("/api/user").await.expect(404, Some("not_logged_in"));

        forums.cookies.clone_from(&store.cookies);
        forums.cookies.remove("__Host-refresh_token");
        forums.get("/api/cart").await.expect(401, Some("not_logged_in"));
        forums.cookies.clone_from(&store.cookies);
        forums.get("/api/cart").await.expect_end_of_session();

        store.drop_access_token();
        store.get("/api/cart").await.expect(200, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_user() {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, "disabled", "plain", unchanged).await;
    let site = site_of(setup(&realm), &realm, "shop", SHOP_SECRET).await;
    let mut browser = site.gateway.browser("store");
    let refused = browser.log_in(BOB.0, BOB.1).await;
    refused.expect(401, Some("invalid_credentials"));
    assert!(refused.cookies().is_empty());

    let mut browser = browser.signed_in(ALICE).await;
    realm.set_enabled("alice", false).await;
    browser.get("/api/cart").await.expect(200, None);
    browser.drop_access_token();
    browser.get("/api/cart").await.expect_end_of_session();
}

/// The password is right, but Keycloak wants it changed first.
#[tokio::test(flavor = "multi_thread")]
async fn required_action() {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, "required-action", "plain", unchanged).await;
    let site = site_of(setup(&realm), &realm, "bare", BARE_SECRET).await;
    let mut browser = site.gateway.browser("store");
    let refused = browser.log_in("carol", "Passw0rd!carol").await;
    refused.expect(401, Some("account_action_required"));
    assert!(refused.cookies().is_empty());
    browser.log_in("carol", "wrong").await.expect(401, Some("invalid_credentials"));
}

/// With brute-force protection Keycloak refuses all but one of a user's simultaneous right logins.
#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_logins() {
    let provider = SHARED.get().await;
    let realm =
        Realm::create(&provider, "guarded", "plain", |realm| realm["bruteForceProtected"] = json!(true))
            .await;
    let site = site_of(setup(&realm), &realm, "shop", SHOP_SECRET).await;
    let logins = (0..8).map(|_| site.gateway.browser("store").signed_in(ALICE));
    for mut browser in join_all(logins).await {
        browser.get("/api/cart").await.expect(200, None);
    }
}

/// A JWT of 6 KB is more than a cookie holds; when it gets short again, the cookies of the long one go.
#[tokio::test(flavor = "multi_thread")]
async fn many_roles() {
    let provider = SHARED.get().await;
    let names: Vec<String> = (0..150).map(|number| format!("department-of-numbers-{number:03}")).collect();
    let realm = Realm::create(&provider, "many-roles", "rotate", |realm| {
        short_lived(realm);
        let roles = realm["roles"]["realm"].as_array_mut().unwrap();
        roles.extend(names.iter().map(|name| json!({ "name": name })));
        user_of(realm, "uni")["realmRoles"]
            .as_array_mut()
            .unwrap()
            .extend(names.iter().map(|name| json!(name)));
    })
    .await;
    let app = app("store", "shop", Some(SHOP_SECRET)).admin_role("department-of-numbers-149");
    let gateway = setup(&realm).app(app).start().await;
    gateway.ready().await;

    let mut browser = gateway.browser("store").signed_in(UNI).await;
    let parts = |cookies: &std::collections::BTreeMap<String, String>| {
        cookies.keys().filter(|name| name.starts_with("__Host-access_token")).count()
    };
    assert!(parts(&browser.cookies) >= 2, "{:?}", browser.cookies.keys());
    let echo = browser.get("/api/admin/numbers").await;
    echo.expect(200, None);
    assert_eq!(echo.received("cookie"), None, "no part of a token reaches the app");

    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    browser.get("/api/admin/numbers").await.expect(200, None);
    assert!(parts(&browser.cookies) >= 2, "{:?}", browser.cookies.keys());

    let mut torn = browser.clone();
    torn.cookies.remove("__Host-access_token.1");
    torn.cookies.remove("__Host-refresh_token");
    torn.get("/api/admin/numbers").await.expect(401, Some("not_logged_in"));

    let user = realm.user_id("uni").await;
    let path = format!("/users/{user}/role-mappings/realm");
    let assigned = realm.call(Method::GET, &path, None).await;
    realm.call(Method::DELETE, &path, Some(&assigned)).await;
    browser.drop_first_part_of_access_token();
    browser.get("/api/cart").await.expect(200, None);
    assert_eq!(parts(&browser.cookies), 1, "leftovers: {:?}", browser.cookies.keys());
    browser.get("/api/admin/numbers").await.expect(403, Some("forbidden"));
    wait_for_expiry(&browser).await;
    browser.get("/api/cart").await.expect(200, None);
}
