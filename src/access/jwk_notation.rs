//! Brings the parts of a key (RFC 7517, RFC 7518) into the notation that the standards require. Providers write them in
//! several ways.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::config::algorithm_named;

/// Brings a JWK into the notation that the standards require, if its own notation is unambiguous. Returns an error if
/// the key cannot be corrected. It corrects these parts:
///
/// - Base64url must have no padding (RFC 7515 section 2). Some providers write padding, the other base64 alphabet or
///   line breaks.
/// - The numbers of RSA must have as few octets as possible (RFC 7518 section 6.3.1.1). Java's `BigInteger` puts a zero
///   in front.
/// - The coordinates of a curve must have exactly its number of octets (RFC 7518 section 6.2.1.2). Some providers write
///   one octet too many, or leave out leading zeros.
/// - An algorithm must have one name (RFC 9864).
pub fn canonicalise(jwk: &mut Value) -> Result<(), &'static str> {
    let text = |jwk: &Value, member: &str| jwk.get(member).and_then(Value::as_str).map(str::to_owned);
    if let Some(algorithm) = text(jwk, "alg").and_then(|name| algorithm_named(&name)) {
        set(jwk, "alg", format!("{algorithm:?}"));
    }
    let size = match text(jwk, "crv").as_deref() {
        Some("P-256") => 32,
        Some("P-384") => 48,
        _ => 0,
    };
    let (members, length): (&[&str], _) = match text(jwk, "kty").as_deref() {
        Some("RSA") => (&["n", "e"], Length::Least),
        Some("EC") if size > 0 => (&["x", "y"], Length::Of(size)),
        Some("OKP") => (&["x"], Length::AsItIs),
        _ => return Ok(()),
    };
    for member in members {
        let written = text(jwk, member).ok_or("a key lacks a part")?;
        let octets = decode(&written).ok_or("a part of a key is not base64url")?;
        let octets = length.fit(octets).ok_or("a coordinate of a key is too long for its curve")?;
        set(jwk, member, URL_SAFE_NO_PAD.encode(octets));
    }
    Ok(())
}

fn set(jwk: &mut Value, member: &str, text: String) {
    if let Some(value) = jwk.get_mut(member) {
        *value = Value::String(text);
    }
}

/// The number of octets of a part of a key.
enum Length {
    /// An unsigned number without leading zeros.
    Least,
    /// An unsigned number with exactly this number of octets.
    Of(usize),
    /// The part is not a number. Its octets stay as they are.
    AsItIs,
}

impl Length {
    fn fit(&self, octets: Vec<u8>) -> Option<Vec<u8>> {
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        let number = octets.get(zeros..).unwrap_or_default();
        match self {
            Self::Least => Some(number.to_vec()),
            Self::Of(size) => {
                let missing = size.checked_sub(number.len())?;
                Some([vec![0; missing].as_slice(), number].concat())
            }
            Self::AsItIs => Some(octets),
        }
    }
}

/// Decodes base64 in either alphabet, with or without padding. It may have several lines, as encoders for mail write
/// them (RFC 2045 section 6.8).
fn decode(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &URL_SAFE,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let in_one_line = text.replace(['\r', '\n'], "");
    LENIENT.decode(in_one_line.replace('+', "-").replace('/', "_")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinate_without_its_leading_zeros_is_filled_up() {
        let fit = |octets: &[u8], length: Length| length.fit(octets.to_vec());
        assert_eq!(fit(&[7], Length::Of(3)), Some(vec![0, 0, 7]));
        assert_eq!(fit(&[0, 0, 0, 7, 8], Length::Of(3)), Some(vec![0, 7, 8]));
        assert_eq!(fit(&[1, 2, 3, 4], Length::Of(3)), None);
        assert_eq!(fit(&[], Length::Of(2)), Some(vec![0, 0]));
        assert_eq!(fit(&[0, 0, 1, 0], Length::Least), Some(vec![1, 0]));
        assert_eq!(fit(&[0, 1], Length::AsItIs), Some(vec![0, 1]));
    }
}
