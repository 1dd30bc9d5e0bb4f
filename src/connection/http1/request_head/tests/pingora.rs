//! Whatever is let in here, Pingora takes and passes on byte by byte. Else it would answer by itself, and nobody would
//! know.

use std::io::Cursor;

use bytes::BytesMut;
use futures_util::FutureExt;
use pingora_core::protocols::http::v1::server::HttpSession;
use proptest::prelude::*;

use super::super::{MAX_HEAD, check};
use super::near_heads;
use crate::connection::head_refusal::HeadRefusal;
use crate::connection::http1::head_fields::MAX_FIELD_NAME;
use crate::connection::request_target::MAX_TARGET;

/// Lets Pingora read a head that was let in.
fn read_by_pingora(head: &[u8]) -> HttpSession {
    let mut session = HttpSession::new(Box::new(Cursor::new(Vec::new())));
    session.set_pipelined_prefix(BytesMut::from(head));
    let read = session.read_request().now_or_never().expect("it is all there");
    let shown = head.get(..200).unwrap_or(head).escape_ascii();
    let length = read.unwrap_or_else(|error| panic!("Pingora refuses {shown}: {error}"));
    assert_eq!(length, Some(head.len()), "{shown}");
    session
}

/// Refused, or passed on as it came. Whether it was let in.
fn passes(head: &[u8]) -> bool {
    let Ok(checked) = check(head) else { return false };
    let forwarded = checked.rewrite(BytesMut::from(head));
    let session = read_by_pingora(&forwarded);
    let request = session.req_header();
    let lines: Vec<&[u8]> = forwarded[..]
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !line.is_empty())
        .collect();
    let words: Vec<&[u8]> = lines[0].split(|&byte| byte == b' ').collect();
    assert_eq!(request.method.as_str().as_bytes(), words[0]);
    assert_eq!(request.raw_path(), words[1], "{}", words[1].escape_ascii());
    assert!(request.raw_path_is_utf8());
    let mut expected: Vec<(Vec<u8>, Vec<u8>)> = lines[1..]
        .iter()
        .map(|line| {
            let colon = line.iter().position(|&byte| byte == b':').expect("a field");
            (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec())
        })
        .collect();
    let fields = request.headers.iter();
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> =
        fields.map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
    expected.sort();
    fields.sort();
    assert_eq!(fields, expected);
    true
}

/// Which bytes may stand where `@` is.
fn let_in(pattern: &str) -> Vec<u8> {
    let (before, after) = pattern.split_once('@').expect("a place for the byte");
    (0..=u8::MAX).filter(|&byte| passes(&[before.as_bytes(), &[byte], after.as_bytes()].concat())).collect()
}

fn all_but(excluded: &[u8]) -> Vec<u8> {
    (b'!'..=b'~').filter(|byte| !excluded.contains(byte)).collect()
}

#[test]
fn every_byte_in_every_place_of_a_target() {
    for end in ["", "x", "/x", "%20", "x?y"] {
        for start in ["/", "/x", "http://a/", "http://a/x", "https://a/%20"] {
            let pattern = format!("GET {start}@{end} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(let_in(&pattern), all_but(b"#<>`"), "{pattern}");
        }
        for start in ["/?", "/x?", "/x?y", "/x?y=", "/x?y?", "http://a?", "http://a/?y"] {
            let pattern = format!("GET {start}@{end} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(let_in(&pattern), all_but(b"\"#<>"), "{pattern}");
        }
    }
    assert_eq!(let_in("GET @ HTTP/1.1\r\nHost: a\r\n\r\n"), b"/");
    assert_eq!(let_in("GET @x HTTP/1.1\r\nHost: a\r\n\r\n"), b"/");
}

