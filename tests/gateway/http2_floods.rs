//! Floods over HTTP/2: their connection or stream ends, the app sees little of them, and a bystander notices nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::{JoinHandle, JoinSet};

use crate::support::certificates::Authority;
use crate::support::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Fate, Frames, HEADERS, PING, RST_STREAM,
    SETTINGS, block, frame, get,
};
use crate::support::port::Port;
use crate::support::program::Program;
use crate::support::{Http2Client, Reply, World, patiently, wait_for};

/// Connections that flood at once.
const ATTACKERS: usize = 4;

/// More bytes than the machine's own buffers take before the end of a connection shows.
const MUCH: usize = 64 << 20;

/// A client on a connection of its own, which is served all the time.
struct Bystander {
    stop: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Bystander {
    async fn start(authority: &Authority, world: &World) -> Self {
        let mut client = Http2Client::start(authority, world).await;
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

    /// Asserts that all its answers were good, and returns their number.
    async fn assert_well(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let served = patiently("the bystander", self.task).await.expect("only good answers");
        assert!(served > 0);
        served
    }
}

/// Sends until the connection is gone, and returns how many bytes that took.
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
    let (authority, world) = World::over_tls("").await;
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
    let (authority, world) = World::over_tls("").await;
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
    let (authority, world) = World::over_tls(limits).await;
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
    let (authority, world) = World::over_tls(limits).await;
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
    let (authority, world) = World::over_tls("[apps.store.timeouts]\nidle = '500ms'\n").await;
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
    let (authority, world) = World::over_tls(
        "[server.limits]\nbody_min_rate = '64KiB'\n[apps.store.timeouts]\nresponse = '10m'\n",
    )
    .await;
    let mut client = Http2Client::start(&authority, &world).await;
    let mut begin = |kind: &str| {
        let request = client.request("POST", "/open/x").header("content-type", kind).body(()).unwrap();
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
    let authority = Authority::for_store();
    let limits = "[server.limits]\nheader_timeout = '2s'\nkeep_alive_timeout = '2s'\n[apps.store.timeouts]\nidle = '2s'\n";
    let port = Port::reserve();
    let tls = authority.server_at(&port, &["store"]);
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
