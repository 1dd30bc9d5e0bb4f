//! The parts that the fuzz targets share: tokens of any shape, a second opinion on them and on paths, cookies and JSON,
//! and mutations that keep a JSON text one.
//!
//! Nothing here calls the code that is fuzzed, so that it is not its own judge.

pub mod http_bytes;
pub mod json;
pub mod tokens;

/// The time of all targets that need one: Unix seconds.
pub const NOW: u64 = 1_800_000_000;

/// A text's first line, and the rest.
pub fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[]),
    }
}

/// Decodes every `%XX` once; anything else stays.
pub fn percent_decode(encoded: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < encoded.len() {
        let pair = encoded.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let is_hex = |pair: &&str| pair.bytes().all(|byte| byte.is_ascii_hexdigit());
        match pair.filter(is_hex).and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if encoded[at] == b'%' => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(encoded[at]);
                at += 1;
            }
        }
    }
    decoded
}
