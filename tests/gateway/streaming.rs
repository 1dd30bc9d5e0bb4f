//! Bodies of any size and any slowness are streamed, never collected.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::support::app::web_socket_accept;
use crate::support::client::{receive, request_bytes};
use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::program::Program;
use crate::support::wire::{Body, Head};
use crate::support::{Browser, Endpoint, Reply, Request, World, patiently};

const HOST: &str = "store.localhost";
const GIB: u64 = 1 << 30;
/// The memory that a body on its way through may take at most. One that is collected takes 1 GiB.
const SLACK_KIB: usize = 100 * 1024;

/// In a process of its own, whose memory is nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_1_gib_stream_in_flat_memory() {
    let builder = World::builder().await;
    builder.store.on("/open/big", Reply::Download { length: GIB, chunked: false });
    let (program, _builder) = Program::start_quietly(builder).await;
    program.forget_peak_memory();
    let before = program.peak_memory();

    let mut wire = Browser::new(program.address, HOST).open().await;
    wire.send("GET /open/big HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(120), receive(&mut wire, "GET", 0)).await;
    assert_eq!(answer.expect("in time").expect("an answer").length, GIB);

    let mut browser = Browser::new(program.address, HOST);
    browser.log_in("ada").await;
    let mut wire = browser.open().await;
    let cookie = browser.cookie_header().unwrap();
    let head = format!(
        "POST /api/big HTTP/1.1\r\nHost: store.localhost\r\nCookie: {cookie}\r\nContent-Length: {GIB}\r\n\r\n"
    );
    wire.send(head).await.unwrap();
    let piece = vec![b'u'; 256 * 1024];
    for _ in 0..GIB / piece.len() as u64 {
        patiently("room for more", wire.send(&piece)).await.unwrap();
    }
    let answer = patiently("the answer", receive(&mut wire, "POST", usize::MAX)).await.expect("an answer");
    answer.assert_status(200);
    assert_eq!(answer.json()["length"], GIB);

    let more = program.peak_memory() - before;
    assert!(more < SLACK_KIB, "{more} KiB more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_download_and_a_chunked_upload_stream_too() {
    let world = World::start().await;
    let length = 64 << 20;
    world.store.on("/open/big", Reply::Download { length, chunked: true });
    assert_eq!(world.browser().get("/open/big").await.length, length);
    let mut wire = world.browser().open().await;
    wire.send("PUT /open/up HTTP/1.1\r\nHost: store.localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let chunk = format!("10000\r\n{}\r\n", "c".repeat(0x10000));
    for _ in 0..length / 0x10000 {
        patiently("room for more", wire.send(&chunk)).await.unwrap();
    }
    wire.send("0\r\n\r\n").await.unwrap();
    let answer = patiently("the answer", receive(&mut wire, "PUT", usize::MAX)).await.expect("an answer");
    assert_eq!(answer.json()["length"], length);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_sent_events_arrive_one_by_one() {
    let world = World::start().await;
    let (sender, _keep) = broadcast::channel(16);
    world.store.on("/api/events", Reply::Events(sender.clone()));
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    let mut wire = browser.clone().open().await;
    wire.send(request_bytes(&browser, &Request::get("/api/events").header("Accept", "text/event-stream")))
        .await
        .unwrap();
    let head = patiently("the head", wire.head()).await.unwrap().expect("a head");
    assert_eq!(head.status(), 200);
    assert_eq!(head.get("content-type"), Some("text/event-stream"));
    assert_eq!(head.all("set-cookie").len(), 2, "the new session comes with the head");
    let mut body = Body::default();
    // Each is sent only when the one before has arrived: a buffer anywhere would stop this.
    for number in 0..5 {
        sender.send(format!("event {number}")).unwrap();
        let expected = format!("data: event {number}\n\n");
        patiently("the event", async {
            while !body.bytes.ends_with(expected.as_bytes()) {
                wire.chunk(1 << 16, &mut body).await.unwrap();
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stream_outlives_the_response_time_out() {
    let world = World::with("[apps.store.timeouts]\nresponse = \"1s\"\nidle = \"10s\"").await;
    let (sender, _keep) = broadcast::channel(16);
    world.store.on("/open/events", Reply::Events(sender.clone()));
    let mut wire = world.browser().open().await;
    wire.send("GET /open/events HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
    patiently("the head", wire.head()).await.unwrap().expect("a head");
    tokio::time::sleep(Duration::from_millis(1800)).await;
    sender.send("late".into()).unwrap();
    let mut body = Body::default();
    patiently("the event", wire.chunk(1 << 16, &mut body)).await.unwrap();
    assert_eq!(body.bytes, b"data: late\n\n");
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

pub(crate) fn upgrade(path: &str) -> Request {
    Request::get(path)
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", KEY)
}

pub(crate) async fn web_socket(
    browser: &Browser,
    request: &Request,
) -> Result<(Head, WebSocketStream<tokio::net::TcpStream>), u16> {
    let mut wire = browser.clone().open().await;
    wire.send(request_bytes(browser, request)).await.unwrap();
    let head = patiently("an answer", wire.head()).await.unwrap().expect("a head");
    if head.status() != 101 {
        return Err(head.status());
    }
    let socket = WebSocketStream::from_partially_read(wire.stream, wire.buffer, Role::Client, None).await;
    Ok((head, socket))
}

pub(crate) async fn say(socket: &mut WebSocketStream<tokio::net::TcpStream>, text: &str) -> String {
    socket.send(text.into()).await.unwrap();
    hear(socket).await
}

pub(crate) async fn hear(socket: &mut WebSocketStream<tokio::net::TcpStream>) -> String {
    patiently("a message", socket.next()).await.expect("a message").unwrap().into_text().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_has_the_identity_and_survives_idling() {
    let world = World::with("[apps.store.timeouts]\nresponse = \"1s\"\nidle = \"10s\"").await;
    world.store.on("/api/socket", Reply::after(50, Reply::WebSocket));
    let browser = world.logged_in("ada").await;
    let request =
        upgrade("/api/socket").header("Origin", "http://store.localhost").header("X-Auth-User", "root");
    let (head, mut socket) = web_socket(&browser, &request).await.expect("101");
    assert_eq!(head.get("sec-websocket-accept"), Some(web_socket_accept(KEY).as_str()));
    assert!(head.get("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
    assert_eq!(hear(&mut socket).await, "user=id-of-ada");
    assert_eq!(say(&mut socket, "hello").await, "hello");
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(say(&mut socket, "still there?").await, "still there?");
    let big = "b".repeat(300_000);
    assert_eq!(say(&mut socket, &big).await, big);
    assert_eq!(world.store.last("/api/socket").head.get("cookie"), None);
    let _ = socket.close(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_opens_however_fast_the_app_is() {
    // Pingora loses the connection where 101 is read before the request's end has been noticed.
    let world = World::start().await;
    world.store.on("/open/socket", Reply::WebSocket);
    let browser = world.browser();
    for _ in 0..60 {
        let (_, mut socket) = web_socket(&browser, &upgrade("/open/socket")).await.expect("101");
        assert_eq!(hear(&mut socket).await, "user=nobody");
        assert_eq!(say(&mut socket, "hello").await, "hello");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_that_idles_too_long_is_closed() {
    let world = World::with("[apps.store.timeouts]\nidle = \"1s\"").await;
    world.store.on("/open/socket", Reply::after(50, Reply::WebSocket));
    let (_, mut socket) = web_socket(&world.browser(), &upgrade("/open/socket")).await.expect("101");
    assert_eq!(hear(&mut socket).await, "user=nobody");
    let end = patiently("the end", socket.next()).await;
    assert!(!matches!(end, Some(Ok(message)) if message.is_text()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_refreshes_and_the_101_carries_the_new_cookies() {
    let world = World::start().await;
    world.store.on("/api/socket", Reply::after(50, Reply::WebSocket));
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    let (head, mut socket) = web_socket(&browser, &upgrade("/api/socket")).await.expect("101");
    assert_eq!(hear(&mut socket).await, "user=id-of-ada");
    let cookies = head.all("set-cookie").join("\n");
    assert!(cookies.contains(ACCESS) && cookies.contains(REFRESH), "{cookies}");
    assert_eq!(world.provider.count(Endpoint::Refresh), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_sockets_need_a_session_and_the_right_origin() {
    let world = World::start().await;
    world.store.on("/api/socket", Reply::after(50, Reply::WebSocket));
    assert_eq!(web_socket(&world.browser(), &upgrade("/api/socket")).await.err(), Some(401));
    let browser = world.logged_in("ada").await;
    let foreign = upgrade("/api/socket").header("Origin", "https://evil.example");
    assert_eq!(web_socket(&browser, &foreign).await.err(), Some(403));
    let fetched = upgrade("/api/socket").header("Sec-Fetch-Site", "cross-site");
    assert_eq!(web_socket(&browser, &fetched).await.err(), Some(403));
    assert_eq!(world.store.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_refuses_the_upgrade_is_heard_and_the_connection_is_no_tunnel() {
    let world = World::start().await;
    world.store.on(
        "/open/socket",
        Reply::Raw(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno".to_vec()),
    );
    let mut wire = world.browser().open().await;
    let smuggled = "GET /api/admin/x HTTP/1.1\r\nHost: store.localhost\r\nX-Auth-User: root\r\n\r\n";
    let mut bytes = request_bytes(&world.browser(), &upgrade("/open/socket"));
    bytes.extend_from_slice(smuggled.as_bytes());
    wire.send(bytes).await.unwrap();
    let answer = patiently("the refusal", receive(&mut wire, "GET", 1 << 16)).await.expect("an answer");
    assert_eq!((answer.status(), answer.text().as_str()), (426, "no"));
    let _ = patiently("what follows", receive(&mut wire, "GET", 1 << 16)).await;
    assert!(
        world.store.seen().iter().all(|seen| seen.target() == "/open/socket"),
        "raw bytes before 101 went upstream"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_protocol_is_ever_upgraded_to() {
    let world = World::start().await;
    for protocol in ["h2c", "websocket, h2c", "TLS/1.0", "foo"] {
        let request = Request::get("/open/page")
            .header("Connection", "Upgrade, HTTP2-Settings")
            .header("Upgrade", protocol)
            .header("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA");
        let answer = world.browser().send(request).await;
        if answer.status() == 200 {
            assert_eq!(answer.seen_by_app("upgrade"), None, "{protocol}");
            assert_eq!(answer.seen_by_app("http2-settings"), None, "{protocol}");
        } else {
            assert_eq!(answer.status(), 400, "{protocol}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_is_answered_otherwise_lifts_no_time_out() {
    let world = World::with("[apps.store.timeouts]\nidle = \"1s\"").await;
    // The app announces more than it ever sends.
    let stalled = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    world.store.on("/open/stalled", Reply::Raw(stalled.to_vec()));
    let request = "GET /open/stalled HTTP/1.1\r\nHost: store.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut wire = world.browser().open().await;
    wire.send(request).await.expect("sent");
    // No whole answer comes, but the end does.
    patiently("the end", async { while wire.fill().await.unwrap_or(false) {} }).await;
}
