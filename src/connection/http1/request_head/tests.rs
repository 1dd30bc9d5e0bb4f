mod pingora;
use bytes::BytesMut;
use proptest::prelude::*;

use super::{Framing, Upgrade, check};
use crate::connection::head_refusal::HeadRefusal;
use HeadRefusal::{
    BareLineFeed, ConnectionOption, ContentLength, FieldName, FieldValue, FoldedField, HostCount, HostValue,
    Method, RequestLine, TargetByte, TargetForm, TooManyFields, TransferEncoding, TwoFramings,
    UpgradeRequest, Version,
};

fn with_fields(fields: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nHost: store.localhost\r\n{fields}\r\n").into_bytes()
}

fn rewritten(head: &[u8]) -> Vec<u8> {
    check(head).expect("an accepted head").rewrite(BytesMut::from(head)).to_vec()
}

#[test]
fn refuses_request_lines_with_more_than_one_reading() {
    let cases: &[(&[u8], HeadRefusal)] = &[
        (b"\r\n", RequestLine),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", BareLineFeed),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", BareLineFeed),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", BareLineFeed),
        (b"GET / HTTP/1.1\r\rHost: a\r\n\r\n", RequestLine),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", RequestLine),
        (b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        (b"GET\r\nHost: a\r\n\r\n", RequestLine),
        (b"GET /\r\nHost: a\r\n\r\n", RequestLine),
        (b"G\xc3T / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", Version),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", Version),
        (b"PRI * HTTP/2.0\r\n\r\n", Version),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", Version),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", RequestLine),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Method),
        (b"trace / HTTP/1.1\r\nHost: a\r\n\r\n", Method),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Method),
        (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", TargetByte),
        (b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", TargetByte),
        (b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", TargetByte),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", TargetByte),
        (b"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", TargetByte),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        (b"GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        (b"GET ?x HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        (b"GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", TargetForm),
        (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        (b"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        (b"GET https://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        (b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        (b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        (b"GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n", RequestLine),
    ];
    for (head, refusal) in cases {
        assert_eq!(check(head), Err(*refusal), "{}", head.escape_ascii());
    }
}

#[test]
fn refuses_malformed_fields() {
    let cases: &[(&[u8], HeadRefusal)] = &[
        (b"GET / HTTP/1.1\r\n\r\n", HostCount),
        (b"GET / HTTP/1.0\r\n\r\n", HostCount),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhOST: a\r\n\r\n", HostCount),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", HostValue),
        (b"GET / HTTP/1.1\r\nHost: a/evil\r\n\r\n", HostValue),
        (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", HostValue),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HostValue),
        (b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", HostValue),
        (b"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", HostValue),
        (b"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", HostValue),
        (b"GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n", HostValue),
        (b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", HostValue),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", HostValue),
        (b"GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", HostValue),
        (b"GET / HTTP/1.1\r\nHost: a%2fb\r\n\r\n", HostValue),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", FoldedField),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n", FoldedField),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", FieldName),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", FieldName),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", FieldName),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\x00: b\r\n\r\n", FieldName),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX(y): b\r\n\r\n", FieldName),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3: b\r\n\r\n", FieldName),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", FieldValue),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x00\r\n\r\n", FieldValue),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b\r\n\r\n", FieldValue),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", FieldValue),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\r\n\r\n", FieldValue),
    ];
    for (head, refusal) in cases {
        assert_eq!(check(head), Err(*refusal), "{}", head.escape_ascii());
    }
}

#[test]
fn refuses_ambiguous_framing() {
    let cases = [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", TwoFramings),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", TwoFramings),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", ContentLength),
        ("Content-Length: 1, 1\r\n", ContentLength),
        ("Content-Length: +1\r\n", ContentLength),
        ("Content-Length: -1\r\n", ContentLength),
        ("Content-Length: 0x1\r\n", ContentLength),
        ("Content-Length: 1 1\r\n", ContentLength),
        ("Content-Length:\r\n", ContentLength),
        ("Content-Length: 9223372036854775808\r\n", ContentLength),
        ("Content-Length: 18446744073709551617\r\n", ContentLength),
        ("Transfer-Encoding: gzip, chunked\r\n", TransferEncoding),
        ("Transfer-Encoding: chunked, chunked\r\n", TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", TransferEncoding),
        ("Transfer-Encoding: identity\r\n", TransferEncoding),
        ("Transfer-Encoding: \"chunked\"\r\n", TransferEncoding),
        ("Transfer-Encoding: chunked;q=1\r\n", TransferEncoding),
        ("Transfer-Encoding:\r\n", TransferEncoding),
        ("Connection: close, Content-Length\r\nContent-Length: 1\r\n", ConnectionOption),
        ("Connection: host\r\n", ConnectionOption),
        ("Connection: Transfer-Encoding\r\n", ConnectionOption),
    ];
    for (fields, refusal) in cases {
        assert_eq!(check(&with_fields(fields)), Err(refusal), "{fields:?}");
    }
    let old = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(check(old), Err(TransferEncoding));
}

#[test]
fn tells_the_framing() {
    let cases = [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::None),
        ("content-length:\t5 \r\n", Framing::Length(5)),
        ("Content-Length: 0000000000000000000000005\r\n", Framing::Length(5)),
        ("Content-Length: 9223372036854775807\r\n", Framing::Length(i64::MAX.unsigned_abs())),
        ("transfer-ENCODING: Chunked\r\n", Framing::Chunked),
    ];
    for (fields, framing) in cases {
        assert_eq!(check(&with_fields(fields)).expect(fields).framing, framing, "{fields:?}");
    }
}

