//! Recognises a protocol that is not the port's own by its first bytes, so that the log or the answer can name it.

/// The type of a TLS record that holds a handshake (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// The PROXY protocol, version 2.
const PROXY_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    Tls,
    /// The PROXY protocol. Some load balancers can write its preamble before the client's first bytes.
    ProxyProtocol,
    /// A request, or bytes that look like one.
    Http,
    /// Too few bytes have come.
    Undecided,
    Unknown,
}

/// More bytes than any method has.
const LONGEST_METHOD: usize = 32;

/// The PROXY protocol, version 1.
const PROXY_1: [&[u8]; 2] = [b"PROXY TCP", b"PROXY UNKNOWN"];

/// Returns the protocol that begins with these bytes.
pub(crate) fn spoken(bytes: &[u8]) -> Spoken {
    match bytes.first() {
        Some(&TLS_HANDSHAKE) => Spoken::Tls,
        _ if bytes.starts_with(PROXY_2) => Spoken::ProxyProtocol,
        _ if PROXY_1.iter().any(|start| bytes.starts_with(start)) => Spoken::ProxyProtocol,
        _ if PROXY_2.starts_with(bytes) || PROXY_1.iter().any(|start| start.starts_with(bytes)) => {
            Spoken::Undecided
        }
        _ => request(bytes),
    }
}

/// Finds out if these bytes begin a request: a method in capitals, and then the beginning of a target.
fn request(bytes: &[u8]) -> Spoken {
    let is_of_method = |byte: &&u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let method = bytes.iter().take_while(is_of_method).count();
    match bytes.get(method..).unwrap_or_default() {
        [b' ', b'/' | b'*' | b'h' | b'H', ..] if (1..=LONGEST_METHOD).contains(&method) => Spoken::Http,
        [] | [b' '] if (1..=LONGEST_METHOD).contains(&method) => Spoken::Undecided,
        _ => Spoken::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_their_first_bytes() {
        for (bytes, expected) in [
            (&b"\x16\x03\x01\x02\x00"[..], Spoken::Tls),
            (b"\x16", Spoken::Tls),
            (b"GET / HTTP/1.1\r\n", Spoken::Http),
            (b"OPTIONS * HTTP/1.1\r\n", Spoken::Http),
            (b"GET http://a/ HTTP/1.1\r\n", Spoken::Http),
            (b"M-SEARCH * HTTP/1.1", Spoken::Http),
            (b"PRI * HTTP/2.0\r\n", Spoken::Http),
            (b"PROXY /x HTTP/1.1\r\n", Spoken::Http),
            (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", Spoken::ProxyProtocol),
            (b"PROXY UNKNOWN\r\n", Spoken::ProxyProtocol),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", Spoken::ProxyProtocol),
            (b"SSH-2.0-OpenSSH_9.9\r\n", Spoken::Unknown),
            (b"get / http/1.1\r\n", Spoken::Unknown),
            (b"\x80\x2e\x01\x03\x01", Spoken::Unknown),
            (b" GET / HTTP/1.1\r\n", Spoken::Unknown),
            (b"SSH-2", Spoken::Unknown),
            (b" ", Spoken::Unknown),
            (&[b'A'; 33], Spoken::Unknown),
            (b"", Spoken::Undecided),
            (b"G", Spoken::Undecided),
            (b"GET", Spoken::Undecided),
            (b"GET ", Spoken::Undecided),
            (b"PROXY ", Spoken::Undecided),
            (b"PROXY TC", Spoken::Undecided),
            (b"\r\n", Spoken::Undecided),
            (b"\r\n\r\n\0\r\nQUIT", Spoken::Undecided),
        ] {
            assert_eq!(spoken(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
