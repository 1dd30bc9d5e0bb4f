//! Refused heads of HTTP/2.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Gateway, gateway};
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Fate, Frames, HEADERS, PROTOCOL_ERROR, block, frame, get,
    with,
};
use crate::support::{HOST, Reply, patiently};

/// Returns the body of the answer to a request.
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

/// The status, if there is an answer, and the reason.
type Refused = (Option<u16>, &'static str);

/// Sends heads that the gateway refuses with a problem.
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

/// Sends heads that the HTTP/2 library refuses without an answer.
async fn by_the_layer(gateway: &Gateway) -> Vec<Refused> {
    let mut expected = Vec::new();
    // It resets the stream.
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
    // It ends the connection.
    for fields in [with(get("/open/x"), &[("X", "y")]), with(get("/open/x"), &[(":user", "root")])] {
        let mut frames = gateway.frames().await;
        frames.request(END_STREAM, 1, &fields).await;
        assert_eq!(frames.fate(1).await, Fate::GoAway(PROTOCOL_ERROR), "{fields:?}");
        expected.push((None, "malformed_request"));
    }
    expected
}

/// Sends heads that the HTTP/2 library refuses with a bare answer, each time in other bytes.
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

/// Sends more requests at once than the gateway allows.
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
