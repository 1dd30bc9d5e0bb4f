//! OpenID Connect Back-Channel Logout: the provider says whose sessions end, by a signed token.

use serde_json::{Value, json};

use crate::support::gateway::ACCESS;
use crate::support::{Endpoint, Key, Request, Rotation, SEALED, World};

const PATH: &str = "/api/backchannel-logout";
const ENDPOINT: &str = "[apps.store.backchannel_logout]\npath = \"/api/backchannel-logout\"";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The claims of a good logout token for the store.
fn claims(world: &World) -> Value {
    let now = world.provider_now();
    json!({
        "iss": world.provider.issuer(), "aud": "store", "sub": "id-of-ada", "sid": "s1", "jti": "j1",
        "iat": now, "exp": now + 120, "events": { EVENT: {} },
    })
}

fn sign(key: Key, claims: &Value) -> String {
    let header = json!({"alg": key.algorithm(), "typ": "logout+jwt", "kid": key.id()});
    key.sign_raw(&header.to_string(), &claims.to_string())
}

fn logout(token: &str) -> Request {
    Request::post(PATH).form(&format!("logout_token={token}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_token_is_200_without_a_body_as_often_as_it_comes() {
    let world = World::with(ENDPOINT).await;
    for key in [Key::Rsa, Key::Ec, Key::Ed, Key::Ed] {
        let answer = world.browser().send(logout(&sign(key, &claims(&world)))).await;
        answer.assert_status(200);
        assert_eq!((answer.header("cache-control"), answer.length), (Some("no-store"), 0));
        assert_eq!(answer.header("content-length"), Some("0"));
        assert!(answer.set_cookies().is_empty());
    }
    assert_eq!(world.store.heads(), 0, "nothing of it reaches the app");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_beside_the_token_does_not_matter() {
    let world = World::with(ENDPOINT).await;
    let token = sign(Key::Rsa, &claims(&world));
    // A provider is on another origin, and may send more fields one day.
    let request = Request::post(PATH)
        .form(&format!("session=1&logout_token={token}&state="))
        .header("Origin", "https://id.example.com")
        .header("Sec-Fetch-Site", "cross-site");
    world.logged_in("ada").await.send(request).await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_else_is_400_without_reaching_the_app() {
    let world = World::with(ENDPOINT).await;
    let good = sign(Key::Rsa, &claims(&world));
    let changed = |name: &str, value: Value| {
        let mut claims = claims(&world);
        claims[name] = value;
        logout(&sign(Key::Rsa, &claims))
    };
    let refused = [
        ("a stranger's", logout(&sign(Key::Stranger, &claims(&world)))),
        ("another client's", changed("aud", json!("forums"))),
        ("another issuer's", changed("iss", json!("https://id.example.com"))),
        ("an old one", changed("iat", json!(world.provider_now() - 3600))),
        ("one of tomorrow", changed("iat", json!(world.provider_now() + 86_400))),
        ("an expired one", changed("exp", json!(world.provider_now() - 60))),
        ("without the event", changed("events", json!({}))),
        ("with a nonce", changed("nonce", json!("n"))),
        ("an access token", logout(&world.provider.mint("ada", "store", &json!({"sid": "s1"})))),
        ("an empty one", logout("")),
        ("no form", Request::post(PATH).form("logout_token=%zz")),
        ("no token", Request::post(PATH).form("token=x")),
        ("no body", Request::post(PATH).header("Content-Type", "application/x-www-form-urlencoded")),
        ("two tokens", Request::post(PATH).form(&format!("logout_token={good}&logout_token={good}"))),
        ("the same field twice", Request::post(PATH).form(&format!("logout_token={good}&a=1&a=2"))),
        ("in the query", Request::post(&format!("{PATH}?logout_token={good}")).form("a=1")),
    ];
    for (what, request) in refused {
        let answer = world.browser().send(request).await;
        assert_eq!(answer.status(), 400, "{what}: {}", answer.text());
        answer.assert_problem(400, "bad_request");
        assert!(!answer.text().contains("eyJ"), "{what}: {}", answer.text());
    }
    let json = Request::post(PATH).json(&json!({"logout_token": good}));
    world.browser().send(json).await.assert_problem(415, "unsupported_media_type");
    world.browser().send(Request::post(PATH)).await.assert_problem(415, "unsupported_media_type");
    let big = Request::post(PATH).form(&format!("logout_token={}", "x".repeat(40_000)));
    world.browser().send(big).await.assert_problem(413, "body_too_large");
    assert_eq!(world.store.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_post_also_for_preflights() {
    let world = World::with(ENDPOINT).await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let request = Request::new(method, PATH).header("Access-Control-Request-Method", "POST");
        let answer = world.browser().send(request).await;
        assert_eq!((answer.status(), answer.header("allow")), (405, Some("POST")), "{method}");
    }
    assert_eq!(world.store.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_setting_there_is_no_such_endpoint() {
    let world = World::with(ENDPOINT).await;
    let token = sign(Key::Rsa, &claims(&world));
    world.forums_browser().send(logout(&token)).await.assert_problem(401, "not_logged_in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_fetched_and_a_flood_of_unknown_ones_makes_one_fetch() {
    let settings = format!("{ENDPOINT}\n[identity_providers.main]\njwks_cooldown = \"10m\"");
    let world = World::with(&settings).await;
    let fetches = world.provider.count(Endpoint::Jwks);
    world.provider.set(|settings| settings.published = vec![Key::NextRsa]);
    world.browser().send(logout(&sign(Key::NextRsa, &claims(&world)))).await.assert_status(200);
    assert_eq!(world.provider.count(Endpoint::Jwks), fetches + 1);
    for number in 0..20 {
        let header = json!({"alg": "RS256", "kid": format!("unknown-{number}")});
        let token = Key::Stranger.sign_raw(&header.to_string(), &claims(&world).to_string());
        world.browser().send(logout(&token)).await.assert_problem(400, "bad_request");
    }
    assert_eq!(world.provider.count(Endpoint::Jwks), fetches + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_no_key_is_known_it_is_503() {
    let builder = World::builder().await.lay_over(ENDPOINT);
    builder.provider.listening().down();
    let world = builder.start_unready().await;
    let answer = world.browser().send(logout(&sign(Key::Rsa, &claims(&world)))).await;
    answer.assert_problem(503, "identity_provider_unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_by_its_sid_and_a_subject_s_sessions_so_far_without_one() {
    let world = World::with(ENDPOINT).await;
    let with_session = |sid: &str| {
        let claims = json!({ "sid": sid });
        world.provider.set(|settings| settings.claims = claims);
    };
    with_session("s1");
    let mut first = world.logged_in("ada").await;
    with_session("s2");
    let mut second = world.logged_in("ada").await;
    with_session("s3");
    let mut other = world.logged_in("eve").await;
    world.browser().send(logout(&sign(Key::Rsa, &claims(&world)))).await.assert_status(200);
    first.get("/api/cart").await.assert_status(401);
    second.get("/api/cart").await.assert_status(200);

    let mut of_subject = claims(&world);
    of_subject.as_object_mut().unwrap().remove("sid");
    world.browser().send(logout(&sign(Key::Rsa, &of_subject))).await.assert_status(200);
    second.get("/api/cart").await.assert_status(401);
    other.get("/api/cart").await.assert_status(200);
    world.clock.advance(1);
    world.logged_in("ada").await.get("/api/cart").await.assert_status(200);
}

/// The provider keeps its own session over a logout of the app's, and so the `sid`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_comes_again_ends_no_login_that_came_since() {
    for seconds in [0, 1, 60] {
        let world = World::with(ENDPOINT).await;
        world.provider.set(|settings| settings.claims = json!({"sid": "s1"}));
        let mut browser = world.logged_in("ada").await;
        let old = browser.clone();
        let mut long = claims(&world);
        long["exp"] = json!(world.provider_now() + 3600);
        let token = sign(Key::Rsa, &long);
        world.browser().send(logout(&token)).await.assert_status(200);
        browser.get("/api/cart").await.assert_status(401);
        world.clock.advance(seconds);
        browser.log_in("ada").await;
        for _ in 0..2 {
            world.browser().send(logout(&token)).await.assert_status(200);
            browser.get("/api/cart").await.assert_status(200);
            world.clock.advance(280);
        }
        browser.get("/api/cart").await.assert_status(200);
        assert_eq!(world.provider.count(Endpoint::Refresh), 2, "the new session is refreshed");
        old.clone().get("/api/cart").await.assert_status(401);
    }
}

/// A session whose provider goes on with it after it has said that it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ended_stays_so_though_the_provider_refreshes_it() {
    for sealed in ["", SEALED] {
        for with_jwt in [true, false] {
            let world = World::with(&format!("{ENDPOINT}\n{sealed}")).await;
            world.provider.set(|settings| settings.claims = json!({"sid": "s1"}));
            let mut browser = world.logged_in("ada").await;
            world.browser().send(logout(&sign(Key::Rsa, &claims(&world)))).await.assert_status(200);
            world.clock.advance(400);
            if !with_jwt {
                browser.jar.remove(ACCESS);
            }
            let old = browser.clone();
            browser.get("/api/cart").await.assert_problem(401, "session_expired");
            old.clone().get("/api/user").await.assert_status(401);
        }
    }
}

/// JWTs need not say when they were issued.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_admitted_also_where_jwts_have_no_iat() {
    for (sealed, rotation) in [("", Rotation::Rotate), ("", Rotation::Omit), (SEALED, Rotation::Rotate)] {
        for by_session in [true, false] {
            let world = World::with(&format!("{ENDPOINT}\n{sealed}")).await;
            world.provider.set(|settings| {
                settings.claims = json!({"sid": "s1", "iat": null});
                settings.rotation = rotation;
            });
            let old = world.logged_in("ada").await;
            let mut ending = claims(&world);
            if !by_session {
                ending.as_object_mut().unwrap().remove("sid");
            }
            world.browser().send(logout(&sign(Key::Rsa, &ending))).await.assert_status(200);
            old.clone().get("/api/cart").await.assert_status(401);
            let mut browser = world.logged_in("ada").await;
            for _ in 0..3 {
                browser.get("/api/cart").await.assert_status(200);
                world.expire_access_tokens();
            }
            old.clone().get("/api/cart").await.assert_status(401);
            ending["iat"] = json!(world.provider_now());
            ending["exp"] = json!(world.provider_now() + 60);
            world.browser().send(logout(&sign(Key::Rsa, &ending))).await.assert_status(200);
            browser.get("/api/cart").await.assert_status(401);
        }
    }
}
