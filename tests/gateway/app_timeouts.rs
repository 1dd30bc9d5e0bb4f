//! Durations of an app: each does what it says, whatever the others are set to.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::health_checks::health;
use crate::support::deaf::Deaf;
use crate::support::http2::{Call, Http2App, read, response};
use crate::support::listening::Listening;
use crate::support::wire::Wire;
use crate::support::{World, patiently};

/// The pauses of an app before the head of its answer and in its body. The target `/open/x?late=MS&pause=MS` asks for
/// them.
#[derive(Clone, Copy, Default)]
struct Paces {
    late: u64,
    pause: u64,
}

impl Paces {
    fn target(self) -> String {
        format!("/open/x?late={}&pause={}", self.late, self.pause)
    }

    fn of(target: &str) -> Self {
        let number = |name: &str| {
            let (_, rest) = target.split_once(name).expect("a pace");
            rest.split('&').next().unwrap().parse().expect("a number")
        };
        Self { late: number("late="), pause: number("pause=") }
    }
}

async fn paced(mut wire: Wire, _: usize) {
    while let Ok(Some(head)) = wire.head().await {
        let paces = Paces::of(head.word(1));
        if wire.body(head.request_framing(), 0).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(paces.late)).await;
        if wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await.is_err() {
            return;
        }
        sleep(Duration::from_millis(paces.pause)).await;
        if wire.send("half").await.is_err() {
            return;
        }
    }
}

async fn paced_streams(mut call: Call) {
    let paces = Paces::of(call.head.uri.path_and_query().unwrap().as_str());
    if read(&mut call.body).await.is_err() {
        return;
    }
    sleep(Duration::from_millis(paces.late)).await;
    let Ok(mut stream) = call.respond.send_response(response(200), false) else { return };
    let _ = stream.send_data(Bytes::from_static(b"half"), false);
    sleep(Duration::from_millis(paces.pause)).await;
    let _ = stream.send_data(Bytes::from_static(b"half"), true);
}

/// An app of each protocol, and its URL.
async fn apps() -> ((Listening, Http2App), [String; 2]) {
    let apps = (Listening::start(paced).await, Http2App::start(paced_streams).await);
    let urls = [format!("http://{}", apps.0.address()), apps.1.url()];
    (apps, urls)
}

async fn world(url: &str, timeouts: &str) -> World {
    World::with(&format!("[apps.store]\nupstreams = ['{url}']\n[apps.store.timeouts]\n{timeouts}\n")).await
}

/// All that comes for a request until the end of the connection, and after how long. With a body, the client pauses in
/// the middle of it for `pause`.
async fn ask(address: SocketAddr, paces: Paces, body: Option<Duration>) -> (String, Duration) {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let target = paces.target();
    let (method, length) = if body.is_some() { ("POST", "Content-Length: 8\r\n") } else { ("GET", "") };
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: store.localhost\r\nConnection: close\r\n{length}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    if let Some(pause) = body {
        stream.write_all(b"half").await.unwrap();
        sleep(pause).await;
        stream.write_all(b"half").await.unwrap();
    }
    let mut answer = Vec::new();
    let _cut_or_whole = patiently("the end", stream.read_to_end(&mut answer)).await;
    (String::from_utf8_lossy(&answer).into_owned(), started.elapsed())
}

fn is_whole(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ") && answer.contains("half") && answer.matches("half").count() == 2
}

