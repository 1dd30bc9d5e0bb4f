//! Whatever is refused, and by whom: with an answer of ours where one can be given, a line in the log, and a count.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::binary::Program;
use crate::http2::HOST;
use crate::support::certificates::Authority;
use crate::support::client::receive;
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Fate, Frames, HEADERS, PROTOCOL_ERROR, block, frame,
};
use crate::support::port::Port;
use crate::support::wire::Wire;
use crate::support::{Browser, Reply, World, patiently};

/// A process of its own: what it counts is of this test alone.
struct Gateway {
    program: Program,
    tls: SocketAddr,
    authority: Authority,
    _port: Port,
    builder: crate::support::gateway::Builder,
}

async fn gateway(more: &str) -> Gateway {
    let authority = Authority::new();
    authority.certify("store", &[HOST]);
    let port = Port::reserve();
    let tls = port.address();
    let server = authority.server(&["store"]).replace("127.0.0.1:0", &tls.to_string());
    let builder = World::builder().await.lay_over(&server);
    let builder = builder.lay_over(&format!("[server.log]\nformat = 'json'\nlevel = 'error'\n{more}"));
    let (program, builder) = Program::start_quietly(builder).await;
    Gateway { program, tls, authority, _port: port, builder }
}

impl Gateway {
    fn browser(&self) -> Browser {
        Browser::new(self.program.address, HOST)
    }

    async fn frames(&self) -> Frames {
        Frames::connect(&self.authority, self.tls, &[]).await
    }

    /// Waits until the heads that were refused are counted as these.
    async fn assert_counted(&self, expected: &BTreeMap<String, usize>) {
        let mut found = BTreeMap::new();
        for _ in 0..200 {
            let metrics = Browser::new(self.program.admin, "localhost").get("/metrics").await.text();
            let lines = metrics.lines().filter_map(|line| {
                let line = line.strip_prefix("portcullis_refused_heads_total{reason=\"")?;
                let (reason, count) = line.split_once("\"} ")?;
                Some((reason.to_owned(), count.parse().expect("a number")))
            });
            found = lines.collect();
            if found == *expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(found, *expected);
    }

    /// Ends it; all lines of the access log.
    async fn lines(self) -> Vec<Value> {
        let log = self.program.end().await;
        drop(self.builder);
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["target"] == "access").collect()
    }
}

fn request_line(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: {HOST}\r\n\r\n").into_bytes()
}

fn with_fields(fields: &str) -> Vec<u8> {
    format!("POST /open/x HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n\r\n").into_bytes()
}

type Case = (Vec<u8>, u16, &'static str, &'static str);

