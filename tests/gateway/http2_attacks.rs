//! HTTP/2 as attackers speak it: their connection or stream ends, the app sees nothing, and a bystander notices nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::task::{JoinHandle, JoinSet};

use crate::binary::Program;
use crate::http2::{Client, HOST, world};
use crate::support::certificates::Authority;
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Fate, Frames, HEADERS, PING,
    PROTOCOL_ERROR, RST_STREAM, SETTINGS, block, frame,
};
use crate::support::gateway::ACCESS;
use crate::support::port::Port;
use crate::support::{Reply, World, patiently, wait_for};

/// At once.
const ATTACKERS: usize = 4;

/// Enough for what the machine's own buffers take before a connection's end shows.
const MUCH: usize = 64 << 20;

fn get(path: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", path)]
}

fn with(
    mut fields: Vec<(&'static str, &'static str)>,
    more: &[(&'static str, &'static str)],
) -> Vec<(&'static str, &'static str)> {
    fields.extend(more);
    fields
}

/// Somebody else, who is served all the time.
struct Bystander {
    stop: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Bystander {
    async fn start(authority: &Authority, world: &World) -> Self {
        let mut client = Client::start(authority, world).await;
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut served = 0;
            while !is_over.load(Ordering::SeqCst) {
                assert_eq!(client.get("/open/bystander").await.status(), 200);
                served += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            served
        });
        Self { stop, task }
    }

    /// All was well.
    async fn assert_well(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let served = patiently("the bystander", self.task).await.expect("only good answers");
        assert!(served > 0);
        served
    }
}

const RESET: Fate = Fate::Reset(PROTOCOL_ERROR);
const BAD: Fate = Fate::Status(400);
/// Of fields that no header block can have, the whole block is malformed, and with it the connection.
const GOODBYE: Fate = Fate::GoAway(PROTOCOL_ERROR);