const BODIES: [Option<Duration>; 2] = [None, Some(Duration::ZERO)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_is_waited_for_as_long_as_is_configured() {
    let (_apps, urls) = apps().await;
    for url in &urls {
        // Longer than what may pass in a body, and shorter.
        let (patient, limited, hasty) = tokio::join!(
            world(url, "response = '10m'\nidle = '300ms'"),
            world(url, "response = '3s'\nidle = '300ms'"),
            world(url, "response = '300ms'\nidle = '10m'"),
        );
        for body in BODIES {
            let late = |late| Paces { late, pause: 0 };
            let (waited, ended, at_once) = tokio::join!(
                ask(patient.gateway.address, late(1500), body),
                ask(limited.gateway.address, late(60_000), body),
                ask(hasty.gateway.address, late(60_000), body),
            );
            assert!(is_whole(&waited.0), "{url} {body:?}: {waited:?}");
            assert!(ended.0.starts_with("HTTP/1.1 504 "), "{url} {body:?}: {ended:?}");
            assert!(ended.1 >= Duration::from_secs(3), "{url} {body:?}: {ended:?}");
            assert!(at_once.0.starts_with("HTTP/1.1 504 "), "{url} {body:?}: {at_once:?}");
            assert!(at_once.1 >= Duration::from_millis(300), "{url} {body:?}: {at_once:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_waited_for_as_long_as_is_configured() {
    let (_apps, urls) = apps().await;
    for url in &urls {
        // Shorter than what the head may take, and longer.
        let (patient, limited) = tokio::join!(
            world(url, "response = '300ms'\nidle = '10m'"),
            world(url, "response = '10m'\nidle = '1s'"),
        );
        for body in BODIES {
            let pausing = |pause| Paces { late: 0, pause };
            let (waited, ended) = tokio::join!(
                ask(patient.gateway.address, pausing(1500), body),
                ask(limited.gateway.address, pausing(60_000), body),
            );
            assert!(is_whole(&waited.0), "{url} {body:?}: {waited:?}");
            assert!(ended.0.starts_with("HTTP/1.1 200 ") && !is_whole(&ended.0), "{url} {body:?}: {ended:?}");
            assert!(ended.1 >= Duration::from_secs(1), "{url} {body:?}: {ended:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_the_client_is_none_of_the_app() {
    let (_apps, urls) = apps().await;
    for url in &urls {
        let world = world(url, "response = '10m'\nidle = '300ms'").await;
        let pause = Some(Duration::from_millis(1500));
        let answer = ask(world.gateway.address, Paces::default(), pause).await;
        assert!(is_whole(&answer.0), "{url}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_cannot_be_connected_to_is_given_up_in_its_own_time() {
    let deaf = Deaf::start().await;
    // Whoever accepts and says nothing shakes no hands.
    let mute = Listening::start(|wire, _| async move {
        let _held = wire;
        std::future::pending::<()>().await;
    })
    .await;
    for url in [format!("http://{}", deaf.address), format!("https://{}", mute.address())] {
        for (connect, others) in [("300ms", "10m"), ("3s", "100ms")] {
            let timeouts = format!("connect = '{connect}'\nresponse = '{others}'\nidle = '{others}'");
            let world = world(&url, &timeouts).await;
            let started = Instant::now();
            world.browser().get("/open/x").await.assert_problem(504, "upstream_timeout");
            let least = if connect == "3s" { 3000 } else { 300 };
            assert!(started.elapsed() >= Duration::from_millis(least), "{url}: {:?}", started.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_may_take_as_long_as_is_configured() {
    let app = Listening::start(|mut wire, _| async move {
        while let Ok(Some(head)) = wire.head().await {
            let is_check = head.word(1) == "/healthy";
            if is_check {
                sleep(Duration::from_millis(1200)).await;
            }
            if wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                return;
            }
        }
    })
    .await;
    let other = Listening::start(paced).await;
    for (limit, is_healthy) in [("20s", true), ("300ms", false)] {
        let toml = format!(
            "[apps.store]\nupstreams = ['http://{}', 'http://{}']\n[apps.store.health_check]\npath = '/healthy'\ninterval = '50ms'\n\
             timeout = '{limit}'\n[apps.store.timeouts]\nconnect = '300ms'\nresponse = '300ms'\nidle = '300ms'",
            app.address(),
            other.address()
        );
        let accepted = app.accepted();
        let world = World::with(&toml).await;
        patiently("several checks", async {
            while app.accepted() < accepted + 4 {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let health = health(&world, app.address()).await;
        assert_eq!(health, Some(is_healthy), "{limit}");
    }
}
