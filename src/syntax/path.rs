//! The path of a request. It has one reading, which the gateway and the app share.
//!
//! Rules match the percent-decoded path, but the raw bytes are forwarded. That is safe only if every app reads the raw
//! bytes as we do. So a path is refused if it is known that some programs read it in another way: encoded separators,
//! dot segments, empty segments, path parameters, and double and overlong encodings.

use std::borrow::Cow;

use memchr::memchr;

/// The reason why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path does not begin with `/`, or has bytes that RFC 3986 does not allow in a path.
    #[error("the path has a character that is not allowed")]
    Character,
    /// `%` without two hexadecimal digits.
    #[error("the path has an incomplete percent-encoding (`%` without two digits)")]
    Encoding,
    /// `%2f`, `%5c`, `%3b`, `%25XX`, control characters.
    #[error("the path encodes a character that changes its meaning (such as `%2f`)")]
    EncodedDelimiter,
    /// Overlong UTF-8.
    #[error("the path has an overlong encoding")]
    Overlong,
    /// `.` or `..`, encoded or not.
    #[error("the path has a dot segment (`.` or `..`)")]
    DotSegment,
    /// `//`.
    #[error("the path has an empty segment (`//`)")]
    EmptySegment,
    /// `;`.
    #[error("the path has a path parameter (`;`)")]
    Parameter,
}

/// Checks a raw path (without the query) and decodes it for matching.
pub fn decode(raw: &str) -> Result<Cow<'_, [u8]>, PathError> {
    let bytes = raw.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(PathError::Character);
    }
    let mut encoded = false;
    let mut previous = 0;
    for &byte in bytes {
        match byte {
            b'/' if previous == b'/' => return Err(PathError::EmptySegment),
            b';' => return Err(PathError::Parameter),
            b'%' => encoded = true,
            // Some servers take `\` for a separator. RFC 3986 section 3.3 allows none of the other bytes.
            b'\\'
            | b'#'
            | b'?'
            | b'"'
            | b'<'
            | b'>'
            | b'^'
            | b'`'
            | b'{'
            | b'|'
            | b'}'
            | 0..=0x20
            | 0x7f.. => {
                return Err(PathError::Character);
            }
            _ => {}
        }
        previous = byte;
    }
    let decoded = if encoded { Cow::Owned(percent_decode(bytes)?) } else { Cow::Borrowed(bytes) };
    if decoded.contains(&b'.')
        && decoded.split(|&byte| byte == b'/').any(|segment| matches!(segment, b"." | b".."))
    {
        return Err(PathError::DotSegment);
    }
    Ok(decoded)
}

/// Returns true if two decoded paths are the same to an app that ignores case and a trailing slash.
pub fn is_variant(path: &[u8], of: &[u8]) -> bool {
    trim_slash(path).eq_ignore_ascii_case(trim_slash(of))
}

/// Returns true if an app that is lenient about the end of a path takes `path` for `of`. Such apps ignore case and a
/// trailing slash. Some frameworks also ignore blanks and dots at the end, or take `.json` for a format (Rails, older
/// Spring).
pub fn is_lenient_variant(path: &[u8], of: &[u8]) -> bool {
    let of = trim_slash(of);
    let Some((start, rest)) = path.split_at_checked(of.len()) else { return false };
    let is_punctuation = |rest: &[u8]| !rest.iter().any(u8::is_ascii_alphanumeric);
    let is_format = |format: &[u8]| trim_slash(format).iter().all(u8::is_ascii_alphanumeric);
    start.eq_ignore_ascii_case(of) && (is_punctuation(rest) || rest.strip_prefix(b".").is_some_and(is_format))
}

/// Returns the path without one trailing slash.
pub fn trim_slash(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

fn percent_decode(bytes: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            decoded.push(byte);
            rest = tail;
            continue;
        }
        let (value, tail) = hex_pair(tail).ok_or(PathError::Encoding)?;
        match value {
            b'/' | b'\\' | b';' | 0..=0x1f | 0x7f => return Err(PathError::EncodedDelimiter),
            _ => decoded.push(value),
        }
        rest = tail;
    }
    if is_encoded_twice(&decoded) {
        return Err(PathError::EncodedDelimiter);
    }
    if has_overlong(&decoded) { Err(PathError::Overlong) } else { Ok(decoded) }
}

fn hex_pair(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&[high, low], tail) = bytes.split_first_chunk::<2>()?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(high)? << 4 | digit(low)?, tail))
}

