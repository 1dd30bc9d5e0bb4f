//! Tokens by fixed keys, in any shape, and what is to be thought of them.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::json::has_duplicate_names;

/// `iss` of a good token.
pub const ISSUER: &str = "https://id.example.com";

/// Seconds of clock skew that the rules tolerate.
pub const LEEWAY: u64 = 5;

/// Seconds by which `iat` may be in the future.
pub const ISSUED_AHEAD: u64 = 30;

/// The signer of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, arbitrary::Arbitrary)]
pub enum Signer {
    /// The provider, with Ed25519, key `ed`.
    Ed25519,
    /// The provider, with ECDSA on P-256, key `p256`.
    P256,
    /// Somebody else, who names the provider's key.
    Stranger,
    /// Somebody who takes the provider's public key for the secret of an HMAC.
    Hmac,
    /// Nobody: the signature is empty.
    Nobody,
}

impl Signer {
    /// By the name that the targets' inputs use.
    pub fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"ed" => Self::Ed25519,
            b"p256" => Self::P256,
            b"stranger" => Self::Stranger,
            b"hmac" => Self::Hmac,
            b"nobody" => Self::Nobody,
            _ => return None,
        })
    }

    /// Returns whether the provider signs so.
    pub fn is_provider(self) -> bool {
        matches!(self, Self::Ed25519 | Self::P256)
    }

    /// The header that goes with it.
    pub fn header(self) -> &'static str {
        match self {
            Self::Ed25519 | Self::Stranger => r#"{"alg":"EdDSA","kid":"ed","typ":"JWT"}"#,
            Self::P256 => r#"{"alg":"ES256","kid":"p256","typ":"JWT"}"#,
            Self::Hmac => r#"{"alg":"HS256","kid":"ed","typ":"JWT"}"#,
            Self::Nobody => r#"{"alg":"none","kid":"ed","typ":"JWT"}"#,
        }
    }
}

struct Keys {
    ed: Ed25519KeyPair,
    p256: EcdsaKeyPair,
    stranger: Ed25519KeyPair,
}

/// Ed25519 keys are the same in each run, so that a whole token can be kept in a corpus.
static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    ed: Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key"),
    p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
    stranger: Ed25519KeyPair::from_seed_unchecked(&[2; 32]).expect("a key"),
});

/// The provider's JWKS, with the keys of these signers.
pub fn jwks(signers: &[Signer]) -> Vec<u8> {
    let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let keys = signers.iter().map(|signer| match signer {
        Signer::P256 => {
            let (x, y) = KEYS.p256.public_key().as_ref()[1..].split_at(32);
            json!({"kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y), "kid": "p256"})
        }
        _ => json!({"kty": "OKP", "crv": "Ed25519", "x": base64(KEYS.ed.public_key().as_ref()), "kid": "ed"}),
    });
    json!({ "keys": keys.collect::<Vec<_>>() }).to_string().into_bytes()
}

/// Signs two texts that are to be header and payload.
pub fn mint(signer: Signer, header: &[u8], payload: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let bytes = message.as_bytes();
    let signature = match signer {
        Signer::Ed25519 => KEYS.ed.sign(bytes).as_ref().to_vec(),
        Signer::P256 => KEYS.p256.sign(&SystemRandom::new(), bytes).expect("a signature").as_ref().to_vec(),
        Signer::Stranger => KEYS.stranger.sign(bytes).as_ref().to_vec(),
        Signer::Hmac => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, KEYS.ed.public_key().as_ref());
            hmac::sign(&key, bytes).as_ref().to_vec()
        }
        Signer::Nobody => Vec::new(),
    };
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The claims of a good token of a client.
pub fn claims(client: &str, subject: &str, issued_at: u64, expires_at: u64) -> Value {
    json!({"iss": ISSUER, "sub": subject, "aud": client, "azp": client, "iat": issued_at, "exp": expires_at})
}

/// Returns the claims of a token of the provider.
#[derive(Debug)]
pub struct Read {
    /// Its header.
    pub header: Value,
    /// Its claims.
    pub claims: Value,
}

/// Reads a token that the provider signed, with the algorithm and the key that its header names; no other has a
/// reading.
pub fn read_signed(token: &str) -> Option<Read> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { return None };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let (header, payload_json, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
    if has_duplicate_names(&header) || has_duplicate_names(&payload_json) {
        return None;
    }
    let header: Value = serde_json::from_slice(&header).ok()?;
    let claims: Value = serde_json::from_slice(&payload_json).ok()?;
    let message = &token[..token.rfind('.')?];
    let has_key_id = |id: &str| header.get("kid").is_none_or(|value| value == id);
    let is_signed = match header.get("alg")?.as_str()? {
        "EdDSA" if has_key_id("ed") => UnparsedPublicKey::new(&ED25519, KEYS.ed.public_key().as_ref())
            .verify(message.as_bytes(), &signature),
        "ES256" if has_key_id("p256") => {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, KEYS.p256.public_key().as_ref())
                .verify(message.as_bytes(), &signature)
        }
        _ => return None,
    };
    (is_signed.is_ok() && header.is_object() && claims.is_object()).then_some(Read { header, claims })
}

