//! The provider's signing key, made at the start: it signs the JWTs, and the JWKS shows its public half.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::DemoError;

/// An ES256 key pair.
pub(crate) struct SigningKey {
    key: EncodingKey,
    key_id: String,
    jwks: Value,
}

impl SigningKey {
    pub(crate) fn generate() -> Result<Self, DemoError> {
        let key_failed = |_| DemoError::Key;
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(key_failed)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(key_failed)?;
        // An uncompressed point (SEC 1 section 2.3.3): 4, x, y.
        let (x, y) = pair
            .public_key()
            .as_ref()
            .get(1..65)
            .ok_or(DemoError::Key)?
            .split_at_checked(32)
            .ok_or(DemoError::Key)?;
        let key_id = random_text(6)?;
        let jwks = json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": key_id,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]});
        Ok(Self { key: EncodingKey::from_ec_der(pkcs8.as_ref()), key_id, jwks })
    }

    /// The JWKS (RFC 7517 section 5).
    pub(crate) fn jwks(&self) -> &Value {
        &self.jwks
    }

    /// A JWT with these claims (RFC 9068).
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, DemoError> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|_| DemoError::Key)
    }
}

/// `bytes` random bytes as base64url text.
pub(crate) fn random_text(bytes: usize) -> Result<String, DemoError> {
    let mut random = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| DemoError::Key)?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}
