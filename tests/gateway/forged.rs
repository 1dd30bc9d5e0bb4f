//! None of dozens of forged tokens is a session. All of them together cause only one call to the provider, for keys.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::support::gateway::ACCESS;
use crate::support::keys::base64url;
use crate::support::{Endpoint, Key, Request, World};

const EVERY_ENDPOINT: [Endpoint; 6] = [
    Endpoint::Discovery,
    Endpoint::Jwks,
    Endpoint::Login,
    Endpoint::Refresh,
    Endpoint::Revoke,
    Endpoint::Other,
];

/// One object over another; `null` removes.
fn changed(mut base: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(base.as_object_mut().unwrap().remove(name)),
            value => base[name] = value.clone(),
        }
    }
    base
}

fn hs256(secret: &[u8], message: &str) -> String {
    base64url(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes()))
}

/// By what is wrong with the header, all signed with the right key.
fn headers(world: &World) -> Vec<Value> {
    let issuer = world.provider.issuer();
    vec![
        json!({"alg": "none"}),
        json!({"alg": "None"}),
        json!({"alg": "HS256"}),
        json!({"alg": "HS512"}),
        json!({"alg": "RS384"}),
        json!({"alg": "PS256"}),
        json!({"alg": "ES256"}),
        json!({"alg": "ES256K"}),
        json!({"alg": "rs256"}),
        json!({"alg": ["RS256"]}),
        json!({"alg": null}),
        json!({"crit": ["exp"]}),
        json!({"crit": []}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"b64": false}),
        json!({"typ": "logout+jwt"}),
        json!({"typ": "id_token"}),
        json!({"typ": "secevent+jwt"}),
        json!({"typ": 1}),
        json!({"kid": "ec-1"}),
        json!({"kid": "../../rsa-1"}),
        json!({"kid": "/dev/null"}),
        json!({"kid": "rsa-1' OR '1'='1"}),
        json!({"kid": format!("{issuer}/jwks#rsa-1")}),
        json!({"kid": 1}),
        json!({"kid": ["rsa-1"]}),
    ]
}

/// By what is wrong with the claims, all signed with the right key.
fn claims(now: u64) -> Vec<Value> {
    vec![
        json!({"iss": "https://evil.example"}),
        json!({"iss": ["https://evil.example"]}),
        json!({"aud": "forums", "azp": null}),
        json!({"aud": ["forums"]}),
        json!({"aud": 1}),
        json!({"azp": "forums"}),
        json!({"client_id": "forums"}),
        json!({"sub": ""}),
        json!({"sub": null}),
        json!({"sub": ["id-of-ada"]}),
        json!({"exp": now - 6}),
        json!({"exp": null}),
        json!({"exp": "9999999999"}),
        json!({"exp": 1e18}),
        json!({"exp": -1}),
        json!({"exp": true}),
        json!({"nbf": now + 60}),
        json!({"iat": now + 60}),
        json!({"iat": "now"}),
        json!({"typ": "ID"}),
        json!({"typ": "Refresh"}),
        json!({"token_use": "id"}),
        json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
        json!({"email": "a\r\nX-Auth-Roles: admin"}),
        json!({"email": "a\u{0}"}),
        json!({"email": " ada@example.com"}),
    ]
}

fn all(world: &World) -> Vec<String> {
    let good_header = json!({"alg": "RS256", "typ": "JWT", "kid": "rsa-1"});
    let now = world.provider_now();
    let good_claims = json!({"iss": world.provider.issuer(), "sub": "id-of-ada", "aud": "store", "azp": "store",
        "iat": now, "exp": now + 300, "email": "ada@example.com", "roles": ["admin"]});
    let sign = |header: &Value, claims: &Value| Key::Rsa.sign_raw(&header.to_string(), &claims.to_string());
    let mut forged: Vec<String> = headers(world)
        .iter()
        .map(|changes| sign(&changed(good_header.clone(), changes), &good_claims))
        .collect();
    let wrong_claims = claims(now);
    forged.extend(
        wrong_claims.iter().map(|changes| sign(&good_header, &changed(good_claims.clone(), changes))),
    );

    // Keys of the attacker's, however they are brought.
    let stranger = |changes: &Value| {
        let header = changed(good_header.clone(), changes).to_string();
        Key::Stranger.sign_raw(&header, &good_claims.to_string())
    };
    let elsewhere = format!("{}/other", world.provider.issuer());
    forged.extend([
        stranger(&json!({})),
        stranger(&json!({"kid": null})),
        stranger(&json!({"kid": "stranger"})),
        stranger(&json!({"jwk": Key::Stranger.jwk()})),
        stranger(&json!({"jku": elsewhere, "kid": "stranger"})),
        stranger(&json!({"x5u": elsewhere})),
        stranger(&json!({"x5c": ["MIIB"]})),
    ]);
    // The public key, or nothing, as the secret of an HMAC.
    let header = base64url(json!({"alg": "HS256", "typ": "JWT", "kid": "rsa-1"}).to_string());
    let message = format!("{header}.{}", base64url(good_claims.to_string()));
    for secret in [&b""[..], Key::Rsa.jwk()["n"].as_str().unwrap().as_bytes(), b"store-secret"] {
        forged.push(format!("{message}.{}", hs256(secret, &message)));
    }
    // Texts that are cut, stretched or ambiguous.
    let good = sign(&good_header, &good_claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let twice = good_claims.to_string().replacen('{', r#"{"sub":"id-of-root","#, 1);
    forged.extend([
        message.to_owned(),
        format!("{message}."),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{good}="),
        format!("{good}%00"),
        format!("%20{good}"),
        format!("Bearer%20{good}"),
        Key::Rsa.sign_raw(&good_header.to_string(), &twice),
        Key::Rsa.sign_raw(&good_header.to_string(), &format!("{good_claims} ")).replace('.', ".."),
        "x".repeat(17_000),
    ]);
    forged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_forged_token_is_refused_and_none_causes_more_than_one_fetch_of_keys() {
    let world = World::with("[identity_providers.main]\njwks_cooldown = \"10m\"").await;
    let tokens = all(&world);
    assert!(tokens.len() >= 70, "{}", tokens.len());
    let calls = || EVERY_ENDPOINT.map(|endpoint| world.provider.count(endpoint));
    let before = calls();
    for token in &tokens {
        let mut browser = world.browser();
        browser.jar.insert(ACCESS.into(), token.clone());
        let shown: String = token.chars().take(300).collect();
        let answer = browser.get("/api/admin/users").await;
        assert_eq!(answer.status(), 401, "{shown}: {}", answer.text());
        answer.assert_problem(401, "not_logged_in");
        assert_eq!(browser.get("/api/user").await.status(), 404, "{shown}");
        let anonymous = browser.send(Request::get("/either/page")).await;
        assert_eq!(anonymous.seen_by_app("x-auth-user"), None, "{shown}");
    }
    let mut most = before;
    most[1] += 1;
    let after = calls();
    assert!(after == before || after == most, "{before:?}, then {after:?}");
    // The real one, in the same world.
    let mut browser = world.browser();
    browser.jar.insert(ACCESS.into(), world.provider.mint("root", "store", &json!({})));
    browser.get("/api/admin/users").await.assert_status(200);
}
