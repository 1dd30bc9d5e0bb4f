//! Bytes that two parsers could read differently: refused, the connection closed, and the app sees nothing.

use std::time::Duration;

use crate::support::client::{raw, receive};
use crate::support::{World, patiently, wait_for};

type Case = (&'static str, String);

const CHUNK: &str = "5\r\nhello\r\n0\r\n\r\n";

fn post(headers: &str, body: &str) -> String {
    format!("POST /open/x HTTP/1.1\r\nHost: store.localhost\r\n{headers}\r\n{body}")
}

/// Returns requests whose body two parsers could end in two places.
fn lengths_and_codings() -> Vec<Case> {
    vec![
        (
            "Content-Length with Transfer-Encoding",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", CHUNK),
        ),
        ("the other way round", post("Transfer-Encoding: chunked\r\nContent-Length: 15\r\n", CHUNK)),
        ("two lengths", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
        ("two different lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!")),
        ("a list of lengths", post("Content-Length: 5, 5\r\n", "hello")),
        ("a signed length", post("Content-Length: +5\r\n", "hello")),
        ("a negative length", post("Content-Length: -5\r\n", "hello")),
        ("a length in hex", post("Content-Length: 0x5\r\n", "hello")),
        ("a length with junk", post("Content-Length: 5 5\r\n", "hello")),
        ("an empty length", post("Content-Length: \r\n", "")),
        ("a length beyond 64 bits", post("Content-Length: 18446744073709551621\r\n", "hello")),
        ("gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n", CHUNK)),
        ("chunked, identity", post("Transfer-Encoding: chunked, identity\r\n", CHUNK)),
        ("identity", post("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "hello")),
        ("xchunked", post("Transfer-Encoding: xchunked\r\n", CHUNK)),
        ("chunked twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", CHUNK)),
        ("quoted chunked", post("Transfer-Encoding: \"chunked\"\r\n", CHUNK)),
        ("vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", CHUNK)),
        ("space before the colon", post("Transfer-Encoding : chunked\r\n", CHUNK)),
        ("space before the length's colon", post("Content-Length : 5\r\n", "hello")),
    ]
}

/// Returns requests with a line that two parsers could read as different fields.
fn fields() -> Vec<Case> {
    vec![
        ("an obsolete fold", post("Transfer-Encoding:\r\n chunked\r\n", CHUNK)),
        ("a fold of another header", post("X-A: 1\r\n 2\r\n", "")),
        ("a header without colon", post("X-A\r\n", "")),
        ("an empty name", post(": x\r\n", "")),
        ("NUL in a value", post("X-A: a\0b\r\n", "")),
        ("bare CR in a value", post("X-A: a\rX-Auth-User: root\r\n", "")),
        ("bare LF between headers", post("X-A: a\nX-Auth-User: root\r\n", "")),
        ("bare LF everywhere", "GET /open/x HTTP/1.1\nHost: store.localhost\n\n".to_owned()),
        ("bad name", post("X A: 1\r\n", "")),
    ]
}

/// Returns requests that name no host, two hosts, or more than a host.
fn hosts() -> Vec<Case> {
    vec![
        ("no Host", "GET /open/x HTTP/1.1\r\n\r\n".to_owned()),
        ("two Hosts", post("Host: store.localhost\r\n", "")),
        ("two different Hosts", post("Host: forums.localhost\r\n", "")),
        ("a path in Host", "GET /open/x HTTP/1.1\r\nHost: store.localhost/evil\r\n\r\n".to_owned()),
        ("user info in Host", "GET /open/x HTTP/1.1\r\nHost: a@store.localhost\r\n\r\n".to_owned()),
        ("a space in Host", "GET /open/x HTTP/1.1\r\nHost: store.localhost evil\r\n\r\n".to_owned()),
        ("an empty Host", "GET /open/x HTTP/1.1\r\nHost: \r\n\r\n".to_owned()),
    ]
}

