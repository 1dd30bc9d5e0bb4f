//! The keys that verify signatures: a provider's JWKS (RFC 7517), or an HMAC secret from the configuration.

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

use crate::access::jwk_notation::canonicalise;

/// A key that verifies signatures.
pub struct VerificationKey {
    id: Option<String>,
    algorithms: &'static [Algorithm],
    key: DecodingKey,
    /// The public key, parsed for each accepted algorithm. Parsing an RSA key takes an eighth of the time of a
    /// verification.
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
    /// Tells whether `signature` (in base64url) is a signature of `message` with this key and algorithm (RFC 7515
    /// section 5.2).
    pub fn verifies(&self, message: &str, signature: &str, algorithm: Algorithm) -> bool {
        match self.prepared.iter().find(|(prepared, _)| *prepared == algorithm) {
            Some((_, key)) => URL_SAFE_NO_PAD
                .decode(signature)
                .is_ok_and(|signature| key.verify_sig(message.as_bytes(), &signature).is_ok()),
            None => jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, algorithm)
                .unwrap_or(false),
        }
    }

    /// Returns its `kid`, if it has one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

/// All keys whose signatures are accepted.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<VerificationKey>,
    faulty: Vec<&'static str>,
}

/// The reason why a text is not a usable JWKS.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum KeySetError {
    /// It is not JSON, or has no `keys` array.
    #[error("not a JWK set: {0}")]
    Malformed(String),
    /// No key in it can verify a signature of an accepted algorithm.
    #[error("no usable signature key among {total} keys{}", because(faulty.as_slice()))]
    NoUsableKey {
        /// The number of keys.
        total: usize,
        /// The faults of the keys that are meant for such signatures.
        faulty: Vec<&'static str>,
    },
}

fn because(faulty: &[&'static str]) -> String {
    if faulty.is_empty() { String::new() } else { format!(": {}", faulty.join("; ")) }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a JWKS. Leaves out keys for encryption, keys of an unknown type, and keys for no algorithm in `accepted`.
    /// Providers list such keys beside the useful ones.
    pub fn from_jwks(json: &[u8], accepted: &[Algorithm]) -> Result<Self, KeySetError> {
        let document: Document =
            serde_json::from_slice(json).map_err(|error| KeySetError::Malformed(error.to_string()))?;
        let total = document.keys.len();
        let (mut keys, mut faulty) = (Vec::new(), Vec::new());
        for jwk in document.keys {
            match usable(jwk, accepted) {
                Ok(key) => keys.push(key),
                Err(Useless::Faulty(problem)) if !faulty.contains(&problem) => faulty.push(problem),
                Err(_) => {}
            }
        }
        if keys.is_empty() {
            Err(KeySetError::NoUsableKey { total, faulty })
        } else {
            Ok(Self { keys, faulty })
        }
    }

    /// Makes a set of one HMAC secret. A JWKS never publishes such a secret.
    pub fn from_hmac_secret(secret: &[u8]) -> Self {
        let key = DecodingKey::from_secret(secret);
        let key = VerificationKey { id: None, algorithms: HMAC, key, prepared: Vec::new() };
        Self { keys: vec![key], faulty: Vec::new() }
    }

    /// Returns the keys that may have made a signature of `algorithm`. With a `key_id`, returns only the keys with that
    /// id and the keys without an id. A key id is an opaque string.
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

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns the faults of keys that are meant for such signatures, but were left out.
    pub fn faulty(&self) -> &[&'static str] {
        &self.faulty
    }

    /// Tells whether there is no key (yet).
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

/// The reason why a key is left out.
enum Useless {
    /// It is meant for another use.
    NotMeant,
    /// It is meant for accepted signatures, but has this fault.
    Faulty(&'static str),
}

/// Returns a key with its permitted algorithms. They follow from its type and curve (RFC 8725 section 3.1), and its
/// `alg` restricts them further.
fn usable(mut jwk: Value, accepted: &[Algorithm]) -> Result<VerificationKey, Useless> {
    let is_canonical = canonicalise(&mut jwk);
    let jwk: Jwk = serde_json::from_value(jwk).map_err(|_| Useless::NotMeant)?;
    let common = &jwk.common;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return Err(Useless::NotMeant);
    }
    if common.key_operations.as_ref().is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
        return Err(Useless::NotMeant);
    }
    let by_type: &'static [Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA,
        AlgorithmParameters::EllipticCurve(parameters) => match parameters.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return Err(Useless::NotMeant),
        },
        AlgorithmParameters::OctetKeyPair(parameters) if parameters.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        // A public document must not contain symmetric keys.
        _ => return Err(Useless::NotMeant),
    };
    let algorithms = match common.key_algorithm {
        None => by_type,
        Some(named) => by_type
            .iter()
            .position(|algorithm| named.to_string() == format!("{algorithm:?}"))
            .and_then(|position| by_type.get(position..=position))
            .ok_or(Useless::NotMeant)?,
    };
    let mut wanted = algorithms.iter().copied().filter(|algorithm| accepted.contains(algorithm)).peekable();
    if wanted.peek().is_none() {
        return Err(Useless::NotMeant);
    }
    is_canonical.map_err(Useless::Faulty)?;
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| Useless::Faulty("a key is malformed"))?;
    check_strength(&key)?;
    let prepared: Option<Vec<_>> =
        wanted.map(|algorithm| Some((algorithm, prepare(&key, algorithm)?))).collect();
    let prepared = prepared.ok_or(Useless::Faulty("a key is no RSA key, or no point of its curve"))?;
    Ok(VerificationKey { id: common.key_id.clone(), algorithms, key, prepared })
}

/// The accepted sizes of RSA keys in bits. RFC 7518 section 3.3 requires at least 2,048 bits, and the library accepts
/// at most 8,192.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Refuses a well-formed RSA key with an unusable size. Its modulus has no leading zero octets.
fn check_strength(key: &DecodingKey) -> Result<(), Useless> {
    let DecodingKeyKind::RsaModulusExponent { n, .. } = key.kind() else { return Ok(()) };
    let unused = n.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = n.len().saturating_mul(8).saturating_sub(unused);
    if bits < *RSA_BITS.start() {
        return Err(Useless::Faulty("an RSA key has fewer than 2048 bits, and may have been broken"));
    }
    if bits > *RSA_BITS.end() {
        return Err(Useless::Faulty("an RSA key has more than 8192 bits"));
    }
    Ok(())
}

/// Parses a public key once for all signatures. Returns `None` if it is not a valid key.
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

/// Returns the parameters of an RSA algorithm, with keys of at least 2,048 bits (RFC 7518 sections 3.3 and 3.5).
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
