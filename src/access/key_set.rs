//! The keys that verify signatures: a provider's JWKS (RFC 7517), or an HMAC secret set on purpose.

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;

/// One key.
pub struct VerificationKey {
    id: Option<String>,
    algorithms: &'static [Algorithm],
    key: DecodingKey,
    /// The public key made ready for each accepted algorithm: with RSA, preparing it takes an eighth of a verification.
    prepared: Vec<(Algorithm, ParsedPublicKey)>,
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
    /// Whether `signature`, in base64url, is one of `message` by this key and algorithm (RFC 7515 section 5.2).
    pub fn verifies(&self, message: &str, signature: &str, algorithm: Algorithm) -> bool {
        match self.prepared.iter().find(|(prepared, _)| *prepared == algorithm) {
            Some((_, key)) => URL_SAFE_NO_PAD
                .decode(signature)
                .is_ok_and(|signature| key.verify_sig(message.as_bytes(), &signature).is_ok()),
            None => jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, algorithm)
                .unwrap_or(false),
        }
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
        let key = DecodingKey::from_secret(secret);
        let key = VerificationKey { id: None, algorithms: HMAC, key, prepared: Vec::new() };
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
    let usable = algorithms.iter().filter(|algorithm| accepted.contains(algorithm));
    let prepared = usable.filter_map(|&algorithm| Some((algorithm, prepare(&key, algorithm)?))).collect();
    Some(VerificationKey { id: common.key_id.clone(), algorithms, key, prepared })
}

/// Parses a public key once for all signatures. `None` is left to `jsonwebtoken`, which says no where the key is bad.
fn prepare(key: &DecodingKey, algorithm: Algorithm) -> Option<ParsedPublicKey> {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            RsaPublicKeyComponents { n, e }.to_parsed_public_key(rsa_parameters(algorithm)?).ok()
        }
        DecodingKeyKind::SecretOrDer(point) => match algorithm {
            Algorithm::ES256 => ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).ok(),
            Algorithm::ES384 => ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).ok(),
            Algorithm::EdDSA => ParsedPublicKey::new(&signature::ED25519, point).ok(),
            _ => None,
        },
    }
}

/// RFC 7518 sections 3.3 and 3.5: at least 2,048 bits.
fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
