//! Heads that are refused, and answered without Pingora.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::GET;
use super::harness::{PATIENCE, Server, settings};
use crate::connection::connection_settings::ConnectionSettings;

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