#[test]
fn limits_the_number_of_fields() {
    let with = |count: usize| with_fields(&"X: y\r\n".repeat(count - 1));
    assert!(check(&with(100)).is_ok());
    assert_eq!(check(&with(101)), Err(TooManyFields));
    assert_eq!(TooManyFields.problem().status, 431);
    assert_eq!(Method.problem().status, 405);
    assert_eq!(HostValue.problem().status, 400);
}

#[test]
fn forwards_absolute_form_as_origin_form() {
    let cases = [
        ("http://a:8080/x?y=http://b/", "/x?y=http://b/"),
        ("HTTPS://A:8080/x", "/x"),
        ("http://a:8080", "/"),
        ("http://a:8080?x=1", "/?x=1"),
        ("http://a:8080//b", "//b"),
    ];
    for (target, path) in cases {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a:8080\r\nX: y\r\n\r\n");
        let expected = format!("GET {path} HTTP/1.1\r\nHost: a:8080\r\nX: y\r\n\r\n");
        assert_eq!(rewritten(head.as_bytes()), expected.as_bytes());
    }
}

#[test]
fn passes_on_a_websocket_handshake_and_drops_every_other_upgrade() {
    let handshake =
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nX: y\r\n\r\n";
    assert_eq!(check(handshake).expect("a handshake").upgrade, Some(Upgrade::WebSocket));
    assert_eq!(rewritten(handshake), handshake);

    for (version, fields) in [
        ("1.1", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"),
        ("1.1", "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n"),
        ("1.1", "Upgrade: websocket\r\n"),
        ("1.0", "Upgrade: websocket\r\nConnection: Upgrade\r\n"),
    ] {
        let head = format!("GET http://a/ HTTP/{version}\r\nHost: a\r\n{fields}X: y\r\n\r\n");
        assert_eq!(check(head.as_bytes()).expect(fields).upgrade, Some(Upgrade::Other), "{fields:?}");
        let passed = String::from_utf8(rewritten(head.as_bytes())).expect("ASCII");
        assert!(
            !passed.contains("Upgrade: ")
                && passed.starts_with("GET / ")
                && passed.contains("\r\nX: y\r\n\r\n")
        );
    }
    for fields in [
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 1\r\n",
        "Upgrade: websocket\r\nUpgrade: h2c\r\n",
    ] {
        assert_eq!(check(&with_fields(fields)), Err(UpgradeRequest), "{fields:?}");
    }
}

#[test]
fn expects_continue_only_where_a_body_follows() {
    let expects = |fields: &str| check(&with_fields(fields)).expect(fields).expect_continue;
    assert!(expects("Expect: 100-Continue\r\nContent-Length: 1\r\n"));
    assert!(!expects("Expect: 100-continue\r\n"));
    assert!(!expects("Expect: other\r\nContent-Length: 1\r\n"));
}

/// Heads near the border: mostly well-formed, with hostile pieces in every position.
fn near_heads() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "Host: a\r\n",
        "Host: a:1\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 05\r\n",
        "Content-Length:\t7\t\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: x\r\n",
        "X: \u{e9}\r\n",
        "Upgrade: h2c\r\n",
        "Connection: upgrade\r\n",
        "Upgrade: websocket\r\n",
        "A:\r\n",
        " folded\r\n",
        "B: \r\n",
        "C: d\n",
        "!#$%&'*+-.^_`|~: x\r\n",
    ]);
    let target = prop_oneof!["/[!-~]{0,12}", "http://a(:1)?[!-~]{0,8}", "[ -~]{0,8}"];
    let method = prop_oneof![Just("GET".to_owned()), Just("POST".to_owned()), "[!-~]{1,5}"];
    (method, target, prop_oneof![4 => Just("1"), 1 => Just("0")], prop::collection::vec(piece, 0..6))
        .prop_map(|(method, target, minor, pieces)| {
            format!("{method} {target} HTTP/1.{minor}\r\nHost: a\r\n{}\r\n", pieces.concat()).into_bytes()
        })
}

/// Compares an accepted head with the reading of the next parser.
fn agrees_with_httparse(head: &[u8]) -> Result<(), TestCaseError> {
    let Ok(checked) = check(head) else { return Ok(()) };
    let forwarded = checked.rewrite(BytesMut::from(head));
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(&forwarded).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(parsed, httparse::Status::Complete(forwarded.len()));
    prop_assert!(request.path.is_some_and(|path| path.starts_with('/')));
    let values = |name: &str| -> Vec<&[u8]> {
        request
            .headers
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
            .collect()
    };
    prop_assert_eq!(values("host").len(), 1);
    prop_assert_eq!(values("upgrade").len(), usize::from(checked.upgrade == Some(Upgrade::WebSocket)));
    let lengths: Vec<u64> = values("content-length")
        .into_iter()
        .map(|value| std::str::from_utf8(value).expect("digits").parse().expect("a number"))
        .collect();
    let is_chunked = values("transfer-encoding").len() == 1;
    let framing = match (is_chunked, lengths.as_slice()) {
        (true, []) => Framing::Chunked,
        (false, [] | [0]) => Framing::None,
        (false, [length]) => Framing::Length(*length),
        _ => return Err(TestCaseError::fail("two framings")),
    };
    prop_assert_eq!(checked.framing, framing);
    Ok(())
}

proptest! {
    #[test]
    fn whatever_is_accepted_has_one_reading(head in near_heads()) {
        agrees_with_httparse(&head)?;
    }

    #[test]
    fn changed_bytes_never_panic_and_keep_one_reading(mut head in near_heads(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        for (index, byte) in changes {
            let length = head.len();
            head[index.index(length)] = byte;
        }
        agrees_with_httparse(&head)?;
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        agrees_with_httparse(&bytes)?;
    }
}
