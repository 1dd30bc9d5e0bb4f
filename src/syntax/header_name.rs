//! Names of headers, as programs behind a variable interface compare them.

/// The canonical form of a header name: lower-case, every byte that is no letter or digit becomes `-`. Servers that
/// hand headers on as variables (CGI, WSGI, Rack) take all spellings with one canonical form for the same header.
pub(crate) fn canonical(name: &str) -> String {
    name.bytes().map(|byte| char::from(canonical_byte(byte))).collect()
}

/// The same of one byte.
pub(crate) const fn canonical_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}