type Case = (&'static str, Vec<(&'static str, &'static str)>, Fate);

/// What becomes of each, that the app sees none of them, and that the connection goes on where it is said to.
async fn assert_fates(cases: &[Case]) {
    let (authority, world) = world("").await;
    let mut wrong = Vec::new();
    for (name, fields, expected) in cases {
        let mut frames = Frames::start(&authority, &world, &[]).await;
        frames.request(END_STREAM, 1, fields).await;
        let fate = frames.fate(1).await;
        frames.request(END_STREAM, 3, &with(get("/open/next"), &[("te", "trailers")])).await;
        let next = frames.fate(3).await;
        let goes_on = if *expected == GOODBYE { Fate::Closed } else { Fate::Status(200) };
        if (fate, next) != (*expected, goes_on) {
            wrong.push((name, fate, next));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(world.store.seen().iter().all(|seen| seen.target() == "/open/next"), "the app saw one of them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_and_pseudo_fields_that_say_two_things_are_refused() {
    assert_fates(&[
        ("two paths", with(get("/open/x"), &[(":path", "/open/y")]), RESET),
        ("two authorities", with(get("/open/x"), &[(":authority", "forums.localhost")]), RESET),
        ("two methods", with(get("/open/x"), &[(":method", "POST")]), RESET),
        ("two schemes", with(get("/open/x"), &[(":scheme", "http")]), RESET),
        (
            "a pseudo field after others",
            vec![
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", HOST),
                ("a", "b"),
                (":path", "/open/x"),
            ],
            RESET,
        ),
        ("an unknown pseudo field", with(get("/open/x"), &[(":user", "root")]), GOODBYE),
        ("a status in a request", with(get("/open/x"), &[(":status", "200")]), RESET),
        ("no path", vec![(":method", "GET"), (":scheme", "https"), (":authority", HOST)], RESET),
        ("an empty path", get(""), RESET),
        ("no method", vec![(":scheme", "https"), (":authority", HOST), (":path", "/open/x")], RESET),
        ("no scheme", vec![(":method", "GET"), (":authority", HOST), (":path", "/open/x")], RESET),
        ("no authority", vec![(":method", "GET"), (":scheme", "https"), (":path", "/open/x")], BAD),
        (
            "an empty authority",
            vec![(":method", "GET"), (":scheme", "https"), (":authority", ""), (":path", "/open/x")],
            RESET,
        ),
        ("another host", with(get("/open/x"), &[("host", "forums.localhost")]), BAD),
        ("two hosts", with(get("/open/x"), &[("host", HOST), ("host", HOST)]), BAD),
        (
            "user information",
            vec![
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "a@store.localhost"),
                (":path", "/open/x"),
            ],
            BAD,
        ),
        (
            "a path in the authority",
            vec![
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "store.localhost/x"),
                (":path", "/open/x"),
            ],
            RESET,
        ),
        (
            "the scheme of plain HTTP",
            vec![(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/open/x")],
            BAD,
        ),
        (
            "a scheme of no use",
            vec![(":method", "GET"), (":scheme", "ftp"), (":authority", HOST), (":path", "/open/x")],
            BAD,
        ),
        ("a path without a slash", get("open/x"), RESET),
        ("an absolute path", get("https://store.localhost/open/x"), RESET),
        ("two slashes", get("//store.localhost/open/x"), BAD),
        ("a star", get("*"), BAD),
        ("a space in the path", get("/open/x y"), RESET),
        ("CR LF in the path", get("/open/x\r\nx-auth-user: root"), RESET),
        ("NUL in the path", get("/open/x\0"), RESET),
        (
            "TRACE",
            vec![(":method", "TRACE"), (":scheme", "https"), (":authority", HOST), (":path", "/open/x")],
            Fate::Status(405),
        ),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", HOST)], Fate::Status(405)),
        (
            "CONNECT with a path",
            vec![(":method", "CONNECT"), (":scheme", "https"), (":authority", HOST), (":path", "/open/x")],
            RESET,
        ),
        (
            "extended CONNECT",
            vec![
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "https"),
                (":authority", HOST),
                (":path", "/open/socket"),
            ],
            RESET,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_http_2_does_not_have_are_refused() {
    assert_fates(&[
        ("connection", with(get("/open/x"), &[("connection", "x-auth-user")]), RESET),
        ("keep-alive", with(get("/open/x"), &[("keep-alive", "1")]), RESET),
        ("proxy-connection", with(get("/open/x"), &[("proxy-connection", "close")]), RESET),
        ("upgrade", with(get("/open/x"), &[("upgrade", "websocket")]), RESET),
        ("transfer-encoding", with(get("/open/x"), &[("transfer-encoding", "chunked")]), RESET),
        ("te", with(get("/open/x"), &[("te", "gzip")]), RESET),
        ("a name in upper case", with(get("/open/x"), &[("X-Auth-User", "root")]), GOODBYE),
        ("a space in a name", with(get("/open/x"), &[("x auth", "root")]), GOODBYE),
        ("a colon in a name", with(get("/open/x"), &[("x:auth", "root")]), GOODBYE),
        ("an empty name", with(get("/open/x"), &[("", "root")]), GOODBYE),
        ("CR LF in a value", with(get("/open/x"), &[("x", "a\r\nx-auth-user: root")]), GOODBYE),
        ("NUL in a value", with(get("/open/x"), &[("x", "a\0b")]), GOODBYE),
        ("two lengths", with(get("/open/x"), &[("content-length", "0"), ("content-length", "1")]), RESET),
        ("a signed length", with(get("/open/x"), &[("content-length", "+0")]), RESET),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_another_length_than_they_say_are_reset() {
    let (authority, world) = world("").await;
    let post = |length| {
        let fields = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/open/x")];
        with(fields.to_vec(), &[("content-length", length)])
    };
    let hello = frame(DATA, END_STREAM, 1, b"hello");
    let trailers = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&[("a", "b")]));
    for (name, length, flags, body) in [
        ("shorter", "6", 0, vec![hello.clone()]),
        ("longer", "4", 0, vec![hello.clone()]),
        ("longer at last", "6", 0, vec![frame(DATA, 0, 1, b"hello"), hello.clone()]),
        ("something for nothing", "0", 0, vec![hello]),
        ("nothing for something", "5", END_STREAM, vec![]),
        ("shorter with trailers", "6", 0, vec![frame(DATA, 0, 1, b"hello"), trailers]),
    ] {
        let mut frames = Frames::start(&authority, &world, &[]).await;
        frames.request(flags, 1, &post(length)).await;
        frames.send_all(&body).await;
        let fate = frames.fate(1).await;
        // One that says it has no body is whole with its head, and may be answered before more comes.
        let is_early = length == "0" && fate == Fate::Status(200);
        assert!(is_early || fate == Fate::Reset(PROTOCOL_ERROR), "{name}: {fate:?}");
        frames.request(END_STREAM, 3, &get("/open/next")).await;
        assert_eq!(frames.fate(3).await, Fate::Status(200), "{name}");
    }
    let whole = world
        .store
        .seen()
        .into_iter()
        .filter(|seen| seen.head.get("content-length").is_some_and(|length| length != "0"));
    assert_eq!(whole.count(), 0, "never as a whole");
    assert!(world.store.seen().iter().all(|seen| seen.body.bytes.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_are_dropped() {
    let (authority, world) = world("").await;
    let mut client = Client::start(&authority, &world).await;
    let request = client.request(&Method::POST, "/open/x").header("trailer", "x-auth-user").body(()).unwrap();
    let (response, mut sending) = client.requests.send_request(request, false).unwrap();
    sending.send_data(Bytes::from_static(b"hello"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-auth-user", "root".parse().unwrap());
    trailers.insert("authorization", "Bearer x".parse().unwrap());
    sending.send_trailers(trailers).unwrap();
    assert_eq!(patiently("an answer", response).await.unwrap().status(), 200);
    let seen = world.store.last("/open/x");
    assert_eq!((seen.body.bytes.as_slice(), seen.body.trailers.len()), (b"hello".as_slice(), 0));
    for name in ["x-auth-user", "authorization", "trailer"] {
        assert_eq!(seen.head.all(name), Vec::<&str>::new(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_mean_the_same_however_they_are_split() {
    let (authority, world) = world("[server.limits]\nmax_header_size = '8KiB'\n").await;
    let mut client = Client::start(&authority, &world).await;
    client.log_in().await;
    let jwt = client.jar[ACCESS].clone();
    client.jar.clear();
    let cart = |client: &Client, cookies: &[String]| {
        let request = client.request(&Method::GET, "/api/cart");
        cookies.iter().fold(request, |request, cookie| request.header("cookie", cookie))
    };
    let genuine = format!("{ACCESS}={jwt}");
    for cookies in [
        vec!["a=1".to_owned(), genuine.clone(), "b=2".to_owned()],
        vec![format!("a=1; {genuine}"), "b=2; c=3".to_owned()],
    ] {
        assert_eq!(client.send(cart(&client, &cookies), None).await.unwrap().status(), 200);
        let seen = world.store.last("/api/cart");
        assert_eq!(seen.head.all("cookie").len(), 1);
        assert!(seen.head.get("cookie").is_some_and(|seen| seen.starts_with("a=1; b=2")), "{:?}", seen.head);
    }
    // Tossed in, whatever the order.
    for cookies in [
        [genuine.clone(), format!("{ACCESS}=x")],
        [format!("{ACCESS}=x"), genuine.clone()],
        [genuine.clone(), genuine.clone()],
    ] {
        client.send(cart(&client, &cookies), None).await.unwrap().assert_problem(401, "not_logged_in");
    }
    // A hundred fields are a few here: browsers send one for each cookie.
    let many: Vec<_> = (0..150).map(|number| format!("c{number}=x")).chain([genuine.clone()]).collect();
    assert_eq!(client.send(cart(&client, &many), None).await.unwrap().status(), 200);
    let large: Vec<_> = (0..9).map(|number| format!("c{number}={}", "x".repeat(900))).collect();
    client.send(cart(&client, &large), None).await.unwrap().assert_problem(431, "header_too_large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_list_far_too_large_is_answered_without_being_kept() {
    let (authority, world) = world("[server.limits]\nmax_header_size = '4KiB'\n").await;
    let mut frames = Frames::start(&authority, &world, &[]).await;
    let value = "x".repeat(15_000);
    let large = block(&[get("/open/x"), vec![]].concat());
    let field = block(&[("x", &value)]);
    frames
        .send_all(&[
            frame(HEADERS, END_STREAM, 1, &large),
            frame(CONTINUATION, 0, 1, &field),
            frame(CONTINUATION, END_HEADERS, 1, &field),
        ])
        .await;
    assert_eq!(frames.fate(1).await, Fate::Status(431));
    frames.request(END_STREAM, 3, &get("/open/next")).await;
    assert_eq!(frames.fate(3).await, Fate::Status(200));
    assert_eq!(world.store.heads(), 1);
}

/// Sends until the connection is gone; how many bytes that took.
async fn flood(frames: &mut Frames, portion: &[Vec<u8>]) -> usize {
    let size: usize = portion.iter().map(Vec::len).sum();
    let mut sent = 0;
    while sent < MUCH && frames.send_all(portion).await {
        sent += size;
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_reset_without_end_end_the_connection() {
    let (authority, world) = world("").await;
    let bystander = Bystander::start(&authority, &world).await;
    let mut frames = Frames::start(&authority, &world, &[]).await;
    let head = block(&get("/open/reset"));
    let mut is_open = true;
    let mut streams = (1..).step_by(2);
    let mut opened = 0;
    while is_open && opened < 1_000_000 {
        let portion: Vec<_> = streams
            .by_ref()
            .take(1000)
            .flat_map(|stream| {
                let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
                [frame(HEADERS, END_STREAM | END_HEADERS, stream, &head), reset]
            })
            .collect();
        is_open = frames.send_all(&portion).await;
        opened += 1000;
    }
    assert!(!is_open, "{opened} streams were taken");
    // The reset of a connection with unread bytes may overtake its GOAWAY.
    assert!(matches!(frames.end().await, None | Some(ENHANCE_YOUR_CALM)));
    bystander.assert_well().await;
    let reached = world.store.seen().iter().filter(|seen| seen.target() == "/open/reset").count();
    assert!(reached < 1000, "{reached} of {opened} reached the app");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_without_end_ends_the_connection() {
    let (authority, world) = world("").await;
    let bystander = Bystander::start(&authority, &world).await;
    let value = "x".repeat(16_000);
    for fields in [block(&[("x", &value)]), block(&[("x", "")]), Vec::new()] {
        let mut frames = Frames::start(&authority, &world, &[]).await;
        frames.send(HEADERS, END_STREAM, 1, &block(&get("/open/x"))).await;
        let portion = vec![frame(CONTINUATION, 0, 1, &fields); 100];
        let sent = flood(&mut frames, &portion).await;
        assert!(sent < MUCH, "{} bytes each", fields.len());
        assert!(matches!(frames.end().await, None | Some(ENHANCE_YOUR_CALM)));
    }
    bystander.assert_well().await;
    assert!(world.store.seen().iter().all(|seen| seen.target() != "/open/x"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_go_on_ends_the_connection() {
    let limits = "[server.limits]\nheader_timeout = '300ms'\nkeep_alive_timeout = '300ms'\n";
    let (authority, world) = world(limits).await;
    let mut fresh = Frames::start(&authority, &world, &[]).await;
    fresh.send(HEADERS, END_STREAM, 1, &block(&get("/open/x"))).await;
    fresh.end().await;
    let mut used = Frames::start(&authority, &world, &[]).await;
    used.request(END_STREAM, 1, &get("/open/next")).await;
    assert_eq!(used.fate(1).await, Fate::Status(200));
    used.send(HEADERS, END_STREAM, 3, &block(&get("/open/x"))).await;
    used.end().await;
    assert_eq!(world.store.heads(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_and_settings_without_a_request_prolong_nothing_and_fill_nothing() {
    let limits = "[server.limits]\nheader_timeout = '1s'\nkeep_alive_timeout = '1s'\n";
    let (authority, world) = world(limits).await;
    let bystander = Bystander::start(&authority, &world).await;
    for portion in [
        vec![frame(PING, 0, 0, b"12345678"); 1000],
        vec![frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]); 1000],
    ] {
        // The answers are never read: what is taken from us is bounded by the buffers between.
        let mut frames = Frames::start(&authority, &world, &[]).await;
        let sent = flood(&mut frames, &portion).await;
        assert!(sent < MUCH, "{sent}");
    }
    bystander.assert_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_takes_is_ended() {
    let (authority, world) = world("[apps.store.timeouts]\nidle = '500ms'\n").await;
    world.store.on("/open/large", Reply::Download { length: 10 << 20, chunked: false });
    let bystander = Bystander::start(&authority, &world).await;
    // Never a window for data: neither on the streams nor, from the default on, on the connection.
    for window in [0, 1 << 20] {
        let mut frames = Frames::start(&authority, &world, &[(4, window)]).await;
        for number in 0..20 {
            frames.request(END_STREAM, 2 * number + 1, &get("/open/large")).await;
        }
        wait_for("them at the app", || world.store.listening().open() >= 20).await;
        let fate = frames.fate(39).await;
        assert!(matches!(fate, Fate::Reset(_)), "{window}: {fate:?}");
        let mut head = get("/open/x");
        head[0].1 = "HEAD";
        frames.request(END_STREAM, 41, &head).await;
        assert_eq!(frames.fate(41).await, Fate::Status(200), "the connection goes on");
        wait_for("the end of what the app sends", || world.store.listening().open() < 10).await;
    }
    bystander.assert_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_trickles_is_ended_and_a_grpc_call_is_not() {
    let (authority, world) =
        world("[server.limits]\nbody_min_rate = '64KiB'\n[apps.store.timeouts]\nresponse = '10m'\n").await;
    let mut client = Client::start(&authority, &world).await;
    let mut begin = |kind: &str| {
        let request = client.request(&Method::POST, "/open/x").header("content-type", kind).body(()).unwrap();
        client.requests.send_request(request, false).unwrap()
    };
    let (mut grpc, mut grpc_body) = begin("application/grpc");
    let (upload, mut upload_body) = begin("text/plain");
    let trickling = tokio::spawn(async move {
        while upload_body.send_data(Bytes::from_static(b"x"), false).is_ok()
            && grpc_body.send_data(Bytes::from_static(b"x"), false).is_ok()
        {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        grpc_body
    });
    let answer = patiently("the upload's end", upload).await.expect("an answer before the end");
    assert_eq!(answer.status(), 408);
    let mut grpc_body = patiently("the reset", trickling).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(500), &mut grpc).await;
    assert!(early.is_err(), "the other one lives: {early:?}");
    grpc_body.send_data(Bytes::from_static(b"x"), true).unwrap();
    assert_eq!(patiently("an answer", grpc).await.unwrap().status(), 200);
}

/// In a process of its own, whose memory is nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flood_fills_the_memory() {
    let authority = Authority::new();
    authority.certify("store", &[HOST]);
    let limits = "[server.limits]\nheader_timeout = '2s'\nkeep_alive_timeout = '2s'\n[apps.store.timeouts]\nidle = '2s'\n";
    let port = Port::reserve();
    let tls = authority.server(&["store"]).replace("127.0.0.1:0", &port.address().to_string());
    let builder = World::builder().await.lay_over(&tls).lay_over(limits);
    builder.store.on("/open/large", Reply::Download { length: 1 << 30, chunked: false });
    let (program, _builder) = Program::start_quietly(builder).await;
    let address = port.address();
    program.forget_peak_memory();
    let before = program.peak_memory();
    let value = "x".repeat(16_000);
    let large = frame(CONTINUATION, 0, 1, &block(&[("x", &value)]));
    let resets: Vec<_> = (0..2000)
        .flat_map(|number| {
            let reset = frame(RST_STREAM, 0, 2 * number + 1, &8_u32.to_be_bytes());
            let head = block(&get("/open/reset"));
            [frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &head), reset]
        })
        .collect();
    let stalled: Vec<_> = (0..100)
        .map(|number| frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &block(&get("/open/large"))))
        .collect();
    let endless = vec![frame(HEADERS, END_STREAM, 1, &block(&get("/open/x")))];
    // An answer that is not taken fills the buffers between the app and it, so those have a bound for each stream.
    let streams = ATTACKERS * 100 * 768;
    for (name, first, portion, times, bound) in [
        ("pings", vec![], vec![frame(PING, 0, 0, b"12345678"); 1000], usize::MAX, 64 * 1024),
        (
            "settings",
            vec![],
            vec![frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]); 1000],
            usize::MAX,
            64 * 1024,
        ),
        ("a head without end", endless, vec![large; 64], usize::MAX, 64 * 1024),
        ("resets", vec![], resets, 1, 64 * 1024),
        ("answers that nobody takes", vec![], stalled, 1, streams),
    ] {
        let mut attackers = JoinSet::new();
        for _ in 0..ATTACKERS {
            let mut frames = Frames::connect(&authority, address, &[(4, 0)]).await;
            let (first, portion) = (first.clone(), portion.clone());
            attackers.spawn(async move {
                frames.send_all(&first).await;
                let mut sent = 0;
                while sent < times && frames.send_all(&portion).await {
                    sent += 1;
                }
                // Until it is thrown out.
                frames.end().await;
            });
        }
        patiently(name, async { while attackers.join_next().await.is_some() {} }).await;
        let peak = program.peak_memory();
        assert!(peak < before + bound, "{name}: {before} KiB before, {peak} KiB at most");
    }
}
