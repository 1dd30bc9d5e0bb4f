//! The workflow of a session, as it has to be with every identity provider.

use std::time::Duration;

use futures_util::future::join_all;

use crate::harness::{Answer, Browser, Client, Gateway, Provider, eventually};

pub(crate) const ALICE: (&str, &str) = ("alice", "Passw0rd!alice");
pub(crate) const BOB: (&str, &str) = ("bob", "Passw0rd!bob");
pub(crate) const UNI: (&str, &str) = ("uni", "Pä ss+w%rd&=✓");

/// Longer than the leeway that the gateways are set up with.
const LEEWAY: Duration = Duration::from_secs(2);

/// One app, `store`, in front of one client of a provider.
pub(crate) struct Site {
    /// The gateway.
    pub(crate) gateway: Gateway,
    /// The same client, to ask the provider directly.
    pub(crate) client: Client,
    /// The role of alice that `/api/admin/*` asks for and uni lacks.
    pub(crate) admin_role: &'static str,
}

impl Site {
    fn browser(&self) -> Browser {
        self.gateway.browser("store")
    }

    async fn alice(&self) -> Browser {
        self.browser().signed_in(ALICE).await
    }
}

/// Steps 1 to 5: pages, the user endpoint, login by JSON and by form, identity headers, roles.
pub(crate) async fn login(site: &Site) {
    let mut browser = site.browser();
    browser.get("/").await.expect(200, None);
    browser.get("/api/user").await.expect(404, Some("not_logged_in"));
    browser.get("/api/cart").await.expect(401, Some("not_logged_in"));

    let logged_in = browser.log_in(ALICE.0, ALICE.1).await;
    logged_in.expect(200, None);
    for cookie in logged_in.cookies() {
        assert_eq!(cookie.http_only(), Some(true), "{cookie}");
        assert_eq!(cookie.secure(), Some(true), "{cookie}");
        assert_eq!(cookie.same_site(), Some(cookie::SameSite::Lax), "{cookie}");
        assert_eq!((cookie.path(), cookie.domain()), (Some("/"), None), "{cookie}");
    }
    let user = browser.get("/api/user").await;
    assert_eq!(user.body, logged_in.body, "login and user endpoint show the same user object");
    assert_eq!(user.body["email"], "alice@example.com");
    assert!(user.body["roles"].as_array().unwrap().contains(&site.admin_role.into()), "{user:?}");

    let echo = browser.get("/api/cart").await;
    echo.expect(200, None);
    assert_eq!(echo.received("x-auth-user"), user.body["sub"].as_str());
    assert_eq!(echo.received("x-auth-email"), Some("alice@example.com"));
    assert!(echo.received("x-auth-roles").unwrap().split(',').any(|role| role == site.admin_role));
    assert_eq!(echo.received("cookie"), None, "the session's cookies stay in the gateway");
    assert!(echo.cookies().is_empty(), "nothing to renew: {echo:?}");
    browser.get("/api/admin/users").await.expect(200, None);

    let mut by_form = site.browser();
    let logged_in = by_form.log_in_by_form(ALICE.0, ALICE.1).await;
    logged_in.expect(200, None);
    assert_eq!(logged_in.body["sub"], user.body["sub"]);
}

/// Step 4': a refused login says nothing about what was wrong.
pub(crate) async fn wrong_password(site: &Site) {
    let mut browser = site.browser();
    let wrong_password = browser.log_in(ALICE.0, "not hers").await;
    wrong_password.expect(401, Some("invalid_credentials"));
    assert!(wrong_password.cookies().is_empty());
    let unknown_user = browser.log_in("nobody", "not hers").await;
    unknown_user.expect(401, Some("invalid_credentials"));
    assert_eq!(wrong_password.problem_without_id(), unknown_user.problem_without_id());
    browser.log_in(ALICE.0, ALICE.1).await.expect(200, None);
}

/// A password with a space, percent, plus, ampersand, an umlaut and a check mark, by both kinds of body; and a user
/// without the role.
pub(crate) async fn unicode_password(site: &Site) {
    let mut browser = site.browser();
    browser.log_in(UNI.0, UNI.1).await.expect(200, None);
    browser.log_in_by_form(UNI.0, UNI.1).await.expect(200, None);
    browser.get("/api/cart").await.expect(200, None);
    browser.get("/api/admin/users").await.expect(403, Some("forbidden"));
}

/// Step 6, with a JWT that is absent, and one that has expired.
pub(crate) async fn silent_refresh(site: &Site) {
    let mut browser = site.alice().await;
    let user = browser.get("/api/cart").await.received("x-auth-user").unwrap().to_owned();

    browser.drop_access_token();
    expect_refreshed(&browser.get("/api/cart").await, &user);

    wait_for_expiry(&browser).await;
    expect_refreshed(&browser.get("/api/cart").await, &user);

    browser.get("/api/cart").await.expect(200, None);
}

/// Parallel requests at the expiry, then a late one with the old cookies: the provider sees one refresh, all get its
/// outcome, and the session lives on, which with rotation it would not after a second use of the refresh token.
pub(crate) async fn parallel_refresh(site: &Site) {
    let mut browser = site.alice().await;
    let user = browser.get("/api/cart").await.received("x-auth-user").unwrap().to_owned();
    wait_for_expiry(&browser).await;

    let old = browser.clone();
    let answers = join_all((0..20).map(|_| old.peek("/api/cart"))).await;
    for answer in &answers {
        expect_refreshed(answer, &user);
        assert_eq!(new_tokens(answer), new_tokens(&answers[0]), "all get the same tokens");
    }
    let late = old.peek("/api/cart").await;
    expect_refreshed(&late, &user);
    assert_eq!(new_tokens(&late), new_tokens(&answers[0]), "the replay window gives the same tokens again");

    browser.keep(&answers[0]);
    browser.drop_access_token();
    expect_refreshed(&browser.get("/api/cart").await, &user);
}

