//! Keys made at start, the tokens that they sign, and the JWKS that verifies them.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// `client_id` and `aud`.
pub(crate) const CLIENT_ID: &str = "store";

const KEY_ID: &str = "key-of-the-benchmark";

/// Any error ends the run.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Signs access tokens.
pub(crate) struct Issuer {
    key: Key,
}

enum Key {
    Rs256(RsaKeyPair),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Issuer {
    /// With a new key: `ES256` (ECDSA on P-256), `EdDSA` (Ed25519), or else `RS256` (RSA of 2048 bits).
    pub(crate) fn new(algorithm: &str) -> Result<Self, Error> {
        let key = match algorithm {
            "ES256" => Key::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
            "EdDSA" => Key::EdDsa(Ed25519KeyPair::generate()?),
            _ => Key::Rs256(RsaKeyPair::generate(KeySize::Rsa2048)?),
        };
        Ok(Self { key })
    }

    /// The key set (RFC 7517).
    pub(crate) fn jwks(&self) -> Result<Value, Error> {
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let key = match &self.key {
            Key::Rs256(key) => {
                // SubjectPublicKeyInfo ends in the modulus (256 bytes) and the exponent 65537 (tag, length, 3 bytes).
                let der = key.public_key().as_der()?;
                let end = der.as_ref().len().saturating_sub(5);
                let modulus =
                    der.as_ref().get(end.saturating_sub(256)..end).ok_or("not a 2048-bit RSA key")?;
                json!({"kid": KEY_ID, "kty": "RSA", "n": base64(modulus), "e": "AQAB"})
            }
            Key::Es256(key) => {
                // An uncompressed point: 4, x, y.
                let (x, y) = key.public_key().as_ref().get(1..).ok_or("no point")?.split_at(32);
                json!({"kid": KEY_ID, "kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y)})
            }
            Key::EdDsa(key) => {
                json!({"kid": KEY_ID, "kty": "OKP", "crv": "Ed25519", "x": base64(key.public_key().as_ref())})
            }
        };
        Ok(json!({"keys": [key]}))
    }

    /// An access token of about 1,000 bytes, as Keycloak makes them, valid from `now` for a day.
    pub(crate) fn token(&self, issuer: &str, subject: &str, now: u64) -> Result<String, Error> {
        let header = json!({"alg": self.algorithm(), "typ": "JWT", "kid": KEY_ID});
        let claims = json!({
            "iss": issuer,
            "sub": subject,
            "aud": [CLIENT_ID, "account"],
            "azp": CLIENT_ID,
            "exp": now + 86_400,
            "iat": now,
            "jti": format!("onrtac:1e1f2d3c-4b5a-6978-8796-{subject}"),
            "typ": "Bearer",
            "sid": "b6b0a1ce-8a4f-4dd4-9fd5-0f4f5c1a0d9e",
            "acr": "1",
            "scope": "openid email profile offline_access",
            "email": format!("{subject}@example.com"),
            "email_verified": true,
            "name": "A. User Of The Benchmark",
            "preferred_username": subject,
            "roles": ["customer", "reviewer", "newsletter"],
        });
        let base64 = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", base64(&header), base64(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes())?);
        Ok(format!("{message}.{signature}"))
    }

    const fn algorithm(&self) -> &'static str {
        match self.key {
            Key::Rs256(_) => "RS256",
            Key::Es256(_) => "ES256",
            Key::EdDsa(_) => "EdDSA",
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                Ok(signature)
            }
            Key::Es256(key) => Ok(key.sign(&random, message)?.as_ref().to_vec()),
            Key::EdDsa(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}
