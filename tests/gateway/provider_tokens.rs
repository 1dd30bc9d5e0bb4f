//! Tokens and keys as real providers make them: the names of the claim for the client, notations of keys, encrypted and
//! opaque tokens, access tokens that are built like ID tokens.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::gateway::ACCESS;
use crate::support::program::Program;
use crate::support::{Answer, Browser, Endpoint, Fault, Key, World};

async fn at_store(world: &World, token: String) -> Answer {
    let mut browser = world.browser();
    browser.jar.insert(ACCESS.into(), token);
    browser.get("/api/cart").await
}

async fn at_forums(world: &World, token: String) -> Answer {
    let mut browser = world.forums_browser();
    browser.jar.insert(ACCESS.into(), token);
    browser.get("/api/cart").await
}

/// Two apps that share one audience, as with an authorization server of Okta.
async fn one_audience_for_two_apps() -> World {
    World::with("[apps.store]\naudience = 'api://default'\n[apps.forums]\naudience = 'api://default'").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_audience_for_two_apps_every_claim_that_names_the_client_tells_them_apart() {
    let world = one_audience_for_two_apps().await;
    let entra = json!({"ver": "1.0", "tid": "11111111-2222-3333-4444-555555555555"});
    let adfs = json!({"ver": "1.0", "apptype": "Confidential"});
    for (claim, marks) in
        [("azp", json!({})), ("client_id", json!({})), ("cid", json!({})), ("appid", entra), ("appid", adfs)]
    {
        let mint = |client: &str| {
            let mut claims = json!({"aud": "api://default", "azp": null});
            claims[claim] = json!(client);
            for (name, value) in marks.as_object().unwrap() {
                claims[name] = value.clone();
            }
            world.provider.mint("ada", client, &claims)
        };
        at_store(&world, mint("store")).await.assert_status(200);
        at_forums(&world, mint("forums")).await.assert_status(200);
        let answer = at_forums(&world, mint("store")).await;
        assert_eq!(answer.status(), 401, "{claim}: the store's token opens the forums");
        assert_eq!(at_store(&world, mint("forums")).await.status(), 401, "{claim}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_audience_the_claim_that_names_the_client_suffices_whatever_its_name() {
    let world = World::builder().await.without("apps.store.audience").start().await;
    for (claims, status) in [
        (json!({"cid": "store"}), 200),
        (json!({"cid": "forums"}), 401),
        (json!({"appid": "store", "ver": "1.0", "tid": "t"}), 200),
        // Of nobody's known kind, it may be the name of anything.
        (json!({"appid": "store"}), 401),
    ] {
        let mut changes = json!({"aud": "api://default", "azp": null});
        changes.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let answer = at_store(&world, world.provider.mint("ada", "store", &changes)).await;
        assert_eq!(answer.status(), status, "{claims}");
    }
}

/// `null` takes a member away.
fn changed(key: Key, changes: &Value) -> Value {
    let mut jwk = key.jwk();
    for (member, value) in changes.as_object().unwrap() {
        if value.is_null() {
            jwk.as_object_mut().unwrap().remove(member);
        } else {
            jwk[member] = value.clone();
        }
    }
    jwk
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_in_the_notations_of_real_providers_verify() {
    type Encode = fn(&[u8]) -> String;
    let encodings: [(&str, Encode); 5] = [
        ("base64 in lines, as mail has it", |bytes| {
            let text = STANDARD.encode(bytes);
            text.as_bytes().chunks(76).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\r\n")
        }),
        ("base64url with padding", |bytes| URL_SAFE.encode(bytes)),
        ("base64", |bytes| STANDARD.encode(bytes)),
        ("base64 without padding", |bytes| STANDARD_NO_PAD.encode(bytes)),
        ("a leading zero octet", |bytes| URL_SAFE.encode([&[0], bytes].concat())),
    ];
    let member = |jwk: &Value, name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    for (key, members) in [(Key::Rsa, &["n", "e"][..]), (Key::Ec, &["x", "y"]), (Key::Ed, &["x"])] {
        for (name, encode) in encodings {
            // RFC 8032: these are octets, not a number.
            if key == Key::Ed && name == "a leading zero octet" {
                continue;
            }
            let mut jwk = key.jwk();
            for part in members {
                jwk[part] = json!(encode(&member(&key.jwk(), part)));
            }
            let builder = World::builder().await;
            builder.provider.set(|settings| settings.key = key);
            let jwks = json!({ "keys": [jwk] }).to_string();
            builder.provider.fail(Endpoint::Jwks, Fault::status(200, &jwks));
            let world = builder.start().await;
            let mut browser = world.browser();
            let answer = browser.try_log_in("ada", "correct horse").await;
            assert_eq!(answer.status(), 200, "{key:?}, {name}: {}", answer.text());
            browser.get("/api/cart").await.assert_status(200);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ed25519_is_eddsa_in_keys_in_tokens_and_in_the_configuration() {
    let names = ["EdDSA", "Ed25519"];
    for of_key in [json!("EdDSA"), json!("Ed25519"), Value::Null] {
        for configured in names {
            let builder = World::builder().await;
            let jwks = json!({ "keys": [changed(Key::Ed, &json!({ "alg": of_key }))] }).to_string();
            builder.provider.fail(Endpoint::Jwks, Fault::status(200, &jwks));
            let toml = format!("[identity_providers.main]\nalgorithms = ['{configured}']");
            let world = builder.lay_over(&toml).start().await;
            for of_token in names {
                let mut claims = json!({"iss": world.provider.issuer(), "sub": "a", "aud": "store"});
                claims["exp"] = json!(world.provider_now() + 300);
                let header = json!({"alg": of_token, "typ": "JWT", "kid": "ed-1"});
                let token = Key::Ed.sign_raw(&header.to_string(), &claims.to_string());
                let status = at_store(&world, token).await.status();
                assert_eq!(status, 200, "{of_key} {configured} {of_token}");
                // Another curve's name is another algorithm.
                let header = json!({"alg": "Ed448", "typ": "JWT", "kid": "ed-1"});
                let token = Key::Ed.sign_raw(&header.to_string(), &claims.to_string());
                assert_eq!(at_store(&world, token).await.status(), 401);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_token_that_is_built_like_an_id_token_is_taken_where_the_provider_is_said_to_do_so() {
    let as_id_token = json!({"at_hash": "J2zAmrhFCsN9RhVIfKjFfg", "nonce": "n", "azp": null});
    let world = World::start().await;
    world.provider.set(|settings| settings.claims = as_id_token.clone());
    world.browser().try_log_in("ada", "correct horse").await.assert_status(503);

    let world = World::with("[identity_providers.main]\naccess_token_is_id_token = true").await;
    world.provider.set(|settings| settings.claims = as_id_token);
    let mut browser = world.logged_in("ada").await;
    browser.get("/api/cart").await.assert_status(200);
    world.expire_access_tokens();
    browser.get("/api/cart").await.assert_status(200);
    // It is a hint of one kind, and lets no other kind in.
    for other in [
        json!({"typ": "ID"}),
        json!({"typ": "Refresh"}),
        json!({"typ": "Offline"}),
        json!({"typ": "Logout"}),
        json!({"token_use": "id"}),
        json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
        json!({"aud": "forums"}),
        json!({"azp": "forums"}),
    ] {
        let answer = at_store(&world, world.provider.mint("ada", "store", &other)).await;
        assert_eq!(answer.status(), 401, "{other}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_what_kind_of_token_a_provider_gave_and_what_to_do() {
    let (program, builder) = Program::start_quietly(World::builder().await).await;
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(json!({"alg": "RSA-OAEP-256", "enc": "A256GCM", "cty": "JWT", "kid": "enc-1"}));
    // As Auth0 answers without an audience: no encrypted key, which is the secret shared with itself.
    let direct = part(json!({"alg": "dir", "enc": "A256GCM", "iss": "https://tenant.auth0.example/"}));
    let claims = |changes: Value| builder.provider.mint("ada", "store", &changes);
    for (token, words) in [
        (
            format!("{header}.a2V5.aXY.Y2lwaGVy.dGFn"),
            "it is encrypted (JWE): configure the provider to sign it only",
        ),
        (
            format!("{direct}..aXY.Y2lwaGVy.dGFn"),
            "it is encrypted (JWE): configure the provider to sign it only",
        ),
        (String::from("2YotnFZFEjr1zCsicMWpAA"), "it is opaque, not a JWT"),
        (String::from("ory_at_yq8YiBvYyVz.K9-bvJ2pJw"), "it is opaque, not a JWT"),
        (claims(json!({"at_hash": "x"})), "`access_token_is_id_token = true`"),
        (claims(json!({"c_hash": "x"})), "`access_token_is_id_token = true`"),
        (claims(json!({"azp": null, "cid": "forums"})), "`cid` names another client"),
        (claims(json!({"azp": "forums"})), "`azp` names another client"),
        (claims(json!({"client_id": "forums"})), "`client_id` names another client"),
    ] {
        builder.provider.set(|settings| settings.access_token = Some(token));
        let mut browser = Browser::new(program.address, "store.localhost");
        browser.try_log_in("ada", "correct horse").await.assert_status(503);
        program.logged(&["the provider's JWT was refused at login", words]).await;
    }
}