/// Step 7: the provider has revoked the refresh token.
pub(crate) async fn dead_session(site: &Site) {
    let mut browser = site.alice().await;
    site.client.revoke(&browser.refresh_token()).await;
    browser.get("/api/cart").await.expect(200, None);

    browser.drop_access_token();
    browser.get("/api/cart").await.expect_end_of_session();
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies.keys());
    browser.get("/api/cart").await.expect(401, Some("not_logged_in"));
    browser.log_in(ALICE.0, ALICE.1).await.expect(200, None);
}

/// Step 11: the refresh token is dead at the provider, not only forgotten.
pub(crate) async fn logout(site: &Site) {
    let (mut leaving, staying) = (site.alice().await, site.alice().await);
    let mut stolen = leaving.clone();
    let refresh_token = leaving.refresh_token();

    let logged_out = leaving.log_out().await;
    logged_out.expect(204, None);
    assert!(leaving.cookies.is_empty(), "{logged_out:?}");
    leaving.get("/api/user").await.expect(404, Some("not_logged_in"));

    assert_eq!(site.client.refresh(&refresh_token).await, 400, "revoked at the provider");
    assert_eq!(site.client.refresh(&staying.refresh_token()).await, 200, "only this session");
    stolen.drop_access_token();
    stolen.get("/api/cart").await.expect_end_of_session();
    leaving.log_out().await.expect(204, None);
}

/// The provider goes away and comes back: nobody is logged out.
pub(crate) async fn outage(site: &Site, provider: &mut Provider) {
    let mut browser = site.alice().await;
    let mut leaving = site.alice().await;
    provider.stop();

    browser.get("/api/cart").await.expect(200, None);
    let kept = browser.clone();
    browser.drop_access_token();
    browser.get("/api/cart").await.expect_outage();
    browser.get("/api/user").await.expect_outage();
    site.browser().log_in(ALICE.0, ALICE.1).await.expect_outage();
    leaving.log_out().await.expect(204, None);
    assert!(leaving.cookies.is_empty(), "logout works without the provider");
    kept.peek("/api/cart").await.expect(200, None);

    provider.start_again();
    let back = || async {
        let answer = browser.peek("/api/cart").await;
        if answer.status == 503 {
            answer.expect_outage();
            return None;
        }
        Some(answer)
    };
    let answer = eventually("the session goes on", Duration::from_secs(30), back).await;
    answer.expect(200, None);
    browser.keep(&answer);
    browser.get("/api/cart").await.expect(200, None);
    site.alice().await.get("/api/cart").await.expect(200, None);
}

/// The operator's mistake is an outage, never a wrong password or a dead session.
pub(crate) async fn wrong_client_secret(right: &Site, wrong: &Gateway) {
    wrong.browser("store").log_in(ALICE.0, ALICE.1).await.expect_outage();
    let mut browser = right.alice().await;
    let mut misled = wrong.browser("store");
    misled.cookies.clone_from(&browser.cookies);
    misled.get("/api/cart").await.expect(200, None);
    misled.drop_access_token();
    misled.get("/api/cart").await.expect_outage();

    browser.drop_access_token();
    browser.get("/api/cart").await.expect(200, None);
}

/// Tokens signed with a key that was not there before are taken at once.
pub(crate) async fn refreshed_after_key_rotation(browser: &mut Browser) {
    let key_id = |browser: &Browser| header_of_access_token(browser)["kid"].clone();
    let before = key_id(browser);
    browser.drop_access_token();
    browser.get("/api/cart").await.expect(200, None);
    assert_ne!(key_id(browser), before, "the provider signs with another key");
    browser.get("/api/cart").await.expect(200, None);
}

/// The protected header of the JWT in a cookie.
pub(crate) fn header_of_access_token(browser: &Browser) -> serde_json::Value {
    decoded_part(browser, 0)
}

/// The claims of the JWT in a cookie.
pub(crate) fn claims_of_access_token(browser: &Browser) -> serde_json::Value {
    decoded_part(browser, 1)
}

/// The claims of any token, not verified.
pub(crate) fn claims_of_token(token: &str) -> serde_json::Value {
    part_of_token(token, 1)
}

fn decoded_part(browser: &Browser, index: usize) -> serde_json::Value {
    part_of_token(browser.cookies.get("__Host-access_token").expect("an access token"), index)
}

fn part_of_token(token: &str, index: usize) -> serde_json::Value {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let part = token.split('.').nth(index).expect("a JWT");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

/// Waits until the JWT in the cookie jar has expired, by its own `iat` and `exp`.
pub(crate) async fn wait_for_expiry(browser: &Browser) {
    let claims = claims_of_access_token(browser);
    let lifetime = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    tokio::time::sleep(Duration::from_secs(lifetime) + LEEWAY).await;
}

#[track_caller]
fn expect_refreshed(answer: &Answer, user: &str) {
    answer.expect(200, None);
    assert_eq!(answer.received("x-auth-user"), Some(user));
    assert_eq!(answer.received("cookie"), None);
    assert!(!new_tokens(answer).is_empty(), "no new cookies: {answer:?}");
}

fn new_tokens(answer: &Answer) -> Vec<(&str, &str)> {
    answer.cookies().iter().map(cookie::Cookie::name_value).collect()
}
