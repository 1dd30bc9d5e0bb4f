//! The keys that verify signatures: a provider's JWKS (RFC 7517), or an HMAC secret set on purpose.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// One key.
pub struct VerificationKey {
    id: Option<String>,
    algorithms: &'static [Algorithm],
    key: DecodingKey,
}

impl std::fmt::Debug for VerificationKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("VerificationKey")
            .field("id", &self.id)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

impl VerificationKey {
    /// The key itself.
    pub fn decoding_key(&self) -> &DecodingKey {
        &self.key
    }

    /// Its `kid`, where it has one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

/// Every key whose signatures are accepted.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<VerificationKey>,
}

/// Why a text is no usable JWKS.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeySetError {
    /// Not JSON, or without a `keys` array.
    #[error("not a JWK set: {0}")]
    Malformed(String),
    /// No key in it can verify a signature of an accepted algorithm.
    #[error("no usable signature key among {0} keys")]
    NoUsableKey(usize),
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a JWKS. A key that is for encryption, of an unknown type, or for no algorithm of `accepted`, is left
    /// out: providers list such keys beside the useful ones.
    pub fn from_jwks(json: &[u8], accepted: &[Algorithm]) -> Result<Self, KeySetError> {
        let document: Document =
            serde_json::from_slice(json).map_err(|error| KeySetError::Malformed(error.to_string()))?;
        let total = document.keys.len();
        let keys: Vec<_> = document.keys.into_iter().filter_map(|jwk| usable(jwk, accepted)).collect();
        if keys.is_empty() { Err(KeySetError::NoUsableKey(total)) } else { Ok(Self { keys }) }
    }

    /// A set of one HMAC secret, which no JWKS ever publishes.
    pub fn from_hmac_secret(secret: &[u8]) -> Self {
        let key = VerificationKey { id: None, algorithms: HMAC, key: DecodingKey::from_secret(secret) };
        Self { keys: vec![key] }
    }

    /// The keys that may have made a signature of `algorithm`. With a `key_id` only the keys of that id and those
    /// without any; a key id is an opaque string.
    pub fn candidates<'a>(
        &'a self,
        key_id: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a VerificationKey> {
        self.keys.iter().filter(move |key| {
            key.algorithms.contains(&algorithm)
                && match (key_id, key.id()) {
                    (Some(wanted), Some(id)) => wanted == id,
                    _ => true,
                }
        })
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key (yet).
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The algorithms that a key may be used with: by its type and curve (RFC 8725 section 3.1), narrowed by its `alg`.
fn usable(jwk: serde_json::Value, accepted: &[Algorithm]) -> Option<VerificationKey> {
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let common = &jwk.common;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    if common.key_operations.as_ref().is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
        return None;
    }
    let by_type: &'static [Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA,
        AlgorithmParameters::EllipticCurve(parameters) => match parameters.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(parameters) if parameters.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        // Symmetric keys have no place in a public document.
        _ => return None,
    };
    let algorithms = match common.key_algorithm {
        None => by_type,
        Some(named) => {
            let position =
                by_type.iter().position(|algorithm| named.to_string() == format!("{algorithm:?}"))?;
            by_type.get(position..=position)?
        }
    };
    if !algorithms.iter().any(|algorithm| accepted.contains(algorithm)) {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(VerificationKey { id: common.key_id.clone(), algorithms, key })
}

#[cfg(test)]
mod tests;
