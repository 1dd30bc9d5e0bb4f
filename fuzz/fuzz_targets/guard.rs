//! The guard: one request head, and the chunked coding of what follows it.
//!
//! An input is a head through its empty line, and a body. A head that is accepted has one reading, which is that of
//! another parser; what goes on in its place is accepted again and says the same. A chunked body has the same data
//! before and after, ends at the same place however it is cut, and goes on without extensions and trailers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::fuzzing::{Framing, Head, merge_chunked, read_request_head};
use portcullis_fuzz::http_bytes::{Request, read_chunked, read_head};

fuzz_target!(|input: &[u8]| {
    let end = input.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(input.len(), |at| at + 4);
    let (head, body) = input.split_at(end);
    match read_request_head(head) {
        Ok(accepted) => check_head(head, &accepted),
        Err(status) => assert!(matches!(status.as_u16(), 400 | 405 | 431), "{status}"),
    }
    check_chunked(body);
});

fn check_head(raw: &[u8], head: &Head) {
    let (read, length) = read_head(raw).expect("another parser reads it, too");
    assert_eq!(length, raw.len(), "it ends at the same place");
    let method = read.line.split(' ').next().unwrap_or_default();
    assert!(!["TRACE", "CONNECT"].contains(&method.to_ascii_uppercase().as_str()));
    check_framing(&read, head);

    let (passed, length) = read_head(&head.rewritten).expect("what goes on is a head");
    assert_eq!(length, head.rewritten.len());
    let again = read_request_head(&head.rewritten).expect("what goes on is accepted");
    assert_eq!(again.rewritten, head.rewritten, "nothing more is to be changed");
    assert_eq!((again.framing, again.expect_continue), (head.framing, head.expect_continue));
    assert_eq!(again.is_websocket, head.is_websocket);
    check_target(&read, &passed);

    // An upgrade goes on only if it is a WebSocket's; all other fields do, as they are.
    let is_kept = |(name, _): &&(String, Vec<u8>)| name != "upgrade" || head.is_websocket;
    let kept: Vec<_> = read.fields.iter().filter(is_kept).collect();
    assert_eq!(passed.fields.iter().collect::<Vec<_>>(), kept);
}

fn check_framing(read: &Request, head: &Head) {
    let hosts: Vec<_> = read.values("host").collect();
    let [host] = hosts.as_slice() else { panic!("{} hosts", hosts.len()) };
    assert!(!host.is_empty() && !host.iter().any(|byte| b"/@ ,\\?#\t".contains(byte)));
    let lengths: Vec<_> = read.values("content-length").collect();
    let codings: Vec<_> = read.values("transfer-encoding").collect();
    let framing = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Framing::None,
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        ([length], []) => {
            let digits = std::str::from_utf8(length).expect("digits").trim_matches([' ', '\t']);
            assert!(digits.bytes().all(|byte| byte.is_ascii_digit()));
            match u64::try_from(digits.parse::<i64>().expect("63 bits")) {
                Ok(0) => Framing::None,
                Ok(length) => Framing::Length(length),
                Err(_) => panic!("a negative length"),
            }
        }
        _ => panic!("two framings, or an unknown coding"),
    };
    assert_eq!(head.framing, framing);
    assert!(!head.is_websocket || framing == Framing::None);
    let options: Vec<_> =
        read.values("connection").flat_map(|value| value.split(|&byte| byte == b',')).collect();
    for option in options {
        let option = option.trim_ascii().to_ascii_lowercase();
        assert!(
            !["host", "content-length", "transfer-encoding"].iter().any(|name| name.as_bytes() == option)
        );
    }
}

/// The target goes on in origin-form: the same path and query.
fn check_target(read: &Request, passed: &Request) {
    let (method, target) = read.line.split_once(' ').expect("two words");
    let (passed_method, passed_target) = passed.line.split_once(' ').expect("two words");
    assert_eq!(method, passed_method);
    assert!(passed_target.starts_with('/'));
    if target.starts_with('/') {
        assert_eq!(target, passed_target);
    } else {
        let (scheme, after) = target.split_once("://").expect("absolute-form");
        let default = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
        let at = after.find(['/', '?']).unwrap_or(after.len());
        let (authority, path) = after.split_at(at);
        let host = read.values("host").next().unwrap_or_default();
        assert_eq!(plain(authority.as_bytes(), default), plain(host, default));
        assert_eq!(passed_target.strip_prefix('/'), Some(path.strip_prefix('/').unwrap_or(path)));
    }
}

/// A host and its port in one spelling of our own; an IPv6 address in any.
fn plain(host: &[u8], default: u16) -> (String, u16) {
    let host = std::str::from_utf8(host).expect("ASCII").to_ascii_lowercase();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().expect("a port")),
        _ => (host.as_str(), default),
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().expect("an address").to_string(),
        None => name.strip_suffix('.').unwrap_or(name).to_owned(),
    };
    (name, port)
}

fn check_chunked(coded: &[u8]) {
    let whole = merge_chunked(coded, usize::MAX, 64 * 1024);
    let data = |merged: &Option<(Vec<u8>, usize)>| {
        let (passed, left) = merged.as_ref()?;
        assert!(passed.ends_with(b"0\r\n\r\n"), "no trailers");
        let (data, length) = read_chunked(passed).expect("what goes on is coded well");
        assert_eq!(length, passed.len(), "and ends with its end");
        Some((data, *left))
    };
    let expected = data(&whole);
    for (input_size, output_size) in [(1, 4096), (3, 2), (usize::MAX, 5)] {
        let merged = merge_chunked(coded, input_size, output_size);
        assert_eq!(data(&merged), expected, "cut into {input_size}, {output_size}");
    }
    let Some((data, left)) = expected else { return };
    let read = read_chunked(coded);
    assert_eq!(
        read,
        Some((data, coded.len() - left)),
        "another decoder reads the same and ends at the same place"
    );
}
