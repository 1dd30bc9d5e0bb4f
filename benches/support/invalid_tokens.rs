//! Tokens that are refused, of every kind, and no two alike.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The value of the JWT's cookie for this number. `good` is a token that would be accepted, and lends its parts.
pub(crate) fn invalid(number: usize, good: &str) -> String {
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let mut parts = good.split('.');
    let mut part = || parts.next().unwrap_or_default();
    let (header, payload, signature) = (part(), part(), part());
    match number % 8 {
        0 => format!("junk-{number}"),
        1 => format!("{header}.{payload}.{signature}-{number}"),
        2 => format!("{header}.{}.{signature}", encode(format!(r#"{{"sub":"{number}"}}"#))),
        3 => {
            let header = encode(format!(r#"{{"alg":"EdDSA","kid":"unknown-{number}"}}"#));
            format!("{header}.{payload}.{signature}")
        }
        4 => format!("{}.{payload}.", encode(format!(r#"{{"alg":"none","kid":"{number}"}}"#))),
        5 => format!("{number}{}", "x".repeat(17_000)),
        6 => format!("!2!{number:016x}!{good}"),
        _ => format!("{header}.{payload}.{signature}; __Host-access_token={number}"),
    }
}
