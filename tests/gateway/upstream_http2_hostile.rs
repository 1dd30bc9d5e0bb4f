//! Apps over HTTP/2 that are hostile: their frames, written by hand.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, SETTINGS, frame};
use crate::support::http2::{Http2App, echo};
use crate::support::listening::Listening;
use crate::support::wire::Wire;
use crate::support::{Request, World, store_at};

/// A literal field without indexing, name and value as they are (RFC 7541 section 6.2.2); both shorter than 127 bytes.
fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let length = |text: &[u8]| u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap();
    [&[0, length(name)], name, &[length(value)], value].concat()
}

const PUSH_PROMISE: u8 = 5;

/// `:status: 200` in the static table.
const OK: &[u8] = &[0x88];

/// Reads until the first request has come, which is behind the preface and SETTINGS. Returns `false` at the
/// connection's end.
async fn has_request(wire: &mut Wire) -> bool {
    let mut seen = Vec::new();
    while !seen.windows(9).any(|head| head[3] == HEADERS && head[5..] == [0, 0, 0, 1]) {
        if wire.stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}

/// An app that answers the first request of every connection with these bytes, again and again if so told, and keeps
/// the connection open.
async fn hostile(bytes: Vec<u8>, is_endless: bool) -> Listening {
    Listening::start(move |mut wire, _| {
        let bytes = bytes.clone();
        async move {
            let _ = wire.stream.write_all(&frame(SETTINGS, 0, 0, &[])).await;
            if !has_request(&mut wire).await {
                return;
            }
            while wire.stream.write_all(&bytes).await.is_ok() && is_endless {}
            let mut sink = [0; 4096];
            while wire.stream.read(&mut sink).await.unwrap_or(0) > 0 {}
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_app_is_a_502() {
    let head =
        |fields: &[Vec<u8>]| frame(HEADERS, END_HEADERS | END_STREAM, 1, &[OK, &fields.concat()].concat());
    let large: Vec<u8> = std::iter::repeat_n(field(&[b'a'; 100], &[b'b'; 100]), 60).flatten().collect();
    let many_frames = std::iter::repeat_n(frame(CONTINUATION, 0, 1, &large), 20_000).flatten();
    let more = frame(CONTINUATION, 0, 1, &large);
    let end = frame(CONTINUATION, END_HEADERS, 1, &large);
    let heavy = frame(HEADERS, END_STREAM, 1, OK)
        .into_iter()
        .chain(std::iter::repeat_n(more, 130).flatten())
        .chain(end);
    let pushed = [&4_u32.to_be_bytes(), [0x82].as_slice()].concat();
    for (what, bytes) in [
        ("a header that ends its line", head(&[field(b"x-a", b"1\r\nset-cookie: a=b")])),
        ("a NUL", head(&[field(b"x-a", b"1\0")])),
        ("upper case", head(&[field(b"X-A", b"1")])),
        ("`connection`", head(&[field(b"connection", b"close")])),
        ("`transfer-encoding`", head(&[field(b"transfer-encoding", b"chunked")])),
        ("two lengths", head(&[field(b"content-length", b"1"), field(b"content-length", b"2")])),
        ("a length and no body", head(&[field(b"content-length", b"5")])),
        ("no status", frame(HEADERS, END_HEADERS | END_STREAM, 1, &field(b"x-a", b"1"))),
        ("a body before its head", frame(DATA, END_STREAM, 1, b"body")),
        ("a push", frame(PUSH_PROMISE, END_HEADERS, 1, &pushed)),
        (
            "what is no HPACK",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ),
        ("endless CONTINUATION", frame(HEADERS, 0, 1, OK).into_iter().chain(many_frames).collect()),
        ("a head of 1.6 MiB", heavy.collect()),
        ("HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
    ] {
        let app = hostile(bytes, false).await;
        let world = World::with(&store_at(&format!("h2c://{}", app.address()))).await;
        let answer = world.browser().send(Request::post("/open/page").form("a=1")).await;
        assert_eq!(
            (answer.status(), answer.json()["code"].as_str()),
            (502, Some("upstream_unavailable")),
            "{what}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_informational_answers_end_in_504() {
    let early = frame(HEADERS, END_HEADERS, 1, &field(b":status", b"103"));
    let app = hostile(early, true).await;
    let toml = format!(
        "[apps.store]\nupstreams = ['h2c://{}']\n[apps.store.timeouts]\nresponse = '1s'\n",
        app.address()
    );
    let world = World::with(&toml).await;
    world.browser().get("/open/page").await.assert_problem(504, "upstream_timeout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_beyond_a_goaway_goes_again_and_one_within_it_does_not() {
    let goaway = |last: u32| frame(GOAWAY, 0, 0, &[last.to_be_bytes(), 0_u32.to_be_bytes()].concat());
    for (last, expected) in [(0, 200), (1, 502)] {
        let good = Http2App::start(echo).await;
        let end = goaway(last);
        let to = good.listening().address();
        // The first connection ends so, further ones reach the app.
        let front = Listening::start(move |mut wire, number| {
            let end = end.clone();
            async move {
                if number > 1 {
                    let Ok(mut far) = tokio::net::TcpStream::connect(to).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut wire.stream, &mut far).await;
                    return;
                }
                let _ = wire.stream.write_all(&frame(SETTINGS, 0, 0, &[])).await;
                if !has_request(&mut wire).await {
                    return;
                }
                let _ = wire.stream.write_all(&end).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        let world = World::with(&store_at(&format!("h2c://{}", front.address()))).await;
        let answer = world.browser().send(Request::post("/open/page").form("a=1")).await;
        assert_eq!(answer.status(), expected, "last stream {last}");
        assert_eq!(good.seen().len(), usize::from(expected == 200));
    }
}
