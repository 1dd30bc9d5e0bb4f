//! Streams that are ended in the middle, by the end of their session or of the server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::GET;
use super::harness::{Client, PATIENCE, Server};
use crate::connection::exchange_end::EndReason;

const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const SESSION_ENDED: &[u8] = b"\x88\x0f\x11\x31session ended";
const SERVER_STOPS: &[u8] = b"\x88\x0e\x03\xe9server stops";

/// The upstream's side. Returns once the other side is gone.
pub(crate) async fn serve(
    head: &str,
    stream: &mut BufReader<TcpStream>,
    go_on: &Notify,
) -> Option<io::Result<()>> {
    let path = head.split(['?', ' ']).nth(1)?;
    Some(match path {
        // A frame's first half; told to go on, its other half and another frame.
        "/half" => half(stream, go_on).await,
        "/events" => send_and_wait(stream, &[CHUNKED, b"9\r\ndata: 1\n\n\r\n"].concat()).await,
        "/busy-events" => flood(stream, CHUNKED, b"9\r\ndata: 1\n\n\r\n", 1).await,
        "/flood-events" => flood(stream, CHUNKED, b"9\r\ndata: 1\n\n\r\n", 5000).await,
        "/flood-frames" => flood(stream, SWITCH, b"\x82\x04abcd", 5000).await,
        // Frames in pieces of any size, whatever the client sends.
        "/busy-frames" => busy_frames(stream).await,
        // Upgrades, and reads nothing more.
        "/deaf" => {
            let _gone = stream.write_all(SWITCH).await;
            go_on.notified().await;
            Ok(())
        }
        _ => return None,
    })
}

async fn half(stream: &mut BufReader<TcpStream>, go_on: &Notify) -> io::Result<()> {
    stream.write_all(&[SWITCH, b"\x82\x08half"].concat()).await?;
    tokio::select! {
        () = go_on.notified() => {}
        _end = stream.read_u8() => return Err(io::ErrorKind::UnexpectedEof.into()),
    }
    send_and_wait(stream, b"HALF\x81\x04more").await
}

async fn busy_frames(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    stream.write_all(SWITCH).await?;
    let (mut reader, mut writer) = stream.get_mut().split();
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[1; 32]);
    let (bytes, _) = frames();
    let sending = async {
        let mut rest = &bytes[..];
        loop {
            let length = rest.len().min(1 + random.next_u32() as usize % 20_000);
            writer.write_all(&rest[..length]).await?;
            rest = if length == rest.len() { &bytes } else { &rest[length..] };
            tokio::task::yield_now().await;
        }
    };
    let mut sink = tokio::io::sink();
    tokio::select! {
        gone = sending => gone,
        _end = tokio::io::copy(&mut reader, &mut sink) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

async fn send_and_wait(stream: &mut BufReader<TcpStream>, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.read_to_end(&mut Vec::new()).await?;
    Err(io::ErrorKind::UnexpectedEof.into())
}

async fn flood(stream: &mut BufReader<TcpStream>, head: &[u8], piece: &[u8], times: usize) -> io::Result<()> {
    stream.write_all(head).await?;
    let pieces = piece.repeat(times);
    loop {
        stream.write_all(&pieces).await?;
        tokio::task::yield_now().await;
    }
}

impl Server {
    /// A client with an open WebSocket.
    async fn web_socket(&self, path: &str) -> Client {
        let mut client = self.connect().await;
        client
            .send(format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            ))
            .await;
        assert_eq!(client.response().await.status, 101);
        client
    }

    /// A client that reads an event stream.
    async fn events(&self, path: &str) -> Client {
        let mut client = self.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(client.response().await.status, 200);
        client
    }

    /// Ends the session of the last request.
    fn end_session(&self) -> bool {
        let exchange = self.exchanges.lock().unwrap().last().cloned().expect("a request");
        exchange.end(EndReason::SessionEnded)
    }

    async fn drained(&self) {
        timeout(PATIENCE, self.connections.drained()).await.expect("all closed");
    }

    async fn app_saw_end(&self) {
        let seen = async {
            while !self.seen().iter().all(|seen| seen.saw_end) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, seen).await.expect("the app is told");
    }
}