/// Returns requests whose first line is malformed, or of another version.
fn request_lines() -> Vec<Case> {
    vec![
        ("two spaces", "GET  /open/x HTTP/1.1\r\nHost: store.localhost\r\n\r\n".to_owned()),
        ("a tab", "GET\t/open/x HTTP/1.1\r\nHost: store.localhost\r\n\r\n".to_owned()),
        ("a space in the target", "GET /open/x y HTTP/1.1\r\nHost: store.localhost\r\n\r\n".to_owned()),
        ("a NUL in the target", "GET /open/x\0 HTTP/1.1\r\nHost: store.localhost\r\n\r\n".to_owned()),
        ("no version", "GET /open/x\r\nHost: store.localhost\r\n\r\n".to_owned()),
        ("HTTP/1.2", "GET /open/x HTTP/1.2\r\nHost: store.localhost\r\n\r\n".to_owned()),
        ("HTTP/2.0", "GET /open/x HTTP/2.0\r\nHost: store.localhost\r\n\r\n".to_owned()),
        ("http/1.1", "GET /open/x http/1.1\r\nHost: store.localhost\r\n\r\n".to_owned()),
        ("leading space", " GET /open/x HTTP/1.1\r\nHost: store.localhost\r\n\r\n".to_owned()),
        (
            "HTTP/1.0 with chunked",
            format!(
                "POST /open/x HTTP/1.0\r\nHost: store.localhost\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNK}"
            ),
        ),
        ("junk", "\u{16}\u{3}\u{1}\u{2}junk\r\n\r\n".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ambiguous_framing_is_400_and_closes() {
    let world = World::start().await;
    let cases = [lengths_and_codings(), fields(), hosts(), request_lines()].concat();
    for (what, bytes) in cases {
        // Pipelined behind it: what a smuggler would want to be taken for a request.
        let bytes = format!("{bytes}GET /open/smuggled HTTP/1.1\r\nHost: store.localhost\r\n\r\n");
        let (answer, ends) = raw(world.gateway.address, bytes).await;
        if let Some(answer) = answer {
            assert!(
                matches!(answer.status(), 400 | 501 | 505),
                "{what}: {} {}",
                answer.head.first_line,
                answer.text()
            );
            if answer.status() == 400 {
                answer.assert_problem(400, "bad_request");
            }
        }
        assert!(ends, "{what}: the connection goes on");
        assert_eq!(world.store.heads(), 0, "{what} reached the app");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_chunks_end_the_request_and_nothing_of_them_is_taken_for_another() {
    let world = World::start().await;
    let head = "POST /open/x HTTP/1.1\r\nHost: store.localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let smuggled = "GET /open/smuggled HTTP/1.1\r\nHost: store.localhost\r\n\r\n";
    for body in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
    ] {
        let (_, _) = raw(world.gateway.address, format!("{head}{body}{smuggled}")).await;
        let complete: Vec<_> = world.store.seen().iter().map(|seen| seen.target().to_owned()).collect();
        assert!(complete.is_empty(), "{body:?}: the app took {complete:?} for complete");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_unusual_passes() {
    let world = World::start().await;
    for bytes in [
        "GET /open/x HTTP/1.1\r\nhOsT:store.localhost\r\nX-Empty:\r\nX-Spaces: \t a  b \t\r\n\r\n",
        "\r\nGET /open/x HTTP/1.1\r\nHost: store.localhost\r\n\r\n",
        "POST /open/x HTTP/1.1\r\nHost: store.localhost\r\nTransfer-Encoding: Chunked\r\n\r\n5;ext=\"v\"\r\nhello\r\n000\r\n\r\n",
        "POST /open/x HTTP/1.1\r\nHost: store.localhost\r\nContent-Length: 005\r\n\r\nhello",
        "GET /open/x HTTP/1.1\r\nHost: store.localhost\r\nX-Latin: caf\u{e9}\r\n\r\n",
        "PROPFIND /open/x HTTP/1.1\r\nHost: store.localhost\r\n\r\n",
    ] {
        let (answer, _) = raw(world.gateway.address, bytes).await;
        let answer = answer.unwrap_or_else(|| panic!("no answer to {bytes}"));
        assert_eq!(answer.status(), 200, "{bytes}: {}", answer.text());
    }
    let (answer, ends) =
        raw(world.gateway.address, "GET /open/x HTTP/1.0\r\nHost: store.localhost\r\n\r\n").await;
    answer.expect("HTTP/1.0 is answered").assert_status(200);
    assert!(ends, "and its connection closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let world = World::start().await;
    let mut wire = world.browser().open().await;
    let requests =
        (0..10).map(|number| format!("GET /open/{number} HTTP/1.1\r\nHost: store.localhost\r\n\r\n"));
    wire.send(requests.collect::<Vec<_>>().concat()).await.unwrap();
    for number in 0..10 {
        let answer = patiently("an answer", receive(&mut wire, "GET", 1 << 16)).await.expect("an answer");
        assert_eq!(answer.json()["target"], format!("/open/{number}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_arrives_byte_by_byte_is_read_until_its_deadline() {
    let world = World::with("[server.limits]\nheader_timeout = \"2s\"").await;
    let mut wire = world.browser().open().await;
    for byte in "GET /open/x HTTP/1.1\r\nHost: store.localhost\r\n\r\n".bytes() {
        wire.send([byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    patiently("an answer", receive(&mut wire, "GET", 1 << 16)).await.expect("an answer").assert_status(200);

    // One that never ends: every byte restarts a naive timer.
    let mut wire = world.browser().open().await;
    wire.send("GET /open/x HTTP/1.1\r\nHost: store.localhost\r\nX-Drip: ").await.unwrap();
    let dripping = async {
        while wire.send("x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    patiently("the connection's end", dripping).await;
    assert_eq!(world.store.heads(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_and_idle_connections_are_closed() {
    let world = World::with("[server.limits]\nheader_timeout = \"1s\"\nkeep_alive_timeout = \"1s\"").await;
    let mut silent = world.browser().open().await;
    let mut idle = world.browser().open().await;
    idle.send("GET /open/x HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
    patiently("an answer", receive(&mut idle, "GET", 1 << 16)).await.expect("an answer").assert_status(200);
    for wire in [&mut silent, &mut idle] {
        patiently("the end", async { while wire.fill().await.unwrap_or(false) {} }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_closed_and_the_living_stay() {
    let world = World::with("[server.limits]\nmax_connections = 5").await;
    let mut held = Vec::new();
    for _ in 0..5 {
        // What is under way makes no room.
        let mut wire = world.browser().open().await;
        wire.send("POST /open/x HTTP/1.1\r\nHost: store.localhost\r\nContent-Length: 2\r\n\r\nh")
            .await
            .unwrap();
        held.push(wire);
    }
    wait_for("all at the app", || world.store.heads() == 5).await;
    let mut refused = world.browser().open().await;
    let _ = refused.send("GET /open/x HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await;
    let answer = patiently("the end", receive(&mut refused, "GET", 1 << 16)).await;
    assert!(answer.is_none(), "{answer:?}");
    for wire in &mut held {
        wire.send("i").await.unwrap();
        patiently("an answer", receive(wire, "POST", 1 << 16)).await.unwrap().assert_status(200);
    }
    drop(held);
    patiently("room again", async {
        loop {
            let mut wire = world.browser().open().await;
            let _ = wire.send("GET /open/x HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await;
            if receive(&mut wire, "GET", 1 << 16).await.is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_only_drips_is_ended() {
    let world = World::start().await;
    let mut wire = world.browser().open().await;
    wire.send("POST /open/x HTTP/1.1\r\nHost: store.localhost\r\nContent-Length: 100000\r\n\r\n")
        .await
        .unwrap();
    let dripping = async {
        // Over once the gateway has closed: the answer, if any, has been read by then.
        loop {
            let sent = wire.send("x").await.is_ok();
            tokio::time::sleep(Duration::from_millis(200)).await;
            let mut byte = [0];
            let over = matches!(wire.stream.try_read(&mut byte), Ok(0)) || !sent;
            if over {
                return;
            }
        }
    };
    patiently("the end of the upload", dripping).await;
    assert!(world.store.seen().is_empty(), "the app took it for complete");
    world.browser().get("/open/x").await.assert_status(200);
}
