//! Failures before there is a request: handshakes, and clients that speak another protocol than the port. Each says
//! why.

use std::net::SocketAddr;

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::certificates::{Authority, connect};
use crate::support::port::Port;
use crate::support::program::Program;
use crate::support::{World, patiently};

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&TLS12, &TLS13];

/// A program with a TLS listener beside its plain one.
async fn program(authority: &Authority, more: &str) -> (Program, Port) {
    authority.certify("store", &["store.localhost"]);
    authority.certify_until("old", &["old.localhost"], 2020);
    let port = Port::reserve();
    let server = authority.server_at(&port, &["store", "old"]);
    let builder = World::builder().await.lay_over(&format!("{server}{more}"));
    (Program::start_quietly(builder).await.0, port)
}

/// Writes something, ends its side, and returns all that comes.
async fn say(port: &Port, bytes: &[u8]) -> Vec<u8> {
    say_at(port.address(), bytes).await
}

async fn say_at(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _reset = patiently("the end", stream.read_to_end(&mut answer)).await;
    answer
}

/// Fails again and again until a line of the log has these words, since only some lines are written in a second.
async fn fail_until_logged(program: &Program, words: &[&str], fail: impl AsyncFn()) {
    patiently(&format!("{words:?} in the log"), async {
        loop {
            fail().await;
            let log = std::fs::read_to_string(program.file("log")).unwrap();
            let is_it = |line: &&str| line.contains("TLS handshake failed") && line.contains("127.0.0.1");
            if log.lines().filter(is_it).any(|line| words.iter().all(|word| line.contains(word))) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
}

/// Asserts that a handshake failed for each of these reasons.
async fn assert_counted(program: &Program, reasons: &[&str]) {
    let metrics = program.metrics().await;
    for reason in reasons {
        let series = format!("portcullis_tls_handshake_failures_total{{reason=\"{reason}\"}}");
        assert!(metrics.contains(&series), "{series} in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_handshake_says_whose_it_was_and_why() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (program, port) = program(&authority, "min_version = '1.3'\n").await;
    let address = port.address();
    let old = [&TLS12];
    let handshakes: [(ClientConfig, &'static str, &str, &str); 5] = [
        (authority.client(BOTH, &[]), "evil.example", "unknown_name", "evil.example"),
        (authority.client(BOTH, &[b"smtp"]), "store.localhost", "no_common_protocol", "smtp"),
        (authority.client(&old, &[]), "store.localhost", "no_common_version", "store.localhost"),
        (stranger.client(BOTH, &[]), "store.localhost", "certificate_refused", "store.localhost"),
        (authority.client(BOTH, &[]), "old.localhost", "certificate_refused", "CertificateExpired"),
    ];
    for (config, name, reason, word) in handshakes {
        fail_until_logged(&program, &[&format!("reason=\"{reason}\""), word], async || {
            assert!(use_it(config.clone(), address, name).await.is_err(), "{name}");
        })
        .await;
    }
    let reasons = ["unknown_name", "no_common_protocol", "no_common_version", "certificate_refused"];
    assert_counted(&program, &reasons).await;
    use_it(authority.client(BOTH, &[]), address, "store.localhost").await.expect("others are served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greeting_that_is_no_tls_is_told_apart_from_malformed_tls() {
    let authority = Authority::new();
    let (program, port) = program(&authority, "min_version = '1.3'\n").await;
    let address = port.address();
    let greetings: [(&'static [u8], &[&str]); 4] = [
        // A record of TLS with nonsense in it.
        (&[22, 3, 1, 0, 5, 1, 0, 0, 1, 0], &["reason=\"malformed\""]),
        (b"SSH-2.0-OpenSSH_9.9\r\n", &["reason=\"not_tls\""]),
        (b"PROXY TCP4 10.0.0.1 10.0.0.2 5 443\r\n", &["reason=\"not_tls\"", "PROXY protocol"]),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &["reason=\"not_tls\"", "PROXY protocol"]),
    ];
    for (bytes, words) in greetings {
        fail_until_logged(&program, words, async || {
            let answer = say_at(address, bytes).await;
            assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
        })
        .await;
    }
    assert_counted(&program, &["malformed", "not_tls"]).await;
    use_it(authority.client(BOTH, &[]), address, "store.localhost").await.expect("others are served");
}

/// Shakes hands and hears what the other end says to that: with TLS 1.3 a client is done first.
async fn use_it(config: ClientConfig, address: SocketAddr, name: &str) -> std::io::Result<()> {
    let mut stream = connect(config, address, name).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: store.localhost\r\nConnection: close\r\n\r\n").await?;
    patiently("an answer", stream.read_u8()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_merely_connects_is_no_line_of_the_log() {
    let authority = Authority::new();
    let (program, port) = program(&authority, "").await;
    for _ in 0..20 {
        drop(TcpStream::connect(port.address()).await.unwrap());
        // In the middle of the first record.
        let mut stream = TcpStream::connect(port.address()).await.unwrap();
        stream.write_all(&[22, 3, 1]).await.unwrap();
    }
    say(&port, b"SSH-2.0-x\r\n").await;
    program.logged(&["TLS handshake failed", "not_tls"]).await;
    let log = program.end().await;
    assert_eq!(log.matches("TLS handshake").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_them_is_a_few_lines_with_a_count() {
    let authority = Authority::new();
    let (program, port) = program(&authority, "").await;
    let begun = std::time::Instant::now();
    let log = || std::fs::read_to_string(program.file("log")).unwrap();
    // The next one that is written says how many were not.
    patiently("the count", async {
        while !log().lines().any(|line| line.contains("TLS handshake failed") && line.contains("unlogged=")) {
            let address = port.address();
            let flood = (0..100).map(|_| async move { say_at(address, b"SSH-2.0-x\r\n").await });
            futures_util::future::join_all(flood).await;
        }
    })
    .await;
    let lines = log().matches("TLS handshake failed").count();
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    // One second more has begun, and the first one may have before that.
    assert!(lines <= 5 * (seconds + 2), "{lines} lines in {seconds} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_at_the_tls_port_is_told_so() {
    let authority = Authority::new();
    let (program, port) = program(&authority, "").await;
    for request in [
        "GET /x HTTP/1.1\r\nHost: store.localhost\r\n\r\n",
        "POST /api/login HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "M-SEARCH * HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = String::from_utf8(say(&port, request.as_bytes()).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{request}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        assert!(head.contains("connection: close") && head.contains("x-request-id: "), "{head}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["code"], "bad_request");
        assert!(problem["detail"].as_str().unwrap().contains("https://"), "{problem}");
    }
    program.logged(&["access", "reason=\"http_on_tls_port\"", "status=400", "127.0.0.1"]).await;
    let metrics = program.metrics().await;
    assert!(metrics.contains("portcullis_refused_heads_total{reason=\"http_on_tls_port\"} 5"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_at_the_plain_port_is_told_so() {
    let authority = Authority::new();
    let (program, _port) = program(&authority, "").await;
    let refused = connect(authority.client(BOTH, &[]), program.address, "store.localhost").await;
    assert!(refused.is_err());
    program.logged(&["access", "reason=\"tls_on_http_port\"", "status=400", "127.0.0.1"]).await;
    let answer = say_at(program.address, &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0]).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("TLS"), "{answer}");
    // Over the admin listener as well.
    let answer = String::from_utf8(say_at(program.admin, &[22, 3, 1, 0, 5, 1]).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    for hello in [
        b"PROXY TCP4 10.0.0.1 10.0.0.2 5 443\r\nGET / HTTP/1.1\r\n\r\n".as_slice(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
    ] {
        let answer = String::from_utf8(say_at(program.address, hello).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("PROXY protocol"), "{answer}");
        program.logged(&["access", "reason=\"proxy_protocol\"", "status=400"]).await;
    }
}
