//! Names of headers, methods and cookies: the bytes that they may have, and how programs compare them that get headers
//! as variables.

/// Returns the canonical form of a header name: in lower case, and with `-` for every byte that is not a letter or
/// digit. Servers that pass headers on as variables (CGI, WSGI, Rack) take all spellings with the same canonical form
/// for one header.
pub(crate) fn canonical(name: &str) -> String {
    name.bytes().map(|byte| char::from(canonical_byte(byte))).collect()
}

/// Returns the canonical form of one byte.
pub(crate) const fn canonical_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// Returns true if every byte is allowed in a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| TOKEN.get(usize::from(byte)).copied().unwrap_or(false))
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        if byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            #[expect(clippy::indexing_slicing, reason = "evaluated at compile time; a byte is in 0..256")]
            {
                table[byte as usize] = true;
            }
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_token() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(&[b'a', byte]), expected, "{byte:#x}");
        }
        assert!(is_token(b""), "an empty name is refused elsewhere");
    }
}
