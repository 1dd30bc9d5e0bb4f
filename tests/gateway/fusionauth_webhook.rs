//! FusionAuth's webhook: events count with their signature only.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::fusionauth::FusionAuth;
use crate::support::keys::base64url;
use crate::support::{Key, Request, World};

const PATH: &str = "/api/fusionauth-webhook";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

async fn world(settings: &str) -> (World, FusionAuth) {
    let builder = World::builder().await;
    let fusionauth = FusionAuth::start(builder.clock.clone()).await;
    let builder = builder.without("apps.forums").without("identity_providers.main");
    let toml = format!(
        "{}\nalgorithms = [\"RS256\"]\n[apps.store.fusionauth_webhook]\npath = \"{PATH}\"\n{settings}",
        fusionauth.config("oauth2")
    );
    let world = builder.lay_over(&toml).start().await;
    (world, fusionauth)
}

fn event(world: &World, kind: &str) -> Value {
    json!({"event": {
        "type": kind, "createInstant": world.provider_now() * 1000, "id": "e502168a-b469-45d9-a079-fd45f83e0406",
        "applicationId": "store", "userId": "id-of-ada", "user": {"id": "id-of-ada", "data": {"x": [1, {}]}},
        "refreshToken": {"id": "sid"},
    }})
}

fn hash(body: &str) -> Value {
    json!({"request_body_sha256": STANDARD.encode(digest(&SHA256, body.as_bytes()))})
}

fn signed(body: &str, signature: &str) -> Request {
    Request::post(PATH).body("application/json", body).header("X-FusionAuth-Signature-JWT", signature)
}

fn hmac_jwt(secret: &str, claims: &Value) -> String {
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": "hook"});
    let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{message}.{}", base64url(hmac::sign(&key, message.as_bytes())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_event_is_200_whatever_it_is_about() {
    let (world, _fusionauth) = world("").await;
    for kind in
        ["jwt.refresh-token.revoke", "user.deactivate", "user.delete", "user.login.success", "of the future"]
    {
        let body = event(&world, kind).to_string();
        let answer = world.browser().send(signed(&body, &Key::Rsa.sign(&hash(&body)))).await;
        answer.assert_status(200);
        assert_eq!((answer.header("cache-control"), answer.length), (Some("no-store"), 0), "{kind}");
    }
    let everybody = json!({"event": {
        "type": "jwt.refresh-token.revoke", "createInstant": 1, "applicationId": "store",
    }});
    let body = everybody.to_string();
    world.browser().send(signed(&body, &Key::Rsa.sign(&hash(&body)))).await.assert_status(200);
    assert_eq!(world.store.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_good_signature_it_is_400() {
    let (world, _fusionauth) = world("").await;
    let body = event(&world, "user.deactivate").to_string();
    let good = Key::Rsa.sign(&hash(&body));
    let mut browser = world.logged_in("ada").await;
    let access_token = browser.jar["__Host-access_token"].clone();
    for (what, request) in [
        ("none", Request::post(PATH).body("application/json", &body)),
        ("an empty one", signed(&body, "")),
        ("another body's", signed(&body, &Key::Rsa.sign(&hash("{}")))),
        ("a stranger's", signed(&body, &Key::Stranger.sign(&hash(&body)))),
        ("a user's JWT", signed(&body, &access_token)),
        ("HMAC", signed(&body, &hmac_jwt(SECRET, &hash(&body)))),
        ("two", signed(&body, &good).header("X-FusionAuth-Signature-JWT", &good)),
        ("in the body", signed("{}", &good)),
        ("of no event", signed("[]", &Key::Rsa.sign(&hash("[]")))),
    ] {
        let answer = browser.send(request).await;
        assert_eq!(answer.status(), 400, "{what}: {}", answer.text());
        answer.assert_problem(400, "bad_request");
    }
    browser.get("/api/cart").await.assert_status(200);
    let form = Request::post(PATH).form("event=1").header("X-FusionAuth-Signature-JWT", &good);
    browser.send(form).await.assert_problem(415, "unsupported_media_type");
    let big = format!("{{\"event\":\"{}\"}}", "x".repeat(70_000));
    browser.send(signed(&big, &good)).await.assert_problem(413, "body_too_large");
    let answer = browser.send(Request::get(PATH)).await;
    assert_eq!((answer.status(), answer.header("allow")), (405, Some("POST")));
    assert_eq!(world.store.heads(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_many_kilobytes_is_read() {
    let (world, _fusionauth) = world("").await;
    let mut event = event(&world, "user.deactivate");
    event["event"]["user"]["data"]["story"] = json!("x".repeat(60_000));
    let body = event.to_string();
    world.browser().send(signed(&body, &Key::Rsa.sign(&hash(&body)))).await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_secret_that_alone_signs_and_nothing_is_fetched() {
    let (world, fusionauth) = world(&format!("hmac_secret = \"{SECRET}\"")).await;
    let fetches = fusionauth.calls("GET /.well-known/jwks.json").len();
    let body = event(&world, "user.deactivate").to_string();
    world.browser().send(signed(&body, &hmac_jwt(SECRET, &hash(&body)))).await.assert_status(200);
    for forged in [hmac_jwt("another secret", &hash(&body)), Key::Rsa.sign(&hash(&body))] {
        world.browser().send(signed(&body, &forged)).await.assert_problem(400, "bad_request");
    }
    assert_eq!(fusionauth.calls("GET /.well-known/jwks.json").len(), fetches);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_end_by_revocation_and_deactivation() {
    for kind in ["jwt.refresh-token.revoke", "user.deactivate"] {
        let (world, _fusionauth) = world("").await;
        let mut browser = world.logged_in("ada").await;
        browser.get("/api/cart").await.assert_status(200);
        let body = event(&world, kind).to_string();
        world.browser().send(signed(&body, &Key::Rsa.sign(&hash(&body)))).await.assert_status(200);
        let answer = browser.get("/api/cart").await;
        assert_eq!(answer.status(), 401, "{kind}: {}", answer.text());
    }
}
