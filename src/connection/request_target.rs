//! The methods and targets that are accepted, over HTTP/1.x and HTTP/2.

use memchr::memchr;

use crate::connection::head_refusal::HeadRefusal;

/// The most bytes of a target in origin-form. A longer one is refused (431), because the `http` crate counts them in 16
/// bits.
pub(crate) const MAX_TARGET: usize = 65_534;

/// Refuses TRACE and CONNECT in any case of letters, because an app may ignore case.
pub(crate) fn check_method(method: &[u8]) -> Result<(), HeadRefusal> {
    let is_refused = method.eq_ignore_ascii_case(b"TRACE") || method.eq_ignore_ascii_case(b"CONNECT");
    if is_refused { Err(HeadRefusal::Method) } else { Ok(()) }
}

/// Refuses a target in origin-form that is too long.
pub(crate) const fn check_length(length: usize) -> Result<(), HeadRefusal> {
    if length > MAX_TARGET { Err(HeadRefusal::TooLarge) } else { Ok(()) }
}

/// Refuses a target with a byte that cannot be passed on as it is.
pub(crate) fn check_bytes(target: &[u8]) -> Result<(), HeadRefusal> {
    let path_length = memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at_checked(path_length).unwrap_or((target, b""));
    // The loops have no early exit, so that the compiler vectorises them. Targets are nearly always good.
    let is_bad = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'#' | b'<' | b'>');
    let bad_path = path.iter().fold(0, |bad, &byte| bad | u8::from(is_bad(byte) || byte == b'`'));
    let bad_query = query.iter().fold(0, |bad, &byte| bad | u8::from(is_bad(byte) || byte == b'"'));
    if bad_path | bad_query == 0 {
        return Ok(());
    }
    Err(if target.iter().any(|&byte| !byte.is_ascii_graphic() || byte == b'#') {
        HeadRefusal::TargetByte
    } else if path.iter().any(|byte| matches!(byte, b'<' | b'>' | b'`')) {
        HeadRefusal::PathByte
    } else {
        HeadRefusal::QueryByte
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_methods_are_refused_in_any_case() {
        for method in ["TRACE", "trace", "Connect", "CONNECT"] {
            assert_eq!(check_method(method.as_bytes()), Err(HeadRefusal::Method), "{method}");
        }
        for method in ["GET", "TRACES", "CONNEC", "PROPFIND", ""] {
            assert_eq!(check_method(method.as_bytes()), Ok(()), "{method}");
        }
    }

    #[test]
    fn bytes_of_a_target() {
        for byte in 0..=u8::MAX {
            let of_target = !byte.is_ascii_graphic() || byte == b'#';
            let in_path = match byte {
                _ if of_target => Err(HeadRefusal::TargetByte),
                b'<' | b'>' | b'`' => Err(HeadRefusal::PathByte),
                _ => Ok(()),
            };
            let in_query = match byte {
                _ if of_target => Err(HeadRefusal::TargetByte),
                b'<' | b'>' | b'"' => Err(HeadRefusal::QueryByte),
                _ => Ok(()),
            };
            assert_eq!(check_bytes(&[b'/', byte, b'/']), in_path, "{byte:#x}");
            assert_eq!(check_bytes(&[b'/', b'?', byte, b'x']), in_query, "{byte:#x}");
        }
    }

    #[test]
    fn lengths_of_a_target() {
        assert_eq!(check_length(MAX_TARGET), Ok(()));
        assert_eq!(check_length(MAX_TARGET + 1), Err(HeadRefusal::TooLarge));
    }
}
