mod app;
mod harness;
mod lifecycle;
mod refused;
mod streams;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::harness::{PATIENCE, Server};
use crate::connection::exchange_end::EndReason;

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

/// A pipelined request never reaches the request before it, however the bytes are split.
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
