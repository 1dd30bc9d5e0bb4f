//! TLS at the gateway's own listeners.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::certificates::{Authority, ask, connect, shown};
use crate::support::client::raw;
use crate::support::{Request, World, patiently};

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&TLS12, &TLS13];

/// A world whose store and forums have a certificate each.
async fn world(authority: &Authority, more: &str) -> World {
    authority.certify("store", &["store.localhost"]);
    authority.certify("forums", &["forums.localhost", "*.forums.example.com"]);
    // `more` begins within `[server.tls]`.
    let hosts = "[apps.forums]\nhosts = ['forums.localhost', 'eu.forums.example.com']\n";
    World::with(&format!("{}{more}{hosts}", authority.server(&["store", "forums"]))).await
}

fn address(world: &World) -> SocketAddr {
    world.gateway.tls.expect("a TLS listener")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let authority = Authority::new();
    let world = world(&authority, "").await;
    let mut seen = Vec::new();
    let names = [
        ("store.localhost", "store", &TLS13),
        ("forums.localhost", "forums", &TLS12),
        ("eu.forums.example.com", "forums", &TLS13),
        ("STORE.localhost", "store", &TLS12),
    ];
    for (name, app, version) in names {
        let config = authority.client(&[version], &[b"http/1.1"]);
        let mut stream = connect(config, address(&world), name).await.expect("a certificate for the name");
        seen.push(shown(stream.get_ref().1));
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
        let host = name.to_lowercase();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = ask(&mut stream, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains(&format!(r#""app":"{app}""#)), "{answer}");
        assert!(answer.to_lowercase().contains("x-forwarded-proto"), "{answer}");
        assert!(answer.contains("https"), "the app is told: {answer}");
    }
    assert!(seen[0] != seen[1] && seen[0] == seen[3] && seen[1] == seen[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_nobody_is_turned_away() {
    let authority = Authority::new();
    let world = world(&authority, "").await;
    for name in ["evil.example", "a.b.forums.example.com", "forums.example.com"] {
        let refused = connect(authority.client(BOTH, &[]), address(&world), name).await;
        assert!(refused.is_err(), "{name}");
    }
    world.browser().get("/").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_versions_are_refused() {
    let authority = Authority::new();
    let modern = world(&authority, "min_version = '1.3'\n").await;
    assert!(connect(authority.client(&[&TLS12], &[]), address(&modern), "store.localhost").await.is_err());
    assert!(connect(authority.client(&[&TLS13], &[]), address(&modern), "store.localhost").await.is_ok());
    // A ClientHello of TLS 1.1, as its bytes: no extensions, two suites that were usual then.
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0xc0, 0x13, 0, 0x2f, 1, 0]);
    let mut message = vec![1, 0, 0, u8::try_from(hello.len()).unwrap()];
    message.extend(hello);
    let mut record = vec![22, 3, 1, 0, u8::try_from(message.len()).unwrap()];
    record.extend(message);
    let default = world(&authority, "").await;
    let mut stream = TcpStream::connect(address(&default)).await.unwrap();
    stream.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    patiently("the alert", stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer[..1], [21], "an alert and nothing else: {answer:?}");
    assert_eq!((answer.len(), answer[5]), (7, 2), "fatal: {answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_handshake_is_ended_and_keeps_nobody_waiting() {
    let authority = Authority::new();
    let world = world(&authority, "[server.limits]\nheader_timeout = '300ms'\n").await;
    let mut silent = TcpStream::connect(address(&world)).await.unwrap();
    let mut plain = TcpStream::connect(address(&world)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
    connect(authority.client(BOTH, &[]), address(&world), "store.localhost").await.expect("served meanwhile");
    for (stream, starts) in [(&mut silent, ""), (&mut plain, "HTTP/1.1 400 ")] {
        let mut rest = Vec::new();
        let _reset = patiently("the end", stream.read_to_end(&mut rest)).await;
        assert!(
            rest.starts_with(starts.as_bytes()) && rest.is_empty() == starts.is_empty(),
            "no HTTP without TLS"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_files_are_taken_up_and_bad_ones_are_not() {
    let authority = Authority::new();
    let world = world(&authority, "").await;
    let get = || connect(authority.client(BOTH, &[]), address(&world), "store.localhost");
    let mut living = get().await.unwrap();
    let before = shown(living.get_ref().1);
    authority.write("store.pem", "rubbish");
    // Longer than the files are looked at twice.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(shown(get().await.unwrap().get_ref().1), before, "the old one stays");
    authority.certify("store", &["store.localhost"]);
    patiently("the new certificate", async {
        while shown(get().await.unwrap().get_ref().1) == before {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let request = "GET / HTTP/1.1\r\nHost: store.localhost\r\nConnection: close\r\n\r\n";
    let answer = ask(&mut living, request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "the connection from before lives: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_without_its_key_changes_nothing() {
    let authority = Authority::new();
    let world = world(&authority, "").await;
    let get = || connect(authority.client(BOTH, &[]), address(&world), "store.localhost");
    let before = shown(get().await.unwrap().get_ref().1);
    // As halfway through a renewal: another certificate, and the key is still the old one's.
    authority.certify("next", &["store.localhost"]);
    std::fs::copy(authority.path("next.pem"), authority.path("store.pem")).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(shown(get().await.unwrap().get_ref().1), before, "its key does not match");
    std::fs::remove_file(authority.path("store.key")).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(shown(get().await.unwrap().get_ref().1), before, "it has no key");
    std::fs::rename(authority.path("next.key"), authority.path("store.key")).unwrap();
    patiently("the new certificate", async {
        while shown(get().await.unwrap().get_ref().1) == before {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_handshakes() {
    let authority = Authority::new();
    let world = world(&authority, "").await;
    let _silent = TcpStream::connect(address(&world)).await.unwrap();
    let _idle = connect(authority.client(BOTH, &[]), address(&world), "store.localhost").await.unwrap();
    let started = std::time::Instant::now();
    world.gateway.stop().await;
    assert!(started.elapsed() < Duration::from_secs(4), "`shutdown_grace` is 5 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_requests_are_redirected_to_the_hosts_of_apps_only() {
    let authority = Authority::new();
    let world = world(&authority, "redirect_port = 8443\n").await;
    let mut browser = world.browser();
    for (method, host, target) in [
        ("GET", "store.localhost", "/a/b%20c?d=e&f=//g"),
        ("GET", "STORE.localhost:80", "/"),
        ("POST", "store.localhost", "/api/login"),
    ] {
        let answer = browser.send(Request::new(method, target).header("Host", host)).await;
        answer.assert_status(308);
        let expected = format!("https://store.localhost:8443{target}");
        assert_eq!(answer.header("location"), Some(expected.as_str()));
        assert_eq!(answer.header("strict-transport-security"), None);
    }
    let stranger = browser.send(Request::get("/").header("Host", "evil.example")).await;
    stranger.assert_problem(404, "unknown_host");
    let proxied = browser.send(Request::get("/").header("X-Forwarded-Proto", "https")).await;
    proxied.assert_status(200);
    assert_eq!(world.store.heads(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_goes_to_the_same_host_whatever_the_request_looks_like() {
    let authority = Authority::new();
    let world = world(&authority, "redirect_port = 443\nhsts = '1d'\n").await;
    let long = format!("/{}?q={}", "a".repeat(10_000), "b".repeat(10_000));
    for (request, target) in [
        ("GET http://store.localhost/a?b HTTP/1.1\r\nHost: store.localhost".to_owned(), "/a?b"),
        ("GET //evil.example/a HTTP/1.1\r\nHost: store.localhost".to_owned(), "//evil.example/a"),
        ("GET /..%2f..//@evil.example HTTP/1.1\r\nHost: store.localhost".to_owned(), "/..%2f..//@evil.example"),
        ("GET /?to=http://evil.example HTTP/1.1\r\nHost: store.localhost:8080".to_owned(), "/?to=http://evil.example"),
        (format!("GET {long} HTTP/1.1\r\nHost: store.localhost"), long.as_str()),
        ("GET /a%0d%0aLocation:%20x HTTP/1.1\r\nHost: store.localhost".to_owned(), "/a%0d%0aLocation:%20x"),
        ("GET / HTTP/1.1\r\nHost: store.localhost\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example".to_owned(), "/"),
        ("PUT /a HTTP/1.1\r\nHost: store.localhost\r\nContent-Length: 2\r\n\r\nhi".to_owned(), "/a"),
        ("OPTIONS /a HTTP/1.1\r\nHost: store.localhost".to_owned(), "/a"),
        ("GET /ws HTTP/1.1\r\nHost: store.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket".to_owned(), "/ws"),
        ("GET /a HTTP/1.0\r\nHost: store.localhost".to_owned(), "/a"),
        ("GET /.well-known/acme-challenge/t0-ken HTTP/1.1\r\nHost: store.localhost".to_owned(), "/.well-known/acme-challenge/t0-ken"),
    ] {
        let request = if request.ends_with("hi") { request } else { request + "\r\n\r\n" };
        let answer = raw(world.gateway.address, &request).await.0.expect("an answer");
        answer.assert_status(308);
        assert_eq!(answer.header("location"), Some(format!("https://store.localhost{target}").as_str()));
        assert_eq!(answer.header("strict-transport-security"), None, "it means nothing without TLS");
        assert!(answer.set_cookies().is_empty());
    }
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: store.localhost.evil.example\r\n\r\n", 404),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: store.localhost\r\n\r\n", 404),
        ("GET http://evil.example/ HTTP/1.1\r\nHost: store.localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: evil.example@store.localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: store.localhost:80:x\r\n\r\n", 400),
        ("GET /a\rLocation: x HTTP/1.1\r\nHost: store.localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
    ] {
        let answer = raw(world.gateway.address, request).await.0.expect("an answer");
        answer.assert_status(status);
        assert_eq!(answer.header("location"), None, "{request}");
    }
    assert_eq!(world.store.heads(), 0, "the app saw nothing");
    let metrics = world.gateway.metrics().await;
    assert!(metrics.contains(r#"portcullis_decisions_total{app="store",reason="redirected"} "#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_over_tls_say_so_for_the_future() {
    let authority = Authority::new();
    let world = world(&authority, "hsts = '365d'\n").await;
    for target in ["/", "/api/user", "/api/cart"] {
        let mut stream =
            connect(authority.client(BOTH, &[]), address(&world), "store.localhost").await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: store.localhost\r\nConnection: close\r\n\r\n");
        let answer = ask(&mut stream, &request).await.to_lowercase();
        assert!(answer.contains("\r\nstrict-transport-security: max-age=31536000\r\n"), "{answer}");
        assert_eq!(world.browser().get(target).await.header("strict-transport-security"), None);
    }
}
