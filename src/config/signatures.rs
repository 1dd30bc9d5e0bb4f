//! `algorithms` and `hmac_secret` of `[identity_providers.*]`: the accepted signatures.

use jsonwebtoken::Algorithm;

use crate::config::quoting::quote;
use crate::config::reader::{Item, Section};
use crate::config::secret::{Secret, secret};

/// Returns the JWS algorithm of a name in `alg` (RFC 7518 section 3.1), in a header, a key or the configuration.
/// Portcullis verifies EdDSA only with Ed25519. RFC 9864 names this algorithm `Ed25519`, and both names are in use.
/// Portcullis does not verify `Ed448`.
pub fn algorithm_named(name: &str) -> Option<Algorithm> {
    match name {
        "Ed25519" => Some(Algorithm::EdDSA),
        name => name.parse().ok(),
    }
}

#[expect(clippy::option_option, reason = "the outer one is `wrong, and reported`, the inner one `left out`")]
pub(super) fn signatures(section: &Section<'_>) -> (Option<Vec<Algorithm>>, Option<Option<Secret>>) {
    let algorithms = section.defaulted("algorithms", r#"["RS256", "ES256", "EdDSA"]"#, |item| {
        item.some("name the algorithms that the provider signs with, such as `[\"RS256\"]`", algorithm)
    });
    let algorithms = algorithms.map(once_each);
    let secret = section.optional("hmac_secret", "HMAC is refused", secret);
    if let (Some(algorithms), Some(secret)) = (&algorithms, &secret) {
        check_signatures(section, algorithms, secret.as_ref());
    }
    (algorithms, secret)
}

/// Reads an algorithm. Returns it with its name, because only the same name twice is an error.
fn algorithm(item: &Item<'_>) -> Option<(String, Algorithm)> {
    const HINT: &str = "write one of `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`, \
                        or with `hmac_secret` one of `HS256`, `HS384`, `HS512`";
    let text = item.text("a string", HINT)?;
    if text.eq_ignore_ascii_case("none") {
        return item.fault(format!("{} accepts tokens that anybody can write", quote(text)), HINT);
    }
    match algorithm_named(text) {
        Some(algorithm) => Some((text.to_owned(), algorithm)),
        None => item.fault(format!("{} is not an algorithm that can be verified here", quote(text)), HINT),
    }
}

/// Both names of one algorithm may be listed.
fn once_each(named: Vec<(String, Algorithm)>) -> Vec<Algorithm> {
    let mut algorithms = Vec::with_capacity(named.len());
    for (_, algorithm) in named {
        if !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
    }
    algorithms
}

/// Checks the algorithms and the secret by RFC 8725 section 3.1: only one kind of key, and no secret that is easier to
/// guess than the hash.
fn check_signatures(section: &Section<'_>, algorithms: &[Algorithm], secret: Option<&Secret>) {
    let needed = algorithms.iter().filter_map(|algorithm| hmac_length(*algorithm)).max();
    let mixed = algorithms.iter().any(|algorithm| hmac_length(*algorithm).is_none());
    let _: Option<()> = match (needed, secret) {
        (Some(_), _) if mixed => section.fault_at(
            "algorithms",
            "HMAC stands next to asymmetric algorithms: a public key could be used as a secret",
            "keep one kind, and rather the asymmetric one",
        ),
        (Some(_), None) => section.fault_at(
            "algorithms",
            "HMAC needs a secret",
            "add `hmac_secret`, or use an asymmetric algorithm, such as `[\"RS256\"]`",
        ),
        (None, Some(_)) => section.fault_at(
            "hmac_secret",
            "a secret for HMAC stands next to asymmetric algorithms",
            "remove it, or write `algorithms = [\"HS256\"]`",
        ),
        (Some(length), Some(secret)) if secret.expose().len() < length => section.fault_at(
            "hmac_secret",
            format!("the secret has fewer than the {length} bytes of its hash (RFC 7518 section 3.2)"),
            "let the provider generate a longer one",
        ),
        _ => None,
    };
}

/// Returns the size of the hash of an HMAC algorithm, in bytes.
pub(super) fn hmac_length(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::HS256 => Some(32),
        Algorithm::HS384 => Some(48),
        Algorithm::HS512 => Some(64),
        _ => None,
    }
}