#[test]
fn every_byte_in_every_place_of_a_method_a_name_and_a_value() {
    let token: Vec<u8> = all_but(b"\"(),/:;<=>?@[\\]{}");
    for pattern in ["@ / HTTP/1.1", "@X / HTTP/1.1", "X@Y / HTTP/1.1", "TRAC@ / HTTP/1.1", "GET@ / HTTP/1.1"]
    {
        let found = let_in(&format!("{pattern}\r\nHost: a\r\n\r\n"));
        let expected: Vec<u8> = match pattern {
            "TRAC@ / HTTP/1.1" => token.iter().copied().filter(|byte| !b"Ee".contains(byte)).collect(),
            _ => token.clone(),
        };
        assert_eq!(found, expected, "{pattern}");
    }
    // A colon ends the name; it must not be empty.
    let after_the_first: Vec<u8> = all_but(b"\"(),/;<=>?@[\\]{}");
    for (name, expected) in
        [("@", &token), ("@x", &token), ("x@", &after_the_first), ("content-lengt@", &after_the_first)]
    {
        let pattern = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: 1\r\n\r\n");
        assert_eq!(&let_in(&pattern), expected, "{name}");
    }
    let value: Vec<u8> =
        (0..=u8::MAX).filter(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)).collect();
    for pattern in ["@", " @", "x@", "x@y", "x @ y"] {
        assert_eq!(let_in(&format!("GET / HTTP/1.1\r\nHost: a\r\nX:{pattern}\r\n\r\n")), value, "{pattern}");
    }
    for pattern in ["a@", "@", "a@b", "[::@]", "a:1@", "[::1]:@"] {
        // Which they are does not matter here: those that are let in are passed on.
        let_in(&format!("GET / HTTP/1.1\r\nHost: {pattern}\r\n\r\n"));
    }
    for pattern in ["1@", "@", "0@1"] {
        let digits: Vec<u8> =
            let_in(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:{pattern}\r\n\r\n"));
        let is_expected = |byte: &u8| byte.is_ascii_digit() || (pattern == "1@" && b"\t ".contains(byte));
        assert!(digits.iter().all(is_expected) && digits.len() >= 10, "{pattern}: {digits:?}");
    }
}

#[test]
fn every_length() {
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(length - 1));
    assert!(passes(target(MAX_TARGET).as_bytes()));
    assert_eq!(check(target(MAX_TARGET + 1).as_bytes()), Err(HeadRefusal::TooLarge));
    // In absolute-form it is the rest that counts; an empty path becomes "/".
    for start in ["/", "?"] {
        let absolute = |length: usize| {
            let rest = "a".repeat(length - 1);
            format!("GET http://a{start}{rest} HTTP/1.1\r\nHost: a\r\n\r\n")
        };
        assert!(passes(absolute(MAX_TARGET - 1).as_bytes()), "{start}");
        assert_eq!(check(absolute(MAX_TARGET).as_bytes()), Err(HeadRefusal::TooLarge), "{start}");
    }
    let name = |length: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}: 1\r\n\r\n", "x".repeat(length));
    assert!(passes(name(MAX_FIELD_NAME).as_bytes()));
    assert_eq!(check(name(MAX_FIELD_NAME + 1).as_bytes()), Err(HeadRefusal::TooLarge));
    let method = |length: usize| format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "X".repeat(length));
    assert!(passes(method(MAX_HEAD - 25).as_bytes()));
    let head = |length: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(length - frame))
    };
    assert!(passes(head(MAX_HEAD).as_bytes()));
    assert_eq!(check(head(MAX_HEAD + 1).as_bytes()), Err(HeadRefusal::TooLarge));
    assert_eq!(HeadRefusal::TooLarge.problem().status, 431);
    let length = |digits: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {digits}\r\n\r\n");
    for digits in ["0", "00", "000000000000000000000000000000001", "9223372036854775807"] {
        assert!(passes(length(digits).as_bytes()), "{digits}");
    }
}

proptest! {
    #[test]
    fn whatever_is_let_in(head in near_heads(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut head = head;
        for (index, byte) in changes {
            let length = head.len();
            head[index.index(length)] = byte;
        }
        passes(&head);
    }

    #[test]
    fn any_target(target in "(/|http://a|[!-~])[!-~]{0,30}", host in "[!-~]{0,10}") {
        passes(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        passes(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    }
}