/// Returns true if another decoding would change the path. The hexadecimal digits may have been encoded, too.
fn is_encoded_twice(decoded: &[u8]) -> bool {
    let mut rest = decoded;
    while let Some(at) = memchr(b'%', rest) {
        rest = rest.get(at + 1..).unwrap_or_default();
        if hex_pair(rest).is_some() {
            return true;
        }
    }
    false
}

/// Returns true if there are overlong forms of UTF-8 (RFC 3629 section 3). Other bytes above ASCII pass, because old
/// apps use Latin-1 in their paths.
fn has_overlong(bytes: &[u8]) -> bool {
    bytes
        .windows(2)
        .any(|pair| matches!(pair, [0xc0 | 0xc1, 0x80..=0xbf] | [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_paths_pass() {
        for (raw, decoded) in [
            ("/", "/"),
            ("/api/shopping-cart", "/api/shopping-cart"),
            ("/a.b/..c/c../...", "/a.b/..c/c../..."),
            ("/caf%C3%A9", "/café"),
            ("/100%25", "/100%"),
            ("/100%25%20cotton", "/100% cotton"),
            ("/%61dmin", "/admin"),
            ("/~user/@me:1,2;".trim_end_matches(';'), "/~user/@me:1,2"),
            ("/trailing/", "/trailing/"),
        ] {
            assert_eq!(decode(raw).map(Cow::into_owned), Ok(decoded.as_bytes().to_vec()), "{raw}");
        }
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        use PathError::{
            Character, DotSegment, EmptySegment, EncodedDelimiter, Encoding, Overlong, Parameter,
        };
        for (raw, error) in [
            ("", Character),
            ("api", Character),
            ("/a\\b", Character),
            ("/a b", Character),
            ("/a#b", Character),
            ("/caf\u{e9}", Character),
            ("/a%", Encoding),
            ("/a%2", Encoding),
            ("/a%zz", Encoding),
            ("/a%2fb", EncodedDelimiter),
            ("/a%2Fb", EncodedDelimiter),
            ("/a%5cb", EncodedDelimiter),
            ("/a%3bx", EncodedDelimiter),
            ("/a%00", EncodedDelimiter),
            ("/a%0d%0a", EncodedDelimiter),
            ("/%252e%252e/", EncodedDelimiter),
            ("/a/../b", DotSegment),
            ("/a/./b", DotSegment),
            ("/a/%2e%2E/b", DotSegment),
            ("/a/.%2e", DotSegment),
            ("/..", DotSegment),
            ("//a", EmptySegment),
            ("/a//b", EmptySegment),
            ("/a;x/b", Parameter),
            ("/a/..;/b", Parameter),
            ("/%c0%ae%c0%ae/", Overlong),
            ("/%e0%80%af", Overlong),
            ("/%f0%80%80%af", Overlong),
        ] {
            assert_eq!(decode(raw), Err(error), "{raw}");
        }
    }

    #[test]
    fn variants() {
        for lenient in [
            "/api/LOGIN",
            "/api/login/",
            "/api/login. ",
            "/api/login.json",
            "/api/login.json/",
            "/api/login\u{a0}",
            "/api/login?",
        ] {
            assert!(is_lenient_variant(lenient.as_bytes(), b"/api/login"), "{lenient}");
            assert!(is_lenient_variant(lenient.as_bytes(), b"/api/login/"), "{lenient}");
        }
        for other in
            ["/api/login/more", "/api/logins", "/api/login.js.x", "/api/logi", "/api/login-2", "/x/api/login"]
        {
            assert!(!is_lenient_variant(other.as_bytes(), b"/api/login"), "{other}");
        }
        assert!(is_variant(b"/API/Login/", b"/api/login"));
        assert!(is_variant(b"/api/login", b"/api/login"));
        assert!(!is_variant(b"/api/login2", b"/api/login"));
    }

    proptest! {
        #[test]
        fn what_passes_has_no_second_reading(raw in "/[ -~]{0,40}") {
            if let Ok(decoded) = decode(&raw) {
                prop_assert!(!decoded.windows(2).any(|pair| pair == b"//"));
                prop_assert!(!decoded.contains(&b'\\'));
                prop_assert!(!decoded.split(|&byte| byte == b'/').any(|segment| segment == b".."));
                // Decoding has reached its end: a second decoding finds nothing to decode.
                prop_assert!(percent_decode(&decoded).is_err() || !decoded.contains(&b'%')
                    || percent_decode(&decoded) == Ok(decoded.to_vec()));
            }
        }

        #[test]
        fn never_panics(raw in any::<String>()) {
            let _ = decode(&raw);
        }
    }
}
