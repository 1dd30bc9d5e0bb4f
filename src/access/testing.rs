//! Shared test data: keys that are made once, and tokens of any shape that are signed with them.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::access::decision::AppRules;
use crate::access::key_set::KeySet;
use crate::access::numbers::testing::PROVIDER;
use crate::access::token::TokenRules;
use crate::config;

/// The time of the tests.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) const ISSUER: &str = "https://id.example.com";

pub(crate) struct Keys {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    stranger: Ed25519KeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: rsa::KeyPair::generate(KeySize::Rsa2048).unwrap(),
    p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
    ed: Ed25519KeyPair::generate().unwrap(),
    stranger: Ed25519KeyPair::generate().unwrap(),
});

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns the public half of a key, with its name as `kid`: `rsa`, `p256`, `p384`, `ed` or `stranger`.
pub(crate) fn jwk(name: &str) -> Value {
    let ec = |curve: &str, key: &EcdsaKeyPair| {
        let point = &key.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y), "kid": name})
    };
    let okp = |key: &Ed25519KeyPair| json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(key.public_key()), "kid": name});
    match name {
        "rsa" => {
            let public = KEYS.rsa.public_key();
            let n = base64url(public.modulus().big_endian_without_leading_zero());
            let e = base64url(public.exponent().big_endian_without_leading_zero());
            json!({"kty": "RSA", "n": n, "e": e, "kid": name})
        }
        "p256" => ec("P-256", &KEYS.p256),
        "p384" => ec("P-384", &KEYS.p384),
        "ed" => okp(&KEYS.ed),
        _ => okp(&KEYS.stranger),
    }
}

/// Returns a JWKS with these keys.
pub(crate) fn jwks(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

/// Returns a key set with usable keys for RSA, P-256, P-384 and Ed25519.
pub(crate) fn key_set() -> KeySet {
    let keys = ["rsa", "p256", "p384", "ed"].map(jwk);
    KeySet::from_jwks(&jwks(&keys), &[Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA])
        .unwrap()
}

/// Signs a message. `algorithm` is as in `alg`, or `EdDSA by a stranger`, or `HS256` with a secret after a blank.
pub(crate) fn sign(algorithm: &str, message: &[u8]) -> Vec<u8> {
    let rsa = |encoding: &'static dyn RsaEncoding| {
        let mut signature = vec![0; KEYS.rsa.public_modulus_len()];
        KEYS.rsa.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    let ec = |key: &EcdsaKeyPair| key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
    match algorithm {
        "RS256" => rsa(&RSA_PKCS1_SHA256),
        "RS384" => rsa(&RSA_PKCS1_SHA384),
        "PS256" => rsa(&RSA_PSS_SHA256),
        "ES256" => ec(&KEYS.p256),
        "ES384" => ec(&KEYS.p384),
        "EdDSA" => KEYS.ed.sign(message).as_ref().to_vec(),
        "EdDSA by a stranger" => KEYS.stranger.sign(message).as_ref().to_vec(),
        other => {
            let secret = other.strip_prefix("HS256 ").unwrap();
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message).as_ref().to_vec()
        }
    }
}

/// Signs two texts as the header and the payload of a token.
pub(crate) fn mint_raw(algorithm: &str, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    let message = format!("{}.{}", base64url(header), base64url(payload));
    let signature = base64url(sign(algorithm, message.as_bytes()));
    format!("{message}.{signature}")
}

/// Returns a token that is signed with Ed25519.
pub(crate) fn mint(claims: &Value) -> String {
    mint_raw("EdDSA", r#"{"alg":"EdDSA","kid":"ed","typ":"JWT"}"#, claims.to_string())
}

/// Returns the claims of a valid token with changes. `null` removes a claim.
pub(crate) fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "sub": "alice", "aud": "store", "azp": "store", "iat": NOW - 60, "exp": NOW + 300,
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

pub(crate) fn token_rules() -> TokenRules {
    TokenRules {
        provider: PROVIDER,
        issuer: ISSUER.into(),
        client_id: "store".into(),
        audience: vec![],
        authorized_parties: vec!["store".into()],
        algorithms: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
        leeway: 5,
        access_token_is_id_token: false,
    }
}

/// Returns the rules of the provider [`PROVIDER`], for marks that tests make by hand.
pub(crate) fn of_test_provider(mut rules: AppRules) -> AppRules {
    (rules.token.provider, rules.session.provider) = (PROVIDER, PROVIDER);
    rules
}

/// Returns the rules of the only app of a configuration. `settings` are lines of `[apps.store]`.
pub(crate) fn app_rules(settings: &str) -> AppRules {
    app_rules_in("", settings)
}

/// Returns the rules of the only app of a configuration. `tables` are other tables, such as `[session]`.
pub(crate) fn app_rules_in(tables: &str, settings: &str) -> AppRules {
    let text = format!(
        "{tables}\n[identity_providers.main]\nissuer = '{ISSUER}'\n[apps.store]\nhosts = ['store.example.com']\n\
         upstreams = ['http://127.0.0.1:3000']\nclient_id = 'store'\nclient_secret = 's'\n{settings}\n"
    );
    let config = config::parse(&text).unwrap().config;
    of_test_provider(AppRules::new(&config.apps[0], &config.identity_providers[0], &config.session))
}
