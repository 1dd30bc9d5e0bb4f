//! Back-channel logout, and which logouts Keycloak tells its clients about.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use http::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::admin::{Realm, client_of};
use super::{SHARED, SHOP_SECRET, app, setup, unchanged};
use crate::harness::{Gateway, Setup, eventually};
use crate::workflow::{ALICE, claims_of_access_token, claims_of_token};

const PATH: &str = "/api/backchannel-logout";

/// Stands where Keycloak reaches a client: keeps the logout tokens, and passes them on to a gateway.
struct Ear {
    url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

/// A logout token, and what the gateway said to it (204: there is no gateway behind this one).
#[derive(Debug, Clone)]
struct Heard {
    claims: Value,
    status: u16,
}

impl Ear {
    async fn start(gateway: Option<&Gateway>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}{PATH}", listener.local_addr().unwrap());
        let browser = gateway.map(|gateway| gateway.browser("store"));
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let shared = heard.clone();
        let listen = move |headers: HeaderMap, body: String| async move {
            let form: Vec<(String, String)> =
                url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
            let claims = claims_of_token(&form[0].1);
            assert_eq!(form[0].0, "logout_token");
            let status = match browser {
                Some(browser) => {
                    let content_type = headers["content-type"].to_str().unwrap();
                    browser.clone().post(PATH, content_type, body).await.status
                }
                None => 204,
            };
            shared.lock().unwrap().push(Heard { claims, status });
            StatusCode::from_u16(status).unwrap()
        };
        let router = Router::new().fallback(listen);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, heard }
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// The one token that comes, though perhaps not at once.
    async fn the_one(&self) -> Heard {
        let any = || async { self.heard().pop() };
        let heard = eventually("Keycloak tells of the logout", Duration::from_secs(10), any).await;
        assert_eq!(self.heard().len(), 1);
        heard
    }
}

async fn store(setup: Setup) -> Gateway {
    let app = app("store", "shop", Some(SHOP_SECRET));
    let gateway = setup.app(app.settings(&format!("backchannel_logout.path = \"{PATH}\""))).start().await;
    gateway.ready().await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_s_logout_reaches_the_endpoint() {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, "back-channel", "plain", unchanged).await;
    let gateway = store(setup(&realm)).await;
    let ear = Ear::start(Some(&gateway)).await;
    realm.set_backchannel_logout_url("shop", &ear.url).await;
    let mut browser = gateway.browser("store").signed_in(ALICE).await;
    browser.get("/api/cart").await.expect(200, None);
    let path = format!("/users/{}/logout", realm.user_id("alice").await);
    realm.call(Method::POST, &path, None).await;
    let heard = ear.the_one().await;
    assert_eq!(heard.status, 200, "{heard:?}");
    let session = claims_of_access_token(&browser);
    assert_eq!((&heard.claims["sid"], &heard.claims["sub"]), (&session["sid"], &session["sub"]));
    assert_eq!((&heard.claims["aud"], &heard.claims["typ"]), (&json!("shop"), &json!("Logout")));
    let answer = browser.get("/api/cart").await;
    assert_eq!(answer.status, 401, "though the JWT has not expired: {answer:?}");
}

/// Keycloak answers our `logout` only when it has our answer to its own call, or after 5 s.
#[tokio::test(flavor = "multi_thread")]
async fn our_own_logout_by_end_session_comes_back_while_it_is_under_way() {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, "end-session", "rotate", unchanged).await;
    let gateway = store(setup(&realm).provider("logout = \"end_session\"\nrequest_timeout = \"4s\"")).await;
    let ear = Ear::start(Some(&gateway)).await;
    realm.set_backchannel_logout_url("shop", &ear.url).await;
    let mut browser = gateway.browser("store").signed_in(ALICE).await;
    let mut stolen = browser.clone();
    browser.log_out().await.expect(204, None);
    assert_eq!(ear.heard().len(), 1, "before our own answer");
    assert_eq!(ear.the_one().await.status, 200);
    let shop = realm.client("shop");
    assert_eq!(shop.refresh(&stolen.cookies["__Host-refresh_token"]).await, 400);
    stolen.drop_access_token();
    stolen.get("/api/cart").await.expect_end_of_session();
}

/// A session that two clients have part in, by a token exchange.
async fn other_client_hears(realm_name: &str, logout: &str) -> usize {
    let provider = SHARED.get().await;
    let realm = Realm::create(&provider, realm_name, "plain", |realm| {
        let mappers = client_of(realm, "shop")["protocolMappers"].as_array_mut().unwrap();
        let mut mapper = mappers[0].clone();
        mapper["name"] = json!("audience of the forum");
        mapper["config"]["included.client.audience"] = json!("forum");
        mappers.push(mapper);
        client_of(realm, "forum")["attributes"] = json!({
            "standard.token.exchange.enabled": "true",
            "standard.token.exchange.enableRefreshRequestedTokenType": "SAME_SESSION",
        });
    })
    .await;
    let gateway = store(setup(&realm).provider(&format!("logout = \"{logout}\""))).await;
    let ear = Ear::start(None).await;
    realm.set_backchannel_logout_url("forum", &ear.url).await;
    let mut browser = gateway.browser("store").signed_in(ALICE).await;
    let exchanged = realm.client("forum").exchange(&browser.cookies["__Host-access_token"]).await;
    assert_eq!(exchanged, 200);
    browser.log_out().await.expect(204, None);
    // What Keycloak tells, it tells before it answers.
    ear.heard().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_of_the_session_hears_of_an_end_of_the_session() {
    assert_eq!(other_client_hears("told", "end_session").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_of_the_session_hears_of_no_revocation() {
    assert_eq!(other_client_hears("not-told", "revocation").await, 0);
}
