//! Apps over HTTP/2 that fail or leave: what is sent again, and what the browser is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use crate::support::certificates::Authority;
use crate::support::http2::{Call, Http2App, echo, read, response};
use crate::support::http2_client::answer;
use crate::support::{Http2Client, Request, World, patiently};
use crate::upstream_http2::world;

/// Asserts that a client of HTTP/1.1 gets an answer without its end.
async fn assert_cut(world: &World) {
    let mut wire = world.browser().open().await;
    wire.send("GET /open/page HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
    patiently("the head", wire.head()).await.unwrap().expect("a head");
    let mut rest = Vec::new();
    let _cut = patiently("the end", wire.stream.read_to_end(&mut rest)).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
}

/// An app whose first answers to a path are resets for this reason.
async fn resetting(reason: h2::Reason, resets: usize) -> (Http2App, World) {
    let left = Arc::new(AtomicUsize::new(resets));
    let app = Http2App::start(move |mut call: Call| {
        let left = left.clone();
        async move {
            if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                // After the body: a reset that overtakes it is a failed write to the gateway, whose reason `h2` does
                // not tell.
                let _whole = read(&mut call.body).await;
                call.respond.send_reset(reason);
            } else {
                echo(call).await;
            }
        }
    })
    .await;
    let world = world(&app, "").await;
    (app, world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_the_app_has_refused_unprocessed_goes_again_with_its_body() {
    let (app, world) = resetting(h2::Reason::REFUSED_STREAM, 2).await;
    let answer = world.browser().send(Request::post("/open/page").form("a=1")).await;
    assert_eq!(answer.json()["body"], "a=1");
    assert_eq!(app.seen().len(), 3);
    // Not for ever.
    let (app, world) = resetting(h2::Reason::REFUSED_STREAM, 1000).await;
    world.browser().get("/open/page").await.assert_problem(502, "upstream_unavailable");
    assert!(app.seen().len() <= 6, "{}", app.seen().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_app_may_have_done_is_not_repeated() {
    for reason in
        [h2::Reason::INTERNAL_ERROR, h2::Reason::CANCEL, h2::Reason::NO_ERROR, h2::Reason::ENHANCE_YOUR_CALM]
    {
        let (app, world) = resetting(reason, 1).await;
        let mut browser = world.browser();
        let request = Request::post("/open/page").form("a=1");
        browser.send(request).await.assert_problem(502, "upstream_unavailable");
        assert_eq!(app.seen().len(), 1, "{reason:?}");
        browser.get("/open/page").await.assert_status(200);
        assert_eq!((browser.connections, app.last().connection), (1, 1), "both connections go on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_says_goodbye_under_load_costs_no_request() {
    let app = Http2App::start(async |call: Call| {
        tokio::time::sleep(Duration::from_millis(5)).await;
        echo(call).await;
    })
    .await;
    let world = world(&app, "").await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut browser = world.browser();
        clients.spawn(async move {
            for _ in 0..40 {
                let answer = browser.send(Request::post("/open/page").form("a=1")).await;
                answer.assert_status(200);
            }
        });
    }
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        app.say_goodbye();
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert_eq!(app.seen().len(), 320, "each went once");
    assert!(app.last().connection > 1, "on more than one connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_is_seen_to_be_incomplete() {
    let app = Http2App::start(async |mut call: Call| {
        let mut stream = call.respond.send_response(response(200), false).unwrap();
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.send_reset(h2::Reason::INTERNAL_ERROR);
    })
    .await;
    let authority = Authority::for_store();
    let world = world(&app, &authority.server(&["store"])).await;
    assert_cut(&world).await;
    let mut client = Http2Client::start(&authority, &world).await;
    let request = client.request("GET", "/open/page").body(()).unwrap();
    let (response, _) = client.requests.send_request(request, true).unwrap();
    assert!(answer(response).await.unwrap().body.is_err(), "reset, not ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_app_is_504_and_its_connection_serves_others() {
    let app = Http2App::start(async |call: Call| {
        if call.head.uri.path() == "/open/silent" {
            return std::future::pending().await;
        }
        echo(call).await;
    })
    .await;
    let world = world(&app, "[apps.store.timeouts]\nresponse = '1s'\n").await;
    let mut browser = world.browser();
    browser.get("/open/silent").await.assert_problem(504, "upstream_timeout");
    browser.send(Request::post("/open/silent").form("a=1")).await.assert_problem(504, "upstream_timeout");
    browser.get("/open/page").await.assert_status(200);
    assert_eq!(browser.connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_the_app_refuses_from_its_head_alone() {
    let app = Http2App::start(async |mut call: Call| {
        let mut stream = call.respond.send_response(response(413), false).unwrap();
        stream.send_data(Bytes::from_static(b"no!"), true).unwrap();
        // With that the `h2` crate resets the stream for `NO_ERROR`.
    })
    .await;
    let world = world(&app, "").await;
    for _ in 0..5 {
        let upload = "x".repeat(2_000_000);
        let answer = world.browser().send(Request::post("/open/page").body("text/plain", &upload)).await;
        assert_eq!((answer.status(), answer.text().as_str()), (413, "no!"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_stops_is_given_up_after_the_idle_time_out() {
    let (ended, mut has_ended) = tokio::sync::mpsc::unbounded_channel();
    let app = Http2App::start(move |mut call: Call| {
        let ended = ended.clone();
        async move {
            let mut stream = call.respond.send_response(response(200), false).unwrap();
            stream.send_data(Bytes::from_static(b"half"), false).unwrap();
            ended.send(std::future::poll_fn(|context| stream.poll_reset(context)).await.is_ok()).unwrap();
        }
    })
    .await;
    let world = world(&app, "[apps.store.timeouts]\nidle = '1s'\n").await;
    assert_cut(&world).await;
    assert_eq!(patiently("the app's end", has_ended.recv()).await, Some(true), "reset");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_was_down_is_used_again_at_once() {
    let app = Http2App::start(echo).await;
    let world = world(&app, "").await;
    let mut browser = world.browser();
    browser.get("/open/page").await.assert_status(200);
    for _ in 0..3 {
        app.listening().down();
        browser
            .send(Request::post("/open/page").form("a=1"))
            .await
            .assert_problem(502, "upstream_unavailable");
        app.listening().up().await;
        browser.send(Request::post("/open/page").form("a=1")).await.assert_status(200);
        browser.get("/open/page").await.assert_status(200);
    }
    assert_eq!(browser.connections, 1, "the browser's connection goes on");
}
