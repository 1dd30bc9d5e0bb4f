//! Connections of HTTP/2 to apps: what shares one, and who holds up nobody on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::support::certificates::Authority;
use crate::support::frames::{END_STREAM, Frames};
use crate::support::http2::{Call, Http2App, echo, response, write};
use crate::support::{Request, patiently, wait_for};
use crate::upstream_http2::world;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_gets_no_more_requests_at_once_than_it_says() {
    let mut settings = h2::server::Builder::new();
    settings.max_concurrent_streams(1);
    let most = Arc::new(AtomicUsize::new(0));
    let now = Arc::new(std::sync::Mutex::new(std::collections::HashMap::<usize, usize>::new()));
    let shared = (most.clone(), now);
    let app = Http2App::with(settings, move |call: Call| {
        let (most, now) = shared.clone();
        async move {
            let connection = call.connection;
            let count = {
                let mut now = now.lock().unwrap();
                let count = now.entry(connection).or_default();
                *count += 1;
                *count
            };
            most.fetch_max(count, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            *now.lock().unwrap().get_mut(&connection).unwrap() -= 1;
            echo(call).await;
        }
    })
    .await;
    let world = world(&app, "").await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let mut browser = world.browser();
        clients.spawn(async move { browser.get("/open/page").await.assert_status(200) });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_holds_up_nobody_else_on_the_connection() {
    const LARGE: usize = 64 * 1024 * 1024;
    let app = Http2App::start(async |mut call: Call| {
        if call.head.uri.path() == "/open/large" {
            let mut stream = call.respond.send_response(response(200), false).unwrap();
            let _gone = crate::support::http2::write(&mut stream, vec![1; LARGE].into()).await;
            return;
        }
        echo(call).await;
    })
    .await;
    let world = world(&app, "").await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut wire = world.browser().open().await;
        wire.send("GET /open/large HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
        patiently("a head", wire.head()).await.unwrap().expect("a head");
        idle.push(wire);
    }
    for _ in 0..10 {
        world.browser().get("/open/page").await.assert_status(200);
    }
    assert_eq!(app.last().connection, 1, "all on one connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_the_app_does_not_take_holds_up_no_other() {
    let app = Http2App::start(async |call: Call| {
        if call.head.uri.path() == "/open/unread" {
            let _unread = call;
            return std::future::pending().await;
        }
        echo(call).await;
    })
    .await;
    let world = world(&app, "").await;
    let mut browser = world.browser();
    let mut unread = Vec::new();
    // The least window of a connection has 65,535 bytes.
    for (length, times) in [(100_000, 1), (60_000, 1), (5000, 14), (1000, 70)] {
        for _ in 0..times {
            let seen = app.seen().len();
            let mut wire = world.browser().open().await;
            let head = "POST /open/unread HTTP/1.1\r\nHost: store.localhost\r\n";
            let body = "x".repeat(length);
            wire.send(format!("{head}Content-Length: {length}\r\n\r\n{body}")).await.unwrap();
            wait_for("the request at the app", || app.seen().len() > seen).await;
            unread.push(wire);
        }
        for other in [200_000, 60_000, 1000, 0] {
            let upload = Request::post("/open/page").form(&"a".repeat(other));
            assert_eq!(browser.send(upload).await.json()["length"], other, "beside {times} of {length}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_take_nothing_of_answers_in_small_pieces_end_no_connection() {
    const PIECES: usize = 30_000;
    /// SETTINGS_INITIAL_WINDOW_SIZE.
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let (ahead, mut pieces) = watch::channel(0);
    let (release, released) = watch::channel(false);
    let app = Http2App::start(move |mut call: Call| {
        let (ahead, mut released) = (ahead.clone(), released.clone());
        async move {
            match call.head.uri.path() {
                "/open/pieces" => {
                    let mut stream = call.respond.send_response(response(200), false).unwrap();
                    for _ in 0..PIECES {
                        if write(&mut stream, Bytes::from_static(b"12345678")).await.is_err() {
                            return;
                        }
                        ahead.send_modify(|sent| *sent += 1);
                    }
                    std::future::pending::<()>().await;
                }
                "/open/held" => {
                    released.wait_for(|is_released| *is_released).await.unwrap();
                    echo(call).await;
                }
                _ => echo(call).await,
            }
        }
    })
    .await;
    let authority = Authority::for_store();
    let world = world(&app, &authority.server(&["store"])).await;
    let mut other = world.browser();
    let held = tokio::spawn(async move { other.send(Request::post("/open/held").form("a=1")).await });
    wait_for("the other's request", || app.seen().len() == 1).await;
    let mut frames = Frames::start(&authority, &world, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    for (number, stream) in [(2, 1), (3, 3), (4, 5), (5, 7)] {
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "store.localhost"),
            (":path", "/open/pieces"),
        ];
        assert!(frames.request(END_STREAM, stream, &fields).await);
        // Those that come at the same moment do not find each other's connection.
        wait_for("the request at the app", || app.seen().len() == number).await;
    }
    // What is sent ahead is sent, or the connection is gone.
    let all = async { pieces.wait_for(|sent| *sent == 4 * PIECES).await.map(|_| ()) };
    patiently("all pieces", all).await.unwrap();
    release.send_replace(true);
    held.await.unwrap().assert_status(200);
    world.browser().get("/open/page").await.assert_status(200);
    let seen: Vec<_> = app.seen().into_iter().map(|seen| (seen.uri, seen.connection)).collect();
    assert!(seen.iter().all(|(_, connection)| *connection == 1), "{seen:?}");
}
