use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::time::Instant;

use super::*;
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::http1::request_head::check;

const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

/// A message on a connection in memory, under a clock that only moves when everybody waits.
struct Bench {
    client: DuplexStream,
    connection: ClientConnection,
    exchange: Exchange,
}

impl Bench {
    fn new(head: &str, min_rate: u64) -> Self {
        let (client, server) = tokio::io::duplex(1024 * 1024);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let control = Arc::new(ExchangeControl::new(nowhere, false));
        let exchange = Exchange::new(&check(head.as_bytes()).expect("a head"), min_rate);
        Self { client, connection: ClientConnection::new(Box::new(server), control), exchange }
    }

    fn post(framing: &str) -> Self {
        Self::new(&format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"), 100)
    }

    async fn read(&mut self) -> io::Result<BytesMut> {
        let mut space = [0; 512];
        let mut buffer = ReadBuf::new(&mut space);
        poll_fn(|context| self.exchange.poll_read(&mut self.connection, context, &mut buffer)).await?;
        Ok(BytesMut::from(buffer.filled()))
    }

    async fn write(&mut self, bytes: &[u8]) {
        poll_fn(|context| self.exchange.poll_write(&mut self.connection, context, bytes))
            .await
            .expect("written");
    }

    fn ended(&self) -> Option<EndReason> {
        self.connection.control.ended()
    }
}

async fn elapsed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    (work.await, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_is_too_slow() {
    let mut bench = Bench::post("Content-Length: 5000");
    bench.client.write_all(&[0; 999]).await.unwrap();
    assert_eq!(bench.read().await.unwrap().len(), 512);
    assert_eq!(bench.read().await.unwrap().len(), 487);
    let (read, time) = elapsed(bench.read()).await;
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!((bench.ended(), time), (Some(EndReason::BodyTooSlow), Duration::from_secs(10)));
    assert!(!bench.exchange.is_complete());
    // An answer can still be written.
    bench.write(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_body_at_the_rate_may_take_for_ever() {
    let mut bench = Bench::post("Transfer-Encoding: chunked");
    for _ in 0..100 {
        tokio::join!(
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                bench.client.write_all(format!("6e\r\n{}\r\n", "x".repeat(110)).as_bytes()).await.unwrap();
            },
            async {
                poll_fn(|context| {
                    let mut space = [0; 512];
                    bench.exchange.poll_read(&mut bench.connection, context, &mut ReadBuf::new(&mut space))
                })
                .await
                .unwrap();
            }
        );
    }
    assert_eq!(bench.ended(), None);
}

#[tokio::test(start_paused = true)]
async fn exempt_and_held_back_bodies_have_no_rate() {
    let mut exempt = Bench::post("Transfer-Encoding: chunked");
    exempt.connection.control.timeouts.exempt_from_body_rate();
    let mut held_back = Bench::post("Expect: 100-continue\r\nContent-Length: 5");
    for bench in [&mut exempt, &mut held_back] {
        let waited = tokio::time::timeout(Duration::from_secs(100), bench.read()).await;
        assert!(waited.is_err(), "still waiting");
    }
    // Once the client was told to go on, it has to.
    held_back.write(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    assert!(held_back.read().await.is_err());
    assert_eq!(held_back.ended(), Some(EndReason::BodyTooSlow));
}

#[tokio::test(start_paused = true)]
async fn the_response_deadline_counts_from_the_last_body_byte() {
    let mut bench = Bench::new("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 0);
    bench.connection.control.timeouts.arm_response(Duration::from_secs(30));
    let (client, read) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            bench.client.write_all(b"hello").await
        },
        poll_fn(|context| {
            let mut space = [0; 512];
            bench.exchange.poll_read(&mut bench.connection, context, &mut ReadBuf::new(&mut space))
        })
    );
    client.unwrap();
    read.unwrap();
    assert!(bench.exchange.is_complete());
    let (read, time) = elapsed(bench.read()).await;
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!((bench.ended(), time), (Some(EndReason::ResponseTimeout), Duration::from_secs(30)));

    let mut answered = Bench::new("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    answered.connection.control.timeouts.arm_response(Duration::from_secs(30));
    assert!(tokio::time::timeout(Duration::from_secs(29), answered.read()).await.is_err());
    answered.connection.control.timeouts.disarm_response();
    assert!(tokio::time::timeout(Duration::from_secs(3600), answered.read()).await.is_err());
    assert_eq!(answered.ended(), None);
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_ends_when_idle_and_not_before() {
    let mut bench = Bench::new(HANDSHAKE, 100);
    bench.client.write_all(b"early").await.unwrap();
    bench.connection.control.timeouts.set_idle(Duration::from_secs(300));
    assert!(
        tokio::time::timeout(Duration::from_secs(9), bench.read()).await.is_err(),
        "nothing before the 101"
    );
    bench.write(b"HTTP/1.1 103 Early Hints\r\n\r\n").await;
    assert!(!bench.exchange.is_upgraded());
    bench.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await;
    assert!(bench.exchange.is_upgraded());
    assert_eq!(bench.read().await.unwrap(), "early");
    for _ in 0..3 {
        assert!(tokio::time::timeout(Duration::from_secs(299), bench.read()).await.is_err());
        bench.write(b"from the app").await;
    }
    assert_eq!(bench.ended(), None);
    let (read, time) = elapsed(bench.read()).await;
    assert!(read.is_err());
    assert_eq!((bench.ended(), time), (Some(EndReason::Idle), Duration::from_secs(300)));
}

#[tokio::test]
async fn a_refused_upgrade_stays_http_whatever_the_body_says() {
    let mut bench = Bench::new(HANDSHAKE, 100);
    bench.write(b"HTTP/1.1 200 OK\r\n\r\n").await;
    bench.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await;
    assert!(!bench.exchange.is_upgraded());
    let mut plain = Bench::new("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 100);
    plain.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await;
    assert!(!plain.exchange.is_upgraded());
}

#[tokio::test]
async fn ending_from_outside_wakes_the_reader() {
    let mut bench = Bench::new(HANDSHAKE, 100);
    let control = Arc::clone(&bench.connection.control);
    let reading = tokio::spawn(async move { bench.read().await });
    tokio::task::yield_now().await;
    control.end(EndReason::SessionEnded);
    control.end(EndReason::Idle);
    assert!(reading.await.unwrap().is_err());
    assert_eq!(control.ended(), Some(EndReason::SessionEnded), "the first reason stays");
}

#[tokio::test]
async fn after_the_end_only_the_end_of_the_connection_is_told() {
    let mut bench = Bench::post("Content-Length: 2");
    bench.client.write_all(b"hiGET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(bench.read().await.unwrap(), "hi");
    let waited = tokio::time::timeout(Duration::from_millis(50), bench.read()).await;
    assert!(waited.is_err(), "the next request is not shown");
    assert_eq!(bench.connection.incoming, "GET / HTTP/1.1\r\n");

    // A flood of pipelined bytes is held back by TCP, not in memory.
    bench.client.write_all(&vec![b'x'; 500_000]).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), bench.read()).await.is_err());
    assert!(bench.connection.incoming.len() < 2 * MAX_READ_AHEAD);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_its_writing_side_is_there_as_long_as_something_goes_to_it() {
    for pipelined in ["", "GET / HTTP/1.1\r\n"] {
        let mut bench = Bench::post("Content-Length: 2");
        bench.client.write_all(format!("hi{pipelined}").as_bytes()).await.unwrap();
        assert_eq!(bench.read().await.unwrap(), "hi");
        bench.client.shutdown().await.unwrap();
        let patience = Duration::from_secs(5);
        for _ in 0..3 {
            assert!(tokio::time::timeout(Duration::from_secs(4), bench.read()).await.is_err());
            bench.write(b"some of the answer").await;
        }
        assert_eq!(bench.ended(), None);
        let (read, time) = elapsed(bench.read()).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!((bench.ended(), time), (Some(EndReason::ClientLeft), patience));
    }
    // In the middle of a body it has left at once.
    let mut cut = Bench::post("Content-Length: 2");
    cut.client.write_all(b"h").await.unwrap();
    cut.client.shutdown().await.unwrap();
    assert_eq!(cut.read().await.unwrap(), "h");
    assert_eq!(cut.read().await.unwrap().len(), 0);
    // An answer that is not there in time is told as ever.
    let mut slow = Bench::new("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    slow.client.shutdown().await.unwrap();
    slow.connection.control.timeouts.arm_response(Duration::from_secs(3));
    assert_eq!(slow.read().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(slow.ended(), Some(EndReason::ResponseTimeout));
}

#[tokio::test(start_paused = true)]
async fn a_body_is_not_waited_for_once_its_answer_is_out() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno";
    for (framing, is_read_on) in [
        ("Content-Length: 100000", false),
        ("Transfer-Encoding: chunked", false),
        ("Expect: 100-continue\r\nContent-Length: 5", false),
        ("Content-Length: 5", true),
    ] {
        for size in [1, 7, 1000] {
            let mut bench = Bench::post(framing);
            let (last, first) = answer.as_bytes().split_last().unwrap();
            for piece in first.chunks(size) {
                bench.write(piece).await;
            }
            let waiting = tokio::time::timeout(Duration::from_millis(1), bench.read()).await;
            assert!(waiting.is_err(), "{framing}: the answer is not out yet");
            bench.write(&[*last]).await;
            let read = tokio::time::timeout(Duration::from_millis(1), bench.read()).await;
            assert_eq!(read.is_err(), is_read_on, "{framing}");
            assert_eq!(bench.ended(), (!is_read_on).then_some(EndReason::Answered), "{framing}");
        }
    }
}

#[tokio::test]
async fn gathers_small_writes_and_sends_them_while_it_waits() {
    let mut bench = Bench::new("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 100);
    bench.write(b"HTTP/1.1 200 OK\r\n").await;
    bench.write(b"\r\nbody").await;
    assert!(tokio::time::timeout(Duration::from_millis(20), bench.read()).await.is_err());
    let mut sent = [0; 23];
    bench.client.read_exact(&mut sent).await.unwrap();
    assert_eq!(&sent, b"HTTP/1.1 200 OK\r\n\r\nbody");
    let mut connection = bench.connection;
    poll_fn(|context| Pin::new(&mut connection).get_mut().poll_shutdown(context)).await.unwrap();
    assert_eq!(bench.client.read(&mut sent).await.unwrap(), 0);
}