async fn echo(client: &mut Client, bytes: &[u8]) {
    client.send(bytes).await;
    let mut echoed = vec![0; bytes.len()];
    timeout(PATIENCE, client.0.read_exact(&mut echoed)).await.expect("in time").expect("echoed");
    assert_eq!(echoed, bytes);
}

#[tokio::test]
async fn an_idle_web_socket_gets_a_close_frame() {
    let server = Server::with_defaults().await;
    for (sent, expected) in [
        (&b""[..], SESSION_ENDED),
        (b"\x81\x02hi", SESSION_ENDED),
        // A fragmented exchange: control frames may come between the fragments.
        (b"\x01\x02hi", SESSION_ENDED),
        // A masked frame.
        (b"\x81\x82mask\x01\x02", SESSION_ENDED),
        // The app has closed already.
        (b"\x88\x02\x03\xe8", b""),
        // Not WebSocket frames.
        (b"garbage", b""),
    ] {
        server.clear();
        let mut client = server.web_socket("/ws").await;
        echo(&mut client, sent).await;
        assert!(server.end_session());
        assert_eq!(client.rest().await, expected, "{}", sent.escape_ascii());
        server.app_saw_end().await;
        drop(client);
        server.drained().await;
        assert!(!server.end_session(), "it is over");
    }
}

#[tokio::test]
async fn a_stop_says_going_away() {
    let server = Server::with_defaults().await;
    let mut client = server.web_socket("/ws").await;
    echo(&mut client, b"\x81\x02hi").await;
    server.connections.end_all(EndReason::Shutdown);
    assert_eq!(client.rest().await, SERVER_STOPS);
    server.app_saw_end().await;
    // The client does not close its side.
    server.drained().await;
}

#[tokio::test]
async fn a_frame_under_way_comes_to_its_end_first() {
    let server = Server::with_defaults().await;
    let mut client = server.web_socket("/half").await;
    let mut half = [0; 6];
    client.0.read_exact(&mut half).await.expect("a half");
    assert!(server.end_session());
    // What the client sends is no longer passed on, and does no harm.
    client.send(b"\x81\x80mask").await;
    tokio::task::yield_now().await;
    server.go_on.notify_one();
    assert_eq!(client.rest().await, [b"HALF", SESSION_ENDED].concat());
    server.app_saw_end().await;
}

#[tokio::test]
async fn a_frame_that_does_not_end_gets_no_close_frame() {
    let server = Server::with_defaults().await;
    for reason in [EndReason::SessionEnded, EndReason::Shutdown] {
        let mut client = server.web_socket("/half").await;
        let mut half = [0; 6];
        client.0.read_exact(&mut half).await.expect("a half");
        server.connections.end_all(reason);
        assert_eq!(client.rest().await, b"");
        server.drained().await;
        server.app_saw_end().await;
    }
}