/// Bytes of HTTP/1.1, and the status, the code and the reason of what they get.
fn cases() -> Vec<Case> {
    let bad = |bytes| (bytes, 400, "bad_request", "malformed_request");
    let path = |bytes| (bytes, 400, "bad_request", "path_character");
    let large = |bytes| (bytes, 431, "header_too_large", "header_too_large");
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
    cases.extend(
        ["GET / HTTP/1.2", "GET / HTTP/2.0", "GET /", "GET  / HTTP/1.1", "G\"T / HTTP/1.1"]
            .map(request_line)
            .map(bad),
    );
    cases.extend(
        [
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
        .map(bad),
    );
    cases.push(bad(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_vec()));
    cases.push(bad(b"GET / HTTP/1.1\r\n\r\n".to_vec()));
    cases.push(bad(b"GET / HTTP/1.1\nHost: store.localhost\n\n".to_vec()));
    cases.push(bad(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()));
    // A handshake of TLS where none is spoken.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    cases.push((hello, 400, "bad_request", "tls_on_http_port"));
    let proxied =
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\nHost: store.localhost\r\n\r\n".to_vec();
    cases.push((proxied, 400, "bad_request", "proxy_protocol"));
    cases.push(large(request_line(&format!("GET /open/{} HTTP/1.1", "x".repeat(70_000)))));
    cases.push(large(request_line(&format!("GET /open/x?{} HTTP/1.1", "x".repeat(70_000)))));
    cases.push(large(with_fields(&format!("{}: 1", "x".repeat(70_000)))));
    cases.push(large(with_fields(&"X: 1\r\n".repeat(100))));
    let frame = with_fields("X: ").len();
    cases.push(large(with_fields(&format!("X: {}", "y".repeat(1024 * 1024 - frame)))));
    cases.push(large(with_fields(&format!("X: {}", "y".repeat(1024 * 1024 + 1 - frame)))));
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
    for (bytes, status, code, reason) in cases() {
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

fn get(path: &str) -> Vec<(&str, &str)> {
    vec![(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", path)]
}

fn with<'a>(mut fields: Vec<(&'a str, &'a str)>, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    fields.extend(more);
    fields
}

/// What is answered: the body of the answer to a request.
async fn body(frames: &mut Frames, stream: u32) -> Value {
    let mut body = Vec::new();
    while let Some(frame) = frames.next().await {
        if frame.kind == DATA && frame.stream == stream {
            body.extend(frame.payload);
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
    }
    serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {}", body.escape_ascii()))
}

/// Status and reason.
type Refused = (Option<u16>, &'static str);

/// With a problem.
async fn by_us(gateway: &Gateway) -> Vec<Refused> {
    let mut expected = Vec::new();
    for (fields, status, code, reason) in [
        (
            vec![(":method", "GET"), (":scheme", "https"), (":path", "/open/x")],
            400,
            "bad_request",
            "malformed_request",
        ),
        (with(get("/open/x"), &[("host", "forums.localhost")]), 400, "bad_request", "malformed_request"),
        (with(get("/open/x"), &[("host", HOST), ("host", HOST)]), 400, "bad_request", "malformed_request"),
        (
            with(get("/open/x"), &[("content-length", "0"), ("content-length", "0")]),
            400,
            "bad_request",
            "malformed_request",
        ),
        (get("/open/\u{e9}"), 400, "bad_request", "malformed_request"),
        (get("/open/x?\u{e9}"), 400, "bad_request", "malformed_request"),
        (get("*"), 400, "bad_request", "malformed_request"),
        (
            with(get("/open/x")[..2].to_vec(), &[(":authority", "a@store.localhost"), (":path", "/")]),
            400,
            "bad_request",
            "malformed_request",
        ),
        (
            with(get("/open/x")[..1].to_vec(), &[(":scheme", "http"), (":authority", HOST), (":path", "/")]),
            400,
            "bad_request",
            "malformed_request",
        ),
        (with(vec![(":method", "TRACE")], &get("/open/x")[1..]), 405, "method_not_allowed", "method"),
        (vec![(":method", "CONNECT"), (":authority", HOST)], 405, "method_not_allowed", "method"),
        (with(get("/open/x"), &[("x", &"y".repeat(5000))]), 431, "header_too_large", "header_too_large"),
        (
            with(get("/open/x")[..2].to_vec(), &[(":authority", "a.example"), (":path", "/")]),
            404,
            "unknown_host",
            "unknown_host",
        ),
    ] {
        let mut frames = gateway.frames().await;
        frames.request(END_STREAM, 1, &fields).await;
        let body = body(&mut frames, 1).await;
        assert_eq!((&body["status"], &body["code"]), (&json!(status), &json!(code)), "{fields:?}: {body}");
        expected.push((Some(status), reason));
    }
    expected
}

/// Without a word.
async fn by_the_layer(gateway: &Gateway) -> Vec<Refused> {
    let mut expected = Vec::new();
    // By the HTTP/2 layer, which resets the stream.
    for fields in [
        get("/open/x?q=\"a\""),
        get("/open/x?<"),
        get("/open/`"),
        get("/open/x y"),
        get("open/x"),
        with(get("/open/x"), &[(":path", "/")]),
        with(get("/open/x"), &[("connection", "close")]),
        with(get("/open/x"), &[("te", "gzip")]),
        with(get("/open/x"), &[("content-length", "x")]),
        with(get("/open/x"), &[("content-length", "5")]),
        get("/open/x")[1..].to_vec(),
    ] {
        let mut frames = gateway.frames().await;
        // Together with one that is well: neither is taken for the other.
        let [bad, good] = [(1, &fields), (3, &get("/open/next"))]
            .map(|(stream, fields)| frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields)));
        frames.send_all(&[bad, good]).await;
        let mut fates = BTreeMap::new();
        while fates.len() < 2 {
            let frame = frames.next().await.expect("a connection that goes on");
            if frame.stream != 0 && (frame.kind != DATA) {
                fates.entry(frame.stream).or_insert(frame.kind);
            }
        }
        assert_eq!(fates, BTreeMap::from([(1, 3), (3, HEADERS)]), "{fields:?}");
        expected.push((None, "malformed_request"));
    }
    // By the HTTP/2 layer, which ends the connection.
    for fields in [with(get("/open/x"), &[("X", "y")]), with(get("/open/x"), &[(":user", "root")])] {
        let mut frames = gateway.frames().await;
        frames.request(END_STREAM, 1, &fields).await;
        assert_eq!(frames.fate(1).await, Fate::GoAway(PROTOCOL_ERROR), "{fields:?}");
        expected.push((None, "malformed_request"));
    }
    expected
}

/// With a bare answer, each time in other bytes.
async fn by_the_layer_with_an_answer(gateway: &Gateway) -> Vec<Refused> {
    let mut expected = Vec::new();
    let mut frames = gateway.frames().await;
    let (start, field) = (block(&get("/open/x")), block(&[("x", &"y".repeat(12_000))]));
    for stream in [1, 3, 5] {
        let end = if stream == 3 { 0 } else { END_STREAM };
        let large = [
            frame(HEADERS, end, stream, &start),
            frame(CONTINUATION, 0, stream, &field),
            frame(CONTINUATION, END_HEADERS, stream, &field),
        ];
        frames.send_all(&large).await;
        patiently("an answer", async {
            while frames.next().await.expect("a connection that goes on").stream != stream {}
        })
        .await;
        expected.push((Some(431), "header_too_large"));
    }
    expected
}

/// More at once than may be.
async fn one_too_many(gateway: &Gateway) -> Vec<Refused> {
    let mut expected = Vec::new();
    gateway.builder.store.on("/open/slow", Reply::after(300, Reply::with_headers("")));
    let mut frames = gateway.frames().await;
    let all = (0..150)
        .map(|number| frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &block(&get("/open/slow"))));
    frames.send_all(&all.collect::<Vec<_>>()).await;
    let mut ended = 0;
    while ended < 150 {
        let frame = frames.next().await.expect("a connection that goes on");
        match frame.kind {
            HEADERS => ended += 1,
            3 => {
                ended += 1;
                expected.push((None, "too_many_streams"));
            }
            _ => {}
        }
    }
    expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refused_head_of_http_2_is_logged_and_counted_whoever_refuses_it() {
    let gateway = gateway("[server.limits]\nmax_header_size = '4KiB'").await;
    let mut expected = by_us(&gateway).await;
    expected.extend(by_the_layer(&gateway).await);
    expected.extend(by_the_layer_with_an_answer(&gateway).await);
    expected.extend(one_too_many(&gateway).await);
    assert!(expected.contains(&(None, "too_many_streams")));
    let mut counted = BTreeMap::new();
    for (_, reason) in &expected {
        *counted.entry((*reason).to_owned()).or_insert(0) += 1;
    }
    gateway.assert_counted(&counted).await;
    // A body that is not what its head says: the request is known.
    let mut frames = gateway.frames().await;
    let post = with(vec![(":method", "POST")], &get("/open/short")[1..]);
    frames.request(0, 1, &with(post, &[("content-length", "6")])).await;
    frames.send(DATA, END_STREAM, 1, b"hello").await;
    assert_eq!(frames.fate(1).await, Fate::Reset(PROTOCOL_ERROR));
    gateway.program.logged(&["\"access\"", "/open/short", "malformed_request", "\"store\""]).await;

    let lines = gateway.lines().await;
    let mut found: Vec<(Option<u64>, String)> = lines
        .iter()
        .filter(|line| line["path"] != "/open/short")
        .map(|line| (line["status"].as_u64(), line["reason"].as_str().expect("a reason").to_owned()))
        .collect();
    let mut expected: Vec<(Option<u64>, String)> =
        expected.into_iter().map(|(status, reason)| (status.map(u64::from), reason.to_owned())).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_refused_is_not_counted_as_such() {
    let gateway = gateway("").await;
    gateway.browser().get("/open/x?a=b;c={|}~^`\\'").await.assert_status(200);
    let mut frames = gateway.frames().await;
    for stream in [1, 3, 5] {
        frames.request(0, stream, &with(vec![(":method", "POST")], &get("/open/x")[1..])).await;
        frames.send(DATA, 0, stream, b"hello").await;
        // Trailers begin as a request does.
        frames.request(END_STREAM, stream, &[("x", "y")]).await;
        assert_eq!(frames.fate(stream).await, Fate::Status(200));
    }
    frames.request(END_STREAM, 7, &get("/open/x?a=b;c={|}~^`\\'")).await;
    assert_eq!(frames.fate(7).await, Fate::Status(200));
    gateway.assert_counted(&BTreeMap::new()).await;
    assert_eq!(gateway.lines().await, Vec::<Value>::new());
}
