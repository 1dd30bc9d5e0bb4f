//! Encodes a token as cookie values, and decodes it again.
//!
//! A token that fits is one cookie. It is percent-encoded if RFC 6265 requires that. A longer token is split. The first
//! cookie's value is `!N!TAG!DATA`. The other cookies, `NAME.1` to `NAME.(N-1)`, hold the rest of the data. The tag is
//! a checksum of the token, so that parts of two tokens never make a third one. In data, `!` is always encoded, so a
//! leading `!` is unambiguous.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// The largest number of cookies for one token.
pub const MAX_PARTS: usize = 5;

/// The largest size of one cookie in bytes: name, value and attributes (RFC 6265 section 6.1).
pub const MAX_COOKIE_SIZE: usize = 4096;

/// The bytes that are encoded: all bytes that are not cookie-octets (RFC 6265 section 4.1.1), the `%` of the encoding,
/// and the `!` of a split token.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%').add(b'!');

/// A token needs more than [`MAX_PARTS`] cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token of {0} bytes does not fit into {MAX_PARTS} cookies")]
pub struct TooLarge(pub usize);

/// Returns the name of a token's cookie number `part`. The numbers start at 0.
pub fn part_name(name: &str, part: usize) -> Cow<'_, str> {
    if part == 0 { Cow::Borrowed(name) } else { Cow::Owned(format!("{name}.{part}")) }
}

/// Returns the number of the part of the token `name` that a cookie holds, if it holds one.
pub fn part_number(cookie: &str, name: &str) -> Option<usize> {
    let rest = cookie.strip_prefix(name)?;
    if rest.is_empty() {
        return Some(0);
    }
    match rest.as_bytes() {
        &[b'.', digit @ b'1'..=b'9'] => Some(usize::from(digit - b'0')).filter(|part| *part < MAX_PARTS),
        _ => None,
    }
}

/// Returns the values of a token's cookies, in order. `overhead` is the length of a cookie's name, `=` and attributes.
pub fn encode(token: &str, overhead: usize) -> Result<Vec<String>, TooLarge> {
    let encoded: Cow<'_, str> = utf8_percent_encode(token, ENCODED).into();
    let room = MAX_COOKIE_SIZE.saturating_sub(overhead);
    if encoded.len() <= room {
        return Ok(vec![encoded.into_owned()]);
    }
    // Each part leaves room for `.N` in the name, or for the header of the first part. The header is longer.
    let header_size = "!5!0123456789abcdef!".len();
    let share = room.saturating_sub(header_size);
    let count = encoded.len().div_ceil(share.max(1));
    if count > MAX_PARTS || share == 0 {
        return Err(TooLarge(token.len()));
    }
    let mut parts = Vec::with_capacity(count);
    let mut rest = encoded.as_ref();
    for part in 0..count {
        // Encoded text is ASCII, so every index is a character boundary.
        let (data, tail) = rest.split_at_checked(share).unwrap_or((rest, ""));
        let mut value = String::with_capacity(header_size + data.len());
        if part == 0 {
            let _ = write!(value, "!{count}!{:016x}!", tag(token));
        }
        value.push_str(data);
        parts.push(value);
        rest = tail;
    }
    Ok(parts)
}

/// Joins the parts of a token. Returns `None` if a part is missing, damaged or from another token. Parts beyond the
/// count are leftovers of a longer token, and are ignored.
pub fn decode<'a>(parts: &[Option<&'a str>; MAX_PARTS]) -> Option<Cow<'a, str>> {
    let first = (*parts.first()?)?;
    let Some(split) = first.strip_prefix('!') else { return percent_decode(first) };
    let (count, rest) = split.split_once('!')?;
    let (expected_tag, data) = rest.split_once('!')?;
    let count: usize = count.parse().ok().filter(|count| (2..=MAX_PARTS).contains(count))?;
    let mut encoded = String::from(data);
    for part in parts.get(1..count)? {
        encoded.push_str((*part)?);
    }
    let token = percent_decode(&encoded)?.into_owned();
    (expected_tag == format!("{:016x}", tag(&token))).then_some(Cow::Owned(token))
}

fn percent_decode(encoded: &str) -> Option<Cow<'_, str>> {
    if encoded.contains('%') {
        percent_decode_str(encoded).decode_utf8().ok()
    } else {
        Some(Cow::Borrowed(encoded))
    }
}

/// Returns the checksum of a token (FNV-1a, 64 bits). It protects against accidents only. An attacker could send any
/// token anyway.
fn tag(token: &str) -> u64 {
    token
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn as_parts(values: &[String]) -> [Option<&str>; MAX_PARTS] {
        std::array::from_fn(|part| values.get(part).map(String::as_str))
    }

    #[test]
    fn a_jwt_is_stored_as_it_is() {
        let values = encode("eyJh.eyJz.c2ln-_", 80).unwrap();
        assert_eq!(values, ["eyJh.eyJz.c2ln-_"]);
    }

    #[test]
    fn six_kilobytes_take_two_cookies() {
        let token = "a".repeat(6 * 1024);
        let values = encode(&token, 100).unwrap();
        assert_eq!(values.len(), 2);
        assert!(values.iter().all(|value| value.len() + 100 <= MAX_COOKIE_SIZE));
        assert_eq!(decode(&as_parts(&values)).unwrap(), token);
    }

    #[test]
    fn a_part_that_is_missing_or_of_another_token_refuses_the_whole() {
        let one = encode(&"a".repeat(9000), 100).unwrap();
        let other = encode(&"b".repeat(9000), 100).unwrap();
        assert_eq!(one.len(), 3);
        assert_eq!(decode(&as_parts(&one[..2])), None);
        let mixed = [one[0].clone(), other[1].clone(), one[2].clone()];
        assert_eq!(decode(&as_parts(&mixed)), None);
        assert_eq!(decode(&[Some("!9!0!x"), None, None, None, None]), None);
        assert_eq!(decode(&[None, Some("x"), None, None, None]), None);
    }

    #[test]
    fn a_token_beyond_the_bound_is_refused() {
        assert_eq!(encode(&"a".repeat(30_000), 100), Err(TooLarge(30_000)));
    }

    #[test]
    fn part_names() {
        assert_eq!(part_number("t", "t"), Some(0));
        assert_eq!(part_number("t.1", "t"), Some(1));
        assert_eq!(part_number("t.4", "t"), Some(4));
        for other in ["t.0", "t.5", "t.10", "t.", "t1", "tt", "T", "t.1x"] {
            assert_eq!(part_number(other, "t"), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_token_survives(token in "\\PC{0,5000}", overhead in 20_usize..300) {
            if let Ok(values) = encode(&token, overhead) {
                prop_assert!(values.iter().all(|value| value.len() + overhead <= MAX_COOKIE_SIZE));
                let octets = |byte: u8| matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
                prop_assert!(values.iter().all(|value| value.bytes().all(octets)));
                prop_assert_eq!(decode(&as_parts(&values)).unwrap(), token);
            }
        }
    }
}
