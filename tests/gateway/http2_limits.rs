//! A client of HTTP/2 that keeps to the limits keeps its connection, and one that does not is told so: nobody finds a
//! connection dead.

use std::collections::BTreeMap;
use std::time::Duration;

use rustls::version::TLS13;

use crate::support::certificates::{Authority, connect};
use crate::support::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Fate, Frame, Frames, GOAWAY, HEADERS, PING,
    RST_STREAM, block, frame,
};
use crate::support::port::Port;
use crate::support::program::Program;
use crate::support::{Endpoint, Fault, HOST, Http2Client, Reply, World, patiently, wait_for};

const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

/// The streams that a connection may have at once.
const STREAMS: u32 = 100;

fn fields<'a>(method: &'a str, path: &'a str, cookie: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let head = [(":method", method), (":scheme", "https"), (":authority", HOST), (":path", path)];
    head.into_iter().chain(cookie.map(|cookie| ("cookie", cookie))).collect()
}

fn head(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// With keys of `[server]`.
async fn stoppable(more: &str) -> (Authority, World) {
    let authority = Authority::for_store();
    let builder = World::builder().await.lay_over(&authority.server(&["store"]));
    let world = builder.lay_over(&format!("[server]\n{more}")).start().await;
    (authority, world)
}

/// Waits until all that was sent has been looked at; what came meanwhile.
async fn settled(frames: &mut Frames) -> Vec<Frame> {
    let mut came = Vec::new();
    assert!(frames.send(PING, 0, 0, b"settled?").await, "the connection is gone");
    loop {
        let frame = frames.next().await.expect("the connection to live");
        assert!(frame.kind != GOAWAY, "{frame:?}");
        if frame.kind == PING && frame.flags & ACK != 0 && frame.payload == b"settled?" {
            return came;
        }
        came.push(frame);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_requests_ninety_at_a_time_go_over_one_connection() {
    const ALL: u32 = 20_000;
    // In a process of its own: the client is faster than the gateway.
    let authority = Authority::for_store();
    let port = Port::reserve();
    let tls = authority.server_at(&port, &["store"]);
    let (_program, _builder) = Program::start_quietly(World::builder().await.lay_over(&tls)).await;
    let mut frames = Frames::connect(&authority, port.address(), &[]).await;
    let user = block(&fields("HEAD", "/api/user", None));
    let request = |number: u32| frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &user);
    assert!(frames.send_all(&(0..90).map(request).collect::<Vec<_>>()).await);
    let (mut sent, mut answered) = (90, 0);
    while answered < ALL {
        let frame = frames.next().await.unwrap_or_else(|| panic!("dead after {answered} answers"));
        assert!(!matches!(frame.kind, GOAWAY | RST_STREAM), "{frame:?} after {answered} answers");
        if frame.kind == HEADERS && frame.flags & END_STREAM != 0 {
            answered += 1;
            if sent < ALL {
                frames.send_all(&[request(sent)]).await;
                sent += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_requests_may_be_cancelled_at_once() {
    let (authority, world) = World::over_tls("").await;
    let mut frames = Frames::start(&authority, &world, &[]).await;
    let get = fields("GET", "/open/x", None);
    let streams: Vec<u32> = (0..STREAMS).map(|number| 2 * number + 1).collect();
    let begun = streams.iter().map(|&stream| head(END_STREAM, stream, &get));
    let all: Vec<_> = begun.chain(streams.iter().map(|&stream| reset(stream))).collect();
    assert!(frames.send_all(&all).await);
    settled(&mut frames).await;
    frames.request(END_STREAM, 2 * STREAMS + 1, &get).await;
    assert_eq!(frames.fate(2 * STREAMS + 1).await, Fate::Status(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_at_once_than_may_be_are_refused_and_the_rest_are_answered() {
    let (authority, world) = World::over_tls("").await;
    world.store.on("/open/slow", Reply::after(300, Reply::with_headers("")));
    let mut frames = Frames::start(&authority, &world, &[]).await;
    // Whoever begins at once has not heard yet how many they may be.
    let slow = fields("GET", "/open/slow", None);
    let all: Vec<_> = (0..3 * STREAMS).map(|number| head(END_STREAM, 2 * number + 1, &slow)).collect();
    assert!(frames.send_all(&all).await);
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < 3 * STREAMS {
        let frame = frames.next().await.expect("a connection that lives");
        answered += u32::from(frame.kind == HEADERS);
        if frame.kind == RST_STREAM {
            assert_eq!(frame.payload, REFUSED_STREAM.to_be_bytes());
            refused += 1;
        }
        assert_ne!(frame.kind, GOAWAY);
    }
    assert!(answered >= STREAMS, "{answered} answered, {refused} refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_were_cancelled_and_still_have_work_to_do_keep_others_out_and_not_the_connection() {
    let (authority, world) = World::over_tls("").await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.fail_next(Endpoint::Refresh, Fault::delay(3000));
    let cookies = browser.cookie_header().unwrap();
    let get = fields("GET", "/api/cart", Some(&cookies));
    let mut frames = Frames::start(&authority, &world, &[]).await;
    let mut refused = Vec::new();
    let mut streams = (0..).map(|number| 2 * number + 1);
    // All wait for the same refresh. It goes on without them, and what it brings must not be lost.
    for _ in 0..4 {
        let portion: Vec<u32> = streams.by_ref().take(50).collect();
        assert!(
            frames
                .send_all(&portion.iter().map(|&stream| head(END_STREAM, stream, &get)).collect::<Vec<_>>())
                .await
        );
        refused.extend(settled(&mut frames).await);
        assert!(frames.send_all(&portion.iter().map(|&stream| reset(stream)).collect::<Vec<_>>()).await);
        refused.extend(settled(&mut frames).await);
    }
    assert_eq!(world.provider.count(Endpoint::Refresh), 1);
    assert!(refused.iter().all(|frame| frame.kind != RST_STREAM), "{refused:?}");
    let one_more = streams.next().unwrap();
    frames.request(END_STREAM, one_more, &get).await;
    assert_eq!(frames.fate(one_more).await, Fate::Reset(REFUSED_STREAM), "which may be sent again");
    // It may once the others are done.
    let answered = patiently("an answer", async {
        loop {
            let again = streams.next().unwrap();
            frames.request(END_STREAM, again, &get).await;
            match frames.fate(again).await {
                Fate::Reset(REFUSED_STREAM) => tokio::time::sleep(Duration::from_millis(50)).await,
                fate => return fate,
            }
        }
    })
    .await;
    assert_eq!(answered, Fate::Status(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_were_answered_early_may_still_arrive() {
    let (authority, world) = World::over_tls("").await;
    let mut frames = Frames::start(&authority, &world, &[]).await;
    let streams: Vec<u32> = (0..150).map(|number| 2 * number + 1).collect();
    for &stream in &streams {
        let mut post = fields("POST", "/api/cart", None);
        post.push(("content-length", "100000"));
        frames.request(0, stream, &post).await;
        let is_answer = |frame: &Frame| frame.kind == HEADERS && frame.stream == stream;
        while !is_answer(&frames.next().await.expect("an answer")) {}
    }
    settled(&mut frames).await;
    let late: Vec<_> = streams.iter().map(|&stream| frame(DATA, 0, stream, b"late")).collect();
    assert!(frames.send_all(&late).await);
    settled(&mut frames).await;
    frames.request(END_STREAM, 301, &fields("GET", "/open/x", None)).await;
    while frames.next().await.expect("another answer").stream != 301 {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_nobody_reads_hold_up_no_other() {
    let (authority, world) = World::over_tls("").await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.fail_next(Endpoint::Refresh, Fault::delay(60_000));
    let cookies = browser.cookie_header().unwrap();
    let mut frames = Frames::start(&authority, &world, &[]).await;
    // The windows are given.
    settled(&mut frames).await;
    for stream in (0..25).map(|number| 2 * number + 1) {
        frames.request(0, stream, &fields("POST", "/api/cart", Some(&cookies))).await;
        // As much as a stream may have.
        let pieces = vec![frame(DATA, 0, stream, &[b'x'; 13_107]); 5];
        assert!(frames.send_all(&pieces).await);
    }
    frames.request(0, 51, &fields("POST", "/open/page", None)).await;
    assert!(frames.send(DATA, END_STREAM, 51, b"a=1").await);
    loop {
        let frame = frames.next().await.expect("an answer");
        assert!(![GOAWAY, RST_STREAM].contains(&frame.kind), "{frame:?}");
        if frame.kind == HEADERS {
            assert_eq!(frame.stream, 51);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_messages_may_fill_the_windows_that_were_given() {
    let (authority, world) = World::over_tls("").await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    // Nobody reads bodies meanwhile.
    world.provider.fail_next(Endpoint::Refresh, Fault::delay(3000));
    let cookies = browser.cookie_header().unwrap();
    let mut frames = Frames::start(&authority, &world, &[]).await;
    for stream in [1, 3, 5, 7] {
        frames.request(0, stream, &fields("POST", "/api/cart", Some(&cookies))).await;
        let messages = vec![frame(DATA, 0, stream, &[b'm'; 35]); 65_535 / 35];
        assert!(frames.send_all(&messages).await);
        settled(&mut frames).await;
    }
    for stream in [1, 3, 5, 7] {
        assert!(frames.send(DATA, END_STREAM, stream, b"").await);
    }
    let mut answers = BTreeMap::new();
    while answers.len() < 4 {
        let frame = frames.next().await.expect("answers");
        if frame.kind == HEADERS {
            answers.insert(frame.stream, frame);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_end_the_connection_in_order() {
    let (authority, world) = World::over_tls("").await;
    world.store.on("/open/slow", Reply::after(1000, Reply::with_headers("")));
    let mut frames = Frames::start(&authority, &world, &[]).await;
    frames.request(END_STREAM, 1, &fields("GET", "/open/slow", None)).await;
    wait_for("the request at the app", || world.store.heads() == 1).await;
    let mut two_hosts = fields("GET", "/open/x", None);
    two_hosts.push(("host", "forums.localhost"));
    for number in 1..=60 {
        frames.request(END_STREAM, 2 * number + 1, &two_hosts).await;
    }
    // Another user's, where a proxy sends the requests of many over one connection.
    let (mut goodbye, mut answered) = (false, false);
    while !(goodbye && answered) {
        let frame = frames.next().await.expect("goodbye and an answer, first of all");
        goodbye |= frame.kind == GOAWAY;
        answered |= frame.kind == DATA && frame.stream == 1 && frame.flags & END_STREAM != 0;
    }
    frames.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_on_and_on_is_told_to_calm_down() {
    let (authority, world) = World::over_tls("").await;
    let mut frames = Frames::start(&authority, &world, &[]).await;
    let mut two_hosts = fields("GET", "/open/x", None);
    two_hosts.push(("host", "forums.localhost"));
    let mut streams = (0..).map(|number| 2 * number + 1);
    let code = patiently("goodbye", async {
        loop {
            // One by one, so that nothing is unread when it ends.
            let stream = streams.next().unwrap();
            frames.request(END_STREAM, stream, &two_hosts).await;
            loop {
                match frames.next().await {
                    None => return None,
                    Some(frame)
                        if frame.kind == GOAWAY && frame.payload[4..8] == ENHANCE_YOUR_CALM.to_be_bytes() =>
                    {
                        return Some(ENHANCE_YOUR_CALM);
                    }
                    Some(frame) if frame.stream == stream => break,
                    Some(_) => {}
                }
            }
        }
    })
    .await;
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_told_and_so_is_one_that_outstays_a_stop() {
    let limits = "shutdown_grace = '1s'\n[server.limits]\nkeep_alive_timeout = '300ms'\n";
    let (authority, world) = stoppable(limits).await;
    let mut idle = Frames::start(&authority, &world, &[]).await;
    idle.request(END_STREAM, 1, &fields("GET", "/open/x", None)).await;
    assert_eq!(idle.fate(1).await, Fate::Status(200));
    assert_eq!(idle.end().await, Some(0));
    world.store.on("/open/endless", Reply::after(3_600_000, Reply::Echo));
    let heads = world.store.heads();
    let mut busy = Frames::start(&authority, &world, &[]).await;
    busy.request(END_STREAM, 1, &fields("GET", "/open/endless", None)).await;
    wait_for("the request at the app", || world.store.heads() > heads).await;
    let World { gateway, provider: _provider, store: _store, .. } = world;
    gateway.stop().await;
    assert_eq!(busy.end().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_client_that_says_nothing() {
    let (authority, world) =
        stoppable("shutdown_grace = '1h'\n[server.limits]\nheader_timeout = '10m'\n").await;
    // Its TLS is there, and its HTTP/2 is not.
    let config = authority.client(&[&TLS13], &[b"h2"]);
    let _silent = connect(config, world.gateway.tls.unwrap(), HOST).await.expect("a handshake");
    let mut client = Http2Client::start(&authority, &world).await;
    assert_eq!(client.send(client.request("GET", "/open/x"), None).await.unwrap().status(), 200);
    drop(client);
    world.gateway.stop().await;
}