/// Some frames, and where each ends.
fn frames() -> (Vec<u8>, Vec<usize>) {
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[2; 32]);
    let (mut bytes, mut ends) = (Vec::new(), vec![0]);
    while bytes.len() < 300_000 {
        let length = match random.next_u32() % 4 {
            0 => random.next_u32() % 126,
            1 => random.next_u32() % 5000,
            2 => random.next_u32() % 70_000,
            _ => 0,
        };
        bytes.extend_from_slice(&[0x82, 127]);
        bytes.extend_from_slice(&u64::from(length).to_be_bytes());
        bytes.resize(bytes.len() + length as usize, 0x88);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_web_socket_ends_between_two_frames() {
    let server = Server::with_defaults().await;
    let (bytes, ends) = frames();
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[3; 32]);
    for round in 0..30 {
        let client = server.web_socket("/busy-frames").await;
        let end_at = random.next_u32() as usize % (2 * bytes.len());
        let mut received = client.0.buffer().to_vec();
        let (mut reader, mut writer) = client.0.into_inner().into_split();
        let sending = tokio::spawn(async move {
            while writer.write_all(&[b'x'; 1000]).await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        let receiving = async {
            while received.len() <= end_at {
                assert_ne!(reader.read_buf(&mut received).await.expect("a frame"), 0, "closed early");
            }
            assert!(server.end_session());
            reader.read_to_end(&mut received).await.expect("no reset");
        };
        timeout(PATIENCE, receiving).await.expect("an end");
        sending.abort();
        drop(reader);
        let sent = received.strip_suffix(SESSION_ENDED).expect("a Close frame at the end");
        assert!(sent.iter().eq(bytes.iter().cycle().take(sent.len())), "round {round}");
        assert!(ends.contains(&(sent.len() % bytes.len())), "round {round}: inside a frame");
        server.drained().await;
    }
}

/// Without a call from the stream below: the app takes nothing, or the client takes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_stream_ends_too() {
    let server = Server::with_defaults().await;
    let mut deaf = server.web_socket("/deaf").await;
    let frame = [&b"\x82\xfe\xff\xff"[..], &vec![0; 0xffff + 4]].concat();
    while timeout(Duration::from_millis(200), deaf.0.write_all(&frame)).await.is_ok() {}
    assert!(server.end_session());
    assert_eq!(deaf.rest().await, SESSION_ENDED);
    drop(deaf);
    server.drained().await;
    for path in ["/flood-frames", "/flood-events"] {
        server.clear();
        let client =
            if path == "/flood-frames" { server.web_socket(path).await } else { server.events(path).await };
        // Until everything on the way is full.
        sleep(Duration::from_millis(300)).await;
        assert!(server.end_session());
        server.drained().await;
        server.app_saw_end().await;
        drop(client);
    }
}

#[tokio::test]
async fn an_event_stream_is_cut() {
    let server = Server::with_defaults().await;
    let event = b"9\r\ndata: 1\n\n\r\n";
    for path in ["/events", "/busy-events"] {
        server.clear();
        let mut client = server.events(path).await;
        let mut first = vec![0; event.len()];
        client.0.read_exact(&mut first).await.expect("an event");
        assert_eq!(first, event);
        // Not served any more.
        client.send(GET).await;
        assert!(server.end_session());
        let rest = client.rest().await;
        let whole = &rest[..rest.len() - rest.len() % event.len()];
        assert_eq!(whole, event.repeat(whole.len() / event.len()));
        assert!(event.starts_with(&rest[whole.len()..]), "the terminal chunk must not come");
        server.app_saw_end().await;
        assert_eq!(server.seen().len(), 1);
        server.drained().await;
    }
}

/// A response that ends by itself at that moment is whole or cut, and the request after it is served or refused whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_end_does_no_harm() {
    let server = Server::with_defaults().await;
    let expected = b"GET /next HTTP/1.1 body=0";
    let mut kept = 0;
    for round in 0..400_u64 {
        server.exchanges.lock().unwrap().clear();
        let mut client = server.connect().await;
        client.send(GET).await;
        let exchanges = Arc::clone(&server.exchanges);
        let ending = tokio::spawn(async move {
            let first = loop {
                if let Some(first) = exchanges.lock().unwrap().first() {
                    break first.clone();
                }
                tokio::task::yield_now().await;
            };
            sleep(Duration::from_micros(round * 5)).await;
            first.end(EndReason::SessionEnded)
        });
        let mut received = Vec::new();
        let first = timeout(PATIENCE, async {
            while !received.ends_with(expected) {
                if client.0.read_buf(&mut received).await.unwrap_or(0) == 0 {
                    return false;
                }
            }
            true
        });
        if !first.await.expect("an answer or an end") {
            assert!(!received.contains(&0x88), "a Close frame in HTTP");
            assert!(ending.await.expect("no panic"));
            continue;
        }
        let _may_be_closed = client.0.write_all(GET.as_bytes()).await;
        let mut next = Vec::new();
        let read = timeout(PATIENCE, async {
            while !next.ends_with(expected) && client.0.read_buf(&mut next).await.unwrap_or(0) > 0 {}
        });
        read.await.expect("an answer or an end");
        let was_under_way = ending.await.expect("no panic");
        assert!(next.is_empty() || next.ends_with(expected), "{}", next.escape_ascii());
        assert!(was_under_way || !next.is_empty(), "closed for nothing");
        kept += usize::from(!was_under_way);
    }
    assert!(kept > 0, "the end never came late");
}
