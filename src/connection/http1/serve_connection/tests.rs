mod harness;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use self::harness::{PATIENCE, Server, settings};
use crate::connection::connection_settings::ConnectionSettings;
use crate::connection::end_reason::EndReason;
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::http1::serve_connection::serve;

const GET: &str = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
const BY_LENGTH: &str = "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
const BY_CHUNKS: &str = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                         2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX-Auth-User: root\r\n\r\n";

#[tokio::test]
async fn serves_requests_one_after_the_other() {
    let server = Server::with_defaults().await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send(GET).await;
        let response = client.response().await;
        assert_eq!((response.status, response.body.as_str()), (200, "GET /next HTTP/1.1 body=0"));
        assert!(response.head.contains("\r\nconnection: keep-alive\r\n"));
    }
    assert_eq!(server.connections.count(), 1);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(client.response().await.head.contains("\r\nconnection: close\r\n"));
    assert!(client.is_closed().await);

    let mut old = server.connect().await;
    old.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!(old.response().await.status, 200);
    assert!(old.is_closed().await);
}

/// What a client pipelines never reaches the request before it, however the bytes are split.
#[tokio::test(flavor = "multi_thread")]
async fn keeps_pipelined_requests_apart_at_every_split() {
    let server = Server::with_defaults().await;
    for first in [GET, BY_LENGTH, BY_CHUNKS] {
        let bytes = format!("{first}{GET}\r\n{GET}");
        let is_post = first.starts_with("POST");
        for split in 0..bytes.len() {
            server.clear();
            let mut client = server.connect().await;
            let (start, end) = bytes.split_at(split);
            client.send(start).await;
            tokio::task::yield_now().await;
            client.send(end).await;
            let body = if is_post { "POST /first HTTP/1.1 body=5" } else { "GET /next HTTP/1.1 body=0" };
            assert_eq!(client.response().await.body, body, "split at {split}");
            for _ in 0..2 {
                assert_eq!(client.response().await.body, "GET /next HTTP/1.1 body=0", "split at {split}");
            }
            let seen = server.seen();
            assert_eq!(seen.len(), 3, "split at {split}");
            assert_eq!(seen[0].body, if is_post { b"hello".as_slice() } else { b"" });
            assert!(!format!("{seen:?}").contains("X-Auth-User"), "a trailer got through");
        }
    }
}

