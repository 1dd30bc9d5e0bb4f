//! A JWT from a browser counts only with the right signature, issuer, audience, authorized party, times and type. The
//! gateway takes nothing on trust.

use serde_json::{Value, json};

use crate::support::gateway::ACCESS;
use crate::support::keys::base64url;
use crate::support::{Answer, Endpoint, Key, World};

async fn with_token(world: &World, token: String) -> Answer {
    let mut browser = world.browser();
    browser.jar.insert(ACCESS.into(), token);
    browser.get("/api/shopping-cart").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jwt_with_wrong_claims_is_no_session() {
    let world = World::start().await;
    with_token(&world, world.provider.mint("ada", "store", &json!({}))).await.assert_status(200);
    let now = world.provider_now();
    let wrong = [
        json!({"iss": "http://127.0.0.1:1"}),
        json!({"iss": format!("{}/", world.provider.issuer())}),
        json!({"iss": [world.provider.issuer()]}),
        json!({"iss": null}),
        json!({"aud": "forums"}),
        json!({"aud": ["forums", "account"]}),
        json!({"aud": null}),
        json!({"aud": {"store": true}}),
        json!({"azp": "forums"}),
        json!({"client_id": "forums"}),
        json!({"exp": now - 60}),
        json!({"exp": null}),
        json!({"exp": 1e300}),
        json!({"exp": "never"}),
        json!({"nbf": now + 60}),
        json!({"iat": now + 600}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"typ": "ID"}),
        json!({"typ": "Refresh"}),
    ];
    for claims in wrong {
        let answer = with_token(&world, world.provider.mint("ada", "store", &claims)).await;
        assert_eq!(answer.status(), 401, "{claims}: {}", answer.text());
    }
    assert_eq!(world.store.heads(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_audiences_and_a_little_clock_skew_are_fine() {
    let world = World::start().await;
    let now = world.provider_now();
    for claims in [
        json!({"aud": ["account", "store"]}),
        json!({"azp": null}),
        json!({"client_id": "store"}),
        json!({"exp": now - 3}),
        json!({"nbf": now + 3}),
        json!({"iat": null}),
        json!({"exp": now + 300, "jti": null, "email": null}),
    ] {
        let answer = with_token(&world, world.provider.mint("ada", "store", &claims)).await;
        assert_eq!(answer.status(), 200, "{claims}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_keycloak_whose_audience_is_account_is_told_apart_by_azp() {
    let builder = World::builder().await;
    let world = builder.without("apps.store.audience").start().await;
    let good = [json!({"aud": "account"}), json!({"aud": null}), json!({"aud": "store", "azp": null})];
    for claims in good {
        let answer = with_token(&world, world.provider.mint("ada", "store", &claims)).await;
        assert_eq!(answer.status(), 200, "{claims}: {}", answer.text());
    }
    let bad = [
        json!({"aud": "account", "azp": "forums"}),
        json!({"aud": "account", "azp": null}),
        json!({"aud": null, "azp": null}),
        json!({"aud": "store", "azp": "forums"}),
    ];
    for claims in bad {
        let answer = with_token(&world, world.provider.mint("ada", "store", &claims)).await;
        assert_eq!(answer.status(), 401, "{claims}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorized_parties_can_be_named() {
    let world = World::with("[apps.store]\nauthorized_parties = [\"store\", \"mobile\"]").await;
    let mint = |azp: &str| world.provider.mint("ada", "store", &json!({"azp": azp}));
    with_token(&world, mint("mobile")).await.assert_status(200);
    with_token(&world, mint("forums")).await.assert_problem(401, "not_logged_in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_a_jwt_cannot_talk_the_gateway_into_anything() {
    let world = World::start().await;
    let claims = json!({"iss": world.provider.issuer(), "sub": "id-of-ada", "aud": "store", "azp": "store",
        "iat": world.provider_now(), "exp": world.provider_now() + 300})
    .to_string();
    let header = |changes: Value| {
        let mut header = json!({"alg": "RS256", "typ": "JWT", "kid": "rsa-1"});
        for (name, value) in changes.as_object().unwrap() {
            header[name] = value.clone();
        }
        header.to_string()
    };
    with_token(&world, Key::Rsa.sign_raw(&header(json!({"typ": "at+jwt"})), &claims))
        .await
        .assert_status(200);
    let wrong = [
        json!({"alg": "none"}),
        json!({"alg": "HS256"}),
        json!({"alg": "RS512"}),
        json!({"alg": "ES256"}),
        json!({"crit": ["exp"]}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"typ": "logout+jwt"}),
        json!({"typ": "dpop+jwt"}),
        json!({"kid": "ec-1"}),
        json!({"kid": "../../rsa-1"}),
        json!({"kid": 1}),
    ];
    for changes in wrong {
        let answer = with_token(&world, Key::Rsa.sign_raw(&header(changes.clone()), &claims)).await;
        assert_eq!(answer.status(), 401, "{changes}: {}", answer.text());
    }
    // A key that comes with the token, or from where the token says, is an attacker's.
    let stranger = Key::Stranger.jwk();
    let carried = header(json!({"jwk": stranger, "jku": format!("{}/other-jwks", world.provider.issuer())}));
    with_token(&world, Key::Stranger.sign_raw(&carried, &claims)).await.assert_problem(401, "not_logged_in");
    assert_eq!(world.provider.count(Endpoint::Other), 0, "no connection goes out because of a token");

    let unsigned = format!("{}.{}.", base64url(header(json!({"alg": "none"}))), base64url(&claims));
    with_token(&world, unsigned).await.assert_problem(401, "not_logged_in");
    assert_eq!(world.store.heads(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tampered_and_ambiguous_tokens_are_no_session() {
    let world = World::start().await;
    let token = world.provider.mint("ada", "store", &json!({}));
    with_token(&world, token.clone()).await.assert_status(200);
    let parts: Vec<_> = token.split('.').collect();
    let other = world.provider.mint("eve", "store", &json!({}));
    let other: Vec<_> = other.split('.').collect();
    let now = world.provider_now();
    let twice = format!(
        r#"{{"iss":"{}","sub":"id-of-ada","sub":"id-of-root","aud":"store","azp":"store","exp":{}}}"#,
        world.provider.issuer(),
        now + 300
    );
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": "rsa-1"}).to_string();
    for forged in [
        format!("{}.{}.{}", parts[0], other[1], parts[2]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{token}."),
        format!("{token}="),
        format!("{token}A"),
        format!(".{token}"),
        Key::Rsa.sign_raw(&header, &twice),
        Key::Rsa.sign_raw(&header, "[]"),
        Key::Rsa.sign_raw(&header, "not JSON"),
        "a".repeat(3000),
        ".".repeat(3000),
    ] {
        let answer = with_token(&world, forged.clone()).await;
        assert_eq!(answer.status(), 401, "{forged}: {}", answer.text());
    }
    // The verified one is remembered by its whole text only.
    with_token(&world, token).await.assert_status(200);
    assert_eq!(world.store.heads(), 2);
}
