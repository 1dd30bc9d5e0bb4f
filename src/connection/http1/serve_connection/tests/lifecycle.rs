//! The connection itself: how many there are, how long they wait, how they end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use tokio::io::{AsyncWriteExt, duplex};

use super::harness::{PATIENCE, Server, settings};
use super::{BY_CHUNKS, BY_LENGTH, GET};
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::exchange_end::EndReason;
use crate::connection::http1::serve_connection::serve;

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