#[tokio::test]
async fn takes_a_request_byte_by_byte() {
    let server = Server::with_defaults().await;
    for request in [GET, BY_LENGTH, BY_CHUNKS] {
        let mut client = server.connect().await;
        for byte in request.bytes() {
            client.send([byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.response().await.status, 200);
    }
}

#[tokio::test]
async fn answers_a_slow_or_large_head_itself() {
    let quick = ConnectionSettings {
        header_timeout: Duration::from_secs(1),
        keep_alive_timeout: Duration::from_secs(1),
        max_header_size: 1000,
        ..settings()
    };
    let server = Server::start(quick, 1000).await;
    let mut slow = server.connect().await;
    slow.send("GET / HTTP/1.1\r\nHost:").await;
    let response = slow.response().await;
    assert_eq!(response.status, 408);
    assert!(slow.is_closed().await);

    let mut dripping = server.connect().await;
    let drip = async {
        loop {
            // Each byte comes in time, the head does not.
            if dripping.0.write_all(b"X").await.is_err() {
                break;
            }
            let mut answer = [0; 12];
            let read = tokio::time::timeout(Duration::from_millis(50), dripping.0.read(&mut answer)).await;
            if read.is_ok() {
                assert_eq!(&answer, b"HTTP/1.1 408");
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, drip).await.expect("a total deadline");

    let mut silent = server.connect().await;
    assert!(silent.is_closed().await, "nothing was asked, nothing is answered");
    let mut idle = server.connect().await;
    idle.send(GET).await;
    assert_eq!(idle.response().await.status, 200);
    assert!(idle.is_closed().await);

    for size in [950, 100_000] {
        let mut large = server.connect().await;
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(size));
        let _may_be_cut_off = large.0.write_all(head.as_bytes()).await;
        let response = large.response().await;
        assert_eq!(response.status, if head.len() > 1000 { 431 } else { 200 });
    }
    let forwarded = server.seen().into_iter().filter(|seen| seen.head.starts_with("GET / ")).count();
    assert!(forwarded <= 1);
}

#[tokio::test]
async fn refuses_with_a_problem_and_the_upstream_sees_nothing() {
    let server = Server::with_defaults().await;
    let cases: &[(&[u8], u16)] = &[
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        (b"\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/evil\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551619\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ];
    for (request, status) in cases {
        let mut client = server.connect().await;
        client.send([request, GET.as_bytes()].concat()).await;
        let response = client.response().await;
        let case = request.escape_ascii();
        assert_eq!(response.status, *status, "{case}");
        for field in [
            "content-type: application/problem+json",
            "cache-control: no-store",
            "connection: close",
            "date: ",
        ] {
            assert!(response.head.contains(&format!("\r\n{field}")), "{field} for {case}");
        }
        assert!(response.body.contains(if *status == 405 { "method_not_allowed" } else { "bad_request" }));
        assert!(client.is_closed().await, "{case}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn forwards_the_rewritten_head_only() {
    let server = Server::with_defaults().await;
    let mut client = server.connect().await;
    client.send("\r\nGET http://a/x HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    let head = server.seen()[0].head.to_ascii_lowercase();
    assert!(head.starts_with("get /x http/1.1\r\n"), "{head}");
    assert!(!head.contains("h2c") && !head.contains("http2-settings"), "{head}");
}

#[tokio::test]
async fn a_malformed_or_broken_body_does_not_complete_upstream() {
    let server = Server::with_defaults().await;
    for broken in ["5\r\nhelloX\r\n", "5\nhello\r\n0\r\n\r\n", "-5\r\n", "0\r\nX: y\n\r\n"] {
        server.clear();
        let mut client = server.connect().await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n{broken}{GET}"
            ))
            .await;
        assert_eq!(client.response().await.status, 400, "{broken:?}");
        assert!(client.is_closed().await);
        assert!(server.seen().iter().all(|seen| !seen.is_complete), "{broken:?}");
    }
    assert_eq!(*server.ended.lock().unwrap(), [EndReason::MalformedBody; 4]);
    server.clear();
    for cut in ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"] {
        let mut client = server.connect().await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{cut}")).await;
        client.0.shutdown().await.expect("half closed");
        let mut rest = Vec::new();
        let _reset_or_answer = client.0.read_to_end(&mut rest).await;
    }
    assert!(server.seen().iter().all(|seen| !seen.is_complete));
}

#[tokio::test]
async fn an_answer_without_the_body_keeps_the_connection_when_the_body_is_small() {
    let server = Server::with_defaults().await;
    let mut client = server.connect().await;
    client.send("POST /local HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
    let response = client.response().await;
    assert!(response.head.contains("\r\nconnection: keep-alive\r\n"));
    client.send(format!("GET /{GET}")).await;
    assert_eq!(client.response().await.body, "GET /next HTTP/1.1 body=0", "five bytes were the body");

    for large in ["Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = server.connect().await;
        client.send(format!("POST /local HTTP/1.1\r\nHost: a\r\n{large}\r\n1\r\n")).await;
        assert!(client.response().await.head.contains("\r\nconnection: close\r\n"));
        assert!(client.is_closed().await);
    }
}

/// A socket closed with bytes unread is reset, and the answer is lost with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_all_before_it_reads_gets_its_answer() {
    const SIZE: usize = 8 * 1024 * 1024;
    let server = Server::with_defaults().await;
    for (head, status) in [
        (format!("POST /local HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"), 401),
        (format!("POST / HTTP/1.1\r\nHost: a b\r\nContent-Length: {SIZE}\r\n\r\n"), 400),
    ] {
        let mut client = server.connect().await;
        client.send(head).await;
        client.send(vec![b'x'; SIZE]).await;
        assert_eq!(client.response().await.status, status);
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn passes_on_100_continue() {
    let server = Server::with_defaults().await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    assert_eq!(client.response().await.status, 100);
    client.send(format!("hello{GET}")).await;
    assert_eq!(client.response().await.body, "POST / HTTP/1.1 body=5");
    assert_eq!(client.response().await.body, "GET /next HTTP/1.1 body=0");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_large_uploads_in_both_framings() {
    const SIZE: usize = 64 * 1024 * 1024;
    let server = Server::with_defaults().await;
    for is_chunked in [false, true] {
        let mut client = server.connect().await;
        let framing = if is_chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {SIZE}")
        };
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")).await;
        // An odd size, so that chunks and reads never fall together.
        let piece = vec![b'x'; 50_001];
        let mut left = SIZE;
        while left > 0 {
            let length = left.min(piece.len());
            if is_chunked {
                client.send(format!("{length:x}\r\n")).await;
            }
            client.send(&piece[..length]).await;
            if is_chunked {
                client.send("\r\n").await;
            }
            left -= length;
        }
        client.send(if is_chunked { format!("0\r\n\r\n{GET}") } else { GET.to_owned() }).await;
        assert_eq!(client.response().await.body, format!("POST / HTTP/1.1 body={SIZE}"));
        assert_eq!(client.response().await.status, 200);
    }
}

#[tokio::test]
async fn an_upgrade_makes_the_connection_transparent() {
    let server = Server::with_defaults().await;
    let handshake = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    };
    let mut client = server.connect().await;
    // Sent too early on purpose: nothing of it may go up before the 101.
    client.send(format!("{}early", handshake("/ws"))).await;
    assert_eq!(client.response().await.status, 101);
    client.send("\x00\u{7f} late").await;
    let mut echoed = [0; 12];
    tokio::time::timeout(PATIENCE, client.0.read_exact(&mut echoed)).await.expect("in time").expect("echoed");
    assert_eq!(&echoed, b"early\x00\x7f late");

    // Refused: the connection speaks HTTP on, and what was sent early is a request.
    let mut client = server.connect().await;
    client.send(format!("{}{GET}", handshake("/no"))).await;
    assert_eq!(client.response().await.body, "GET /no HTTP/1.1 body=0");
    assert_eq!(client.response().await.body, "GET /next HTTP/1.1 body=0");

    let mut idle = server.connect().await;
    idle.send(handshake("/ws?idle")).await;
    assert_eq!(idle.response().await.status, 101);
    assert_eq!(idle.rest().await, b"\x88\x06\x03\xe9idle");
    assert_eq!(*server.ended.lock().unwrap(), [EndReason::Idle]);
}

#[tokio::test]
async fn ends_a_wait_for_the_app_so_that_the_gateway_can_answer() {
    let server = Server::with_defaults().await;
    for request in [
        "GET /slow?deadline HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "POST /slow?deadline HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf".to_owned(),
        format!("GET /slow?deadline HTTP/1.1\r\nHost: a\r\n\r\n{GET}"),
    ] {
        let mut client = server.connect().await;
        client.send(request).await;
        assert_eq!(client.response().await.status, 504);
        assert!(client.is_closed().await);
    }
    assert_eq!(*server.ended.lock().unwrap(), [EndReason::ResponseTimeout; 3]);
}

#[tokio::test]
async fn refuses_connections_beyond_the_cap() {
    let server = Server::start(settings(), 2).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    let (begin, end) = BY_LENGTH.split_at(BY_LENGTH.len() - 1);
    for client in [&mut first, &mut second] {
        client.send(GET).await;
        assert_eq!(client.response().await.status, 200);
        client.send(begin).await;
    }
    while server.seen().len() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut third = server.connect().await;
    assert!(third.is_closed().await);
    first.send(end).await;
    assert_eq!(first.response().await.status, 200, "the living stay");
    drop(second);
    tokio::time::timeout(PATIENCE, async {
        while server.connections.count() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("a place is given up");
    let mut fourth = server.connect().await;
    fourth.send(GET).await;
    assert_eq!(fourth.response().await.status, 200);
}

#[tokio::test]
async fn a_panic_ends_one_connection() {
    let server = Server::with_defaults().await;
    let mut other = server.connect().await;
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.is_closed().await);
    other.send(GET).await;
    assert_eq!(other.response().await.status, 200);
    assert_eq!(server.connections.count(), 1);
}

#[tokio::test]
async fn shuts_down_idle_connections_at_once_and_others_after_their_answer() {
    let server = Server::with_defaults().await;
    let mut idle = server.connect().await;
    idle.send(GET).await;
    assert_eq!(idle.response().await.status, 200);
    let mut fresh = server.connect().await;
    let mut busy = server.connect().await;
    busy.send("POST /busy HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
    let mut stuck = server.connect().await;
    stuck.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while server.seen().len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.shutdown.send(true).expect("listened to");
    assert!(idle.is_closed().await);
    assert!(fresh.is_closed().await);
    busy.send("hello").await;
    assert_eq!(busy.response().await.body, "POST /busy HTTP/1.1 body=5");
    assert!(busy.is_closed().await);
    assert_eq!(server.connections.count(), 1);
    server.connections.end_all(EndReason::Shutdown);
    tokio::time::timeout(PATIENCE, server.connections.drained()).await.expect("all ended");
}

/// Claims that the connection is good for another request without having read a body.
#[derive(Default)]
struct Careless(AtomicUsize);

#[async_trait]
impl HttpServerApp for Careless {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.0.fetch_add(1, Ordering::SeqCst);
        session.read_request().await.expect("a request");
        Some(ReusedHttpStream::new(Box::new(duplex(1).0), None))
    }
}

#[tokio::test]
async fn a_half_read_message_never_leaves_its_rest_to_the_next_request() {
    for (request, requests) in [("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 2), (BY_LENGTH, 1), (BY_CHUNKS, 1)] {
        let app = Arc::new(Careless::default());
        let (mut client, server) = duplex(1024);
        client.write_all(format!("{request}{GET}").as_bytes()).await.expect("room");
        client.shutdown().await.expect("half closed");
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let control = Arc::new(ExchangeControl::new(nowhere, false));
        serve(Box::new(server), &app, &settings(), control).await;
        assert_eq!(app.0.load(Ordering::SeqCst), requests, "{request:?}");
    }
}

#[tokio::test]
async fn a_connection_waits_from_the_end_of_a_request_to_the_first_byte_of_the_next() {
    async fn until(is_so: impl Fn() -> bool) {
        let waiting = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
    }
    let (app, nowhere) = (Arc::new(Careless::default()), SocketAddr::from(([127, 0, 0, 1], 1)));
    let (mut client, stream) = duplex(1024);
    let control = Arc::new(ExchangeControl::new(nowhere, false));
    let (served, of_connection) = (Arc::clone(&app), Arc::clone(&control));
    tokio::spawn(async move { serve(Box::new(stream), &served, &settings(), of_connection).await });
    let waits = || control.waiting_since().is_some();
    for requests in 1..4 {
        let (first, rest) = GET.split_at(1);
        client.write_all(first.as_bytes()).await.expect("room");
        until(|| !waits()).await;
        client.write_all(rest.as_bytes()).await.expect("room");
        until(|| app.0.load(Ordering::SeqCst) == requests && waits()).await;
        // An empty line is no request yet.
        client.write_all(b"\r\n").await.expect("room");
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(waits());
    }
    assert_eq!(ExchangeControl::new(nowhere, false).waiting_since(), None, "fresh");
}