impl Read {
    /// Returns why a gateway must not take it for an access token of this client, whatever the time of its expiry.
    /// If `audience` is empty, the client's id in `aud`, or in a claim that names the client, suffices.
    pub fn objection(&self, client: &str, audience: &[&str], now: u64) -> Option<&'static str> {
        let Self { header, claims } = self;
        if header.get("crit").is_some() || header.get("b64").is_some() {
            return Some("it needs an extension");
        }
        let types = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];
        if header.get("typ").is_some_and(|typ| {
            !typ.as_str().is_some_and(|typ| types.contains(&typ.to_ascii_lowercase().as_str()))
        }) {
            return Some("it is of another type");
        }
        if ["events", "at_hash", "c_hash"].iter().any(|name| claims.get(name).is_some()) {
            return Some("it is an ID token or a logout token");
        }
        if claims.get("iss").and_then(Value::as_str) != Some(ISSUER) {
            return Some("it is of another issuer");
        }
        if claims.get("sub").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Some("it is about nobody");
        }
        let is_party = |name: &str| claims.get(name).is_some_and(|party| party == client);
        // `appid` counts only in tokens of Microsoft, which these are not.
        let parties = ["azp", "client_id", "cid"];
        if parties.iter().any(|name| claims.get(name).is_some() && !is_party(name)) {
            return Some("it was made for another client");
        }
        let wanted = if audience.is_empty() { &[client][..] } else { audience };
        let in_audience = match claims.get("aud") {
            Some(Value::String(one)) => wanted.contains(&one.as_str()),
            Some(Value::Array(several)) => several.iter().any(|one| wanted.iter().any(|name| one == name)),
            _ => false,
        };
        let names_the_client = audience.is_empty() && parties.into_iter().any(is_party);
        if !in_audience && !names_the_client {
            return Some("it was made for another audience");
        }
        for (name, ahead) in [("iat", ISSUED_AHEAD), ("nbf", LEEWAY)] {
            let latest = now.saturating_add(ahead);
            let is_fine = |date: &Value| seconds(date).is_some_and(|at| at <= latest);
            if claims.get(name).is_some_and(|date| !is_fine(date)) {
                return Some("it is not valid yet");
            }
        }
        claims.get("exp").and_then(seconds).is_none().then_some("it never expires")
    }

    /// `exp`, in whole seconds.
    pub fn expires_at(&self) -> Option<u64> {
        self.claims.get("exp").and_then(seconds)
    }
}

/// A date of a claim, until the end of the year 9999.
pub fn seconds(date: &Value) -> Option<u64> {
    let seconds = date.as_f64().filter(|seconds| (0.0..=253_402_300_799.0).contains(seconds))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the bounds")]
    Some(seconds.trunc() as u64)
}
