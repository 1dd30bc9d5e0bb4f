//! Clients close their writing side after a request, as `nc -N` and BusyBox's wget do. They get their answer, and the
//! gateway still notices a client that has left.

use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::certificates::{Authority, connect};
use crate::support::strict::{StrictApp, digest};
use crate::support::{Reply, World, patiently, store_at, wait_for};

/// A world whose store is this app, and one that can be reached without TLS and with it.
async fn world(app: &StrictApp) -> (Authority, World) {
    World::over_tls(&store_at(&app.url())).await
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// One connection without TLS, and one with it.
async fn wires(authority: &Authority, world: &World) -> [Box<dyn Wire>; 2] {
    let plain = TcpStream::connect(world.gateway.address).await.unwrap();
    let config = authority.client(&[&TLS13], &[b"http/1.1"]);
    let tls = connect(config, world.gateway.tls.unwrap(), "store.localhost").await.unwrap();
    [Box::new(plain), Box::new(tls)]
}

/// Sends this, closes the writing side (with TLS: says so), and reads all that comes.
async fn ask(wire: &mut Box<dyn Wire>, bytes: &str) -> String {
    wire.write_all(bytes.as_bytes()).await.unwrap();
    wire.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = patiently("the end", wire.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: store.localhost\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_answered() {
    let app = StrictApp::start().await;
    let (authority, world) = world(&app).await;
    let own = |id: &str, body: &str| format!("id={id} {}", digest(body.as_bytes()));
    for mut wire in wires(&authority, &world).await {
        let answer = ask(&mut wire, &get("/open/play?id=1&play=slow")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&own("1", "")), "{answer}");
    }
    for mut wire in wires(&authority, &world).await {
        let pipelined = get("/open/play?id=1&play=slow") + &get("/open/play?id=2&play=slow") + &get("/api/x");
        let answer = ask(&mut wire, &pipelined).await;
        let at = |text: &str| answer.find(text).unwrap_or_else(|| panic!("{text}: {answer}"));
        let first = own("1", "");
        assert!(at(&first) < at("id=2"), "{answer}");
        assert!(at(&first) < at("HTTP/1.1 401"), "{answer}");
    }
    for body in
        ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
    {
        for mut wire in wires(&authority, &world).await {
            let head = "POST /open/play?id=3&play=slow HTTP/1.1\r\nHost: store.localhost\r\n";
            let answer = ask(&mut wire, &format!("{head}{body}")).await;
            assert!(answer.ends_with(&own("3", "hello")), "{answer}");
        }
    }
    for mut wire in wires(&authority, &world).await {
        let answer = ask(&mut wire, &get("/open/play?id=4&play=events")).await;
        assert!(answer.contains("data: 1\n\n") && answer.contains("data: 3\n\n"), "{answer}");
        assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_left_is_noticed_though_nothing_can_be_written() {
    let app = StrictApp::start().await;
    let (authority, world) = world(&app).await;
    let given_up = |id: &str| app.find(id).is_some_and(|received| received.was_given_up);
    let [mut plain, mut tls] = wires(&authority, &world).await;
    plain.write_all(get("/open/play?id=plain&play=never").as_bytes()).await.unwrap();
    tls.write_all(get("/open/play?id=tls&play=never").as_bytes()).await.unwrap();
    // Nothing but a closed writing side, which may be a client that waits. It waits too long.
    plain.shutdown().await.unwrap();
    tls.shutdown().await.unwrap();
    wait_for("the end of what nobody hears", || given_up("plain") && given_up("tls")).await;
    drop((plain, tls));
    // TLS that ends without a word is cut.
    let config = authority.client(&[&TLS13], &[b"http/1.1"]);
    let stream = connect(config, world.gateway.tls.unwrap(), "store.localhost").await.unwrap();
    let (mut tcp, mut session) = stream.into_inner();
    std::io::Write::write_all(&mut session.writer(), get("/open/play?id=cut&play=never").as_bytes()).unwrap();
    let mut records = Vec::new();
    session.write_tls(&mut records).unwrap();
    tcp.write_all(&records).await.unwrap();
    wait_for("the request", || app.find("cut").is_some()).await;
    drop(tcp);
    wait_for("the end of a cut connection", || given_up("cut")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_cut_is_not_passed_off_as_whole() {
    let app = StrictApp::start().await;
    let (authority, world) = world(&app).await;
    for (number, framing) in [
        "Content-Length: 9\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        for (mut wire, kind) in wires(&authority, &world).await.into_iter().zip(["plain", "tls"]) {
            let id = format!("{kind}{number}");
            wire.write_all(
                format!("POST /open/play?id={id} HTTP/1.1\r\nHost: store.localhost\r\n{framing}").as_bytes(),
            )
            .await
            .unwrap();
            wait_for("the half", || app.find(&id).is_some_and(|received| received.body == b"half")).await;
            let answer = ask(&mut wire, "").await;
            assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
            assert!(!app.find(&id).unwrap().is_whole, "{framing}");
        }
    }
    assert_eq!(app.faults(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_ends_with_either_side() {
    let world = World::start().await;
    world.store.on("/open/socket", Reply::after(50, Reply::WebSocket));
    let mut wire = world.browser().open().await;
    let handshake = "GET /open/socket HTTP/1.1\r\nHost: store.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    wire.send(handshake).await.unwrap();
    assert_eq!(patiently("the 101", wire.head()).await.unwrap().unwrap().status(), 101);
    while !wire.buffer.ends_with(b"user=nobody") {
        assert!(patiently("the greeting", wire.fill()).await.unwrap());
    }
    let open = world.store.listening().open();
    wire.stream.shutdown().await.unwrap();
    wait_for("the end at the app", || world.store.listening().open() < open).await;
    patiently("the end at the client", async { while wire.fill().await.unwrap_or(false) {} }).await;
}
