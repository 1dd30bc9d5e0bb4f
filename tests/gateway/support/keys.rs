//! Signing keys, made once per run, and JWTs signed with them by hand, so that any header and claim can be had.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The keys of all tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// RS256; what is published at first.
    Rsa,
    /// RS256; the successor after a rotation.
    NextRsa,
    /// RS256; never published: an attacker's.
    Stranger,
    /// ES256.
    Ec,
    /// EdDSA.
    Ed,
}

static RSA: LazyLock<[RsaKeyPair; 3]> =
    LazyLock::new(|| std::array::from_fn(|_| RsaKeyPair::generate(KeySize::Rsa2048).expect("a new key")));
static EC: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a new key"));
static ED: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().expect("a new key"));

/// base64url without padding.
pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    fn rsa(self) -> Option<&'static RsaKeyPair> {
        match self {
            Self::Rsa => RSA.first(),
            Self::NextRsa => RSA.get(1),
            Self::Stranger => RSA.get(2),
            Self::Ec | Self::Ed => None,
        }
    }

    /// The `kid` under which it is published.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Rsa => "rsa-1",
            Self::NextRsa => "rsa-2",
            Self::Stranger => "stranger",
            Self::Ec => "ec-1",
            Self::Ed => "ed-1",
        }
    }

    /// The `alg` of its signatures.
    pub(crate) fn algorithm(self) -> &'static str {
        match self {
            Self::Rsa | Self::NextRsa | Self::Stranger => "RS256",
            Self::Ec => "ES256",
            Self::Ed => "EdDSA",
        }
    }

    /// The public key as a JWK.
    pub(crate) fn jwk(self) -> Value {
        let mut jwk = match self {
            Self::Ec => {
                let point = EC.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": base64url(&point[1..33]), "y": base64url(&point[33..])})
            }
            Self::Ed => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(ED.public_key())}),
            _ => {
                let public = self.rsa().unwrap().public_key();
                let (modulus, exponent) = (public.modulus(), public.exponent());
                json!({
                    "kty": "RSA",
                    "n": base64url(modulus.big_endian_without_leading_zero()),
                    "e": base64url(exponent.big_endian_without_leading_zero()),
                })
            }
        };
        jwk["kid"] = json!(self.id());
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm());
        jwk
    }

    fn signature(self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ec => EC.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Self::Ed => ED.sign(message).as_ref().to_vec(),
            _ => {
                let key = self.rsa().unwrap();
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
                signature
            }
        }
    }

    /// A JWT with exactly this header and these claims, which may be any text.
    pub(crate) fn sign_raw(self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64url(header), base64url(claims));
        format!("{message}.{}", base64url(self.signature(message.as_bytes())))
    }

    /// A usual JWT.
    pub(crate) fn sign(self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm(), "typ": "JWT", "kid": self.id()});
        self.sign_raw(&header.to_string(), &claims.to_string())
    }
}
