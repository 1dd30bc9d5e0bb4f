//! Refused heads of HTTP/1.1.

use std::collections::BTreeMap;

use serde_json::json;
use tokio::net::TcpStream;

use super::gateway;
use crate::support::client::receive;
use crate::support::wire::Wire;
use crate::support::{HOST, patiently};

fn request_line(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: {HOST}\r\n\r\n").into_bytes()
}

fn with_fields(fields: &str) -> Vec<u8> {
    format!("POST /open/x HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n\r\n").into_bytes()
}

/// Bytes of HTTP/1.1, and the status, the code and the reason of their answer.
type Case = (Vec<u8>, u16, &'static str, &'static str);

fn bad(bytes: Vec<u8>) -> Case {
    (bytes, 400, "bad_request", "malformed_request")
}

fn path(bytes: Vec<u8>) -> Case {
    (bytes, 400, "bad_request", "path_character")
}

fn large(bytes: Vec<u8>) -> Case {
    (bytes, 431, "header_too_large", "header_too_large")
}

fn targets() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "/x?q=\"a\"",
        "/open/x?<",
        "/open/x?a=b>c",
        "http://store.localhost/x?\"",
        "/x?\u{e9}",
        "/\u{e9}",
        "/x#y",
        "/x?#",
        "*",
        "x",
        "http://forums.localhost/x",
        "ftp://store.localhost/x",
        "//\u{7f}",
    ]
    .map(|target| bad(request_line(&format!("GET {target} HTTP/1.1"))))
    .into();
    for byte in "<>`\"{}|^\\".chars() {
        cases.push(path(request_line(&format!("GET /open/{byte} HTTP/1.1"))));
    }
    for byte in [0_u8, 1, 0x0b, 0x7f, 0x80, 0xff] {
        cases.push(bad(
            [b"GET /open/x?".as_slice(), &[byte], b" HTTP/1.1\r\nHost: store.localhost\r\n\r\n"].concat()
        ));
    }
    cases
}

fn lines() -> Vec<Case> {
    let request_lines = ["GET / HTTP/1.2", "GET / HTTP/2.0", "GET /", "GET  / HTTP/1.1", "G\"T / HTTP/1.1"]
        .map(request_line)
        .map(bad);
    let fields = [
        "X Y: 1",
        "X\"Y: 1",
        "X : 1",
        ": 1",
        "X",
        "X: 1\r\n 2",
        "X: \u{1}",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Host: a",
        "Connection: host",
        "Upgrade: websocket\r\nConnection: upgrade",
    ]
    .map(with_fields)
    .map(bad);
    let heads = [
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n".as_slice(),
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\nHost: store.localhost\n\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
    .map(|bytes| bad(bytes.to_vec()));
    [request_lines.as_slice(), &fields, &heads].concat()
}

/// Returns heads above the limit, in each place where one can be too large.
fn sizes() -> Vec<Case> {
    let frame = with_fields("X: ").len();
    vec![
        large(request_line(&format!("GET /open/{} HTTP/1.1", "x".repeat(70_000)))),
        large(request_line(&format!("GET /open/x?{} HTTP/1.1", "x".repeat(70_000)))),
        large(with_fields(&format!("{}: 1", "x".repeat(70_000)))),
        large(with_fields(&"X: 1\r\n".repeat(100))),
        large(with_fields(&format!("X: {}", "y".repeat(1024 * 1024 - frame)))),
        large(with_fields(&format!("X: {}", "y".repeat(1024 * 1024 + 1 - frame)))),
    ]
}

/// Returns other protocols, and requests that are well-formed and refused all the same.
fn others() -> Vec<Case> {
    let mut cases = Vec::new();
    // A handshake of TLS where none is spoken.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    cases.push((hello, 400, "bad_request", "tls_on_http_port"));
    let proxied =
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\nHost: store.localhost\r\n\r\n".to_vec();
    cases.push((proxied, 400, "bad_request", "proxy_protocol"));
    for method in ["TRACE", "CONNECT", "trace"] {
        cases.push((request_line(&format!("{method} / HTTP/1.1")), 405, "method_not_allowed", "method"));
    }
    cases.push((b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec(), 404, "unknown_host", "unknown_host"));
    cases.push((b"GET / HTT".to_vec(), 408, "request_timeout", "request_timeout"));
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refused_head_of_http_1_1_is_answered_logged_and_counted() {
    let gateway = gateway("[server.limits]\nmax_header_size = '1MiB'\nheader_timeout = '5s'").await;
    let (mut told, mut counted) = (Vec::new(), BTreeMap::new());
    for (bytes, status, code, reason) in [targets(), lines(), sizes(), others()].concat() {
        let shown = bytes.get(..80).unwrap_or(&bytes).escape_ascii().to_string();
        let mut wire = Wire::new(TcpStream::connect(gateway.program.address).await.expect("it listens"));
        // It may be answered before its end.
        let _ = wire.send(&bytes).await;
        let answer = patiently(&shown, receive(&mut wire, "GET", usize::MAX)).await;
        let answer = answer.unwrap_or_else(|| panic!("no answer to {shown}"));
        answer.assert_problem(status, code);
        assert_eq!(answer.header("server"), None, "{shown}");
        let id = answer.header("x-request-id").unwrap_or_else(|| panic!("no id for {shown}"));
        told.push((id.to_owned(), status, reason, shown));
        // These paths are refused once the app is known.
        let is_of_app = reason == "path_character" && !bytes.iter().any(|byte| b"<>`".contains(byte));
        if !is_of_app {
            *counted.entry(reason.to_owned()).or_insert(0) += 1;
        }
    }
    gateway.assert_counted(&counted).await;
    for (id, ..) in &told {
        gateway.program.logged(&["\"access\"", id]).await;
    }
    let lines = gateway.lines().await;
    assert_eq!(lines.len(), told.len());
    for (id, status, reason, shown) in told {
        let line = lines.iter().find(|line| line["request_id"] == *id).expect("a line");
        assert_eq!((&line["status"], &line["reason"]), (&json!(status), &json!(reason)), "{shown}");
    }
}
