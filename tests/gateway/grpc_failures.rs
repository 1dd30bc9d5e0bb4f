//! Calls of gRPC that fail or are given up, on either side.

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::grpc::{grpc, status, unary, world};
use crate::support::http2::{Call, Http2App, write};
use crate::support::{Http2Client, patiently};

/// An app that answers with a head alone and takes no message, and then tells with which reason its calls were reset.
async fn waiting_for_a_reset() -> (Http2App, UnboundedReceiver<Option<h2::Reason>>) {
    let (cancelled, was_cancelled) = tokio::sync::mpsc::unbounded_channel();
    let app = Http2App::start(move |mut call: Call| {
        let cancelled = cancelled.clone();
        async move {
            let mut stream = call.respond.send_response(grpc(), false).unwrap();
            let reason = std::future::poll_fn(|context| stream.poll_reset(context)).await;
            cancelled.send(reason.ok()).unwrap();
        }
    })
    .await;
    (app, was_cancelled)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_the_client_cancels_is_cancelled_at_the_app() {
    let (app, mut was_cancelled) = waiting_for_a_reset().await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let (response, mut sending) = client.call("/shop.Cart/Watch");
    let body = patiently("a head", response).await.unwrap();
    sending.send_reset(h2::Reason::CANCEL);
    drop(body);
    assert_eq!(patiently("the reset", was_cancelled.recv()).await, Some(Some(h2::Reason::CANCEL)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_reaches_an_app_that_takes_no_messages() {
    let (app, mut was_cancelled) = waiting_for_a_reset().await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let (response, mut sending) = client.call("/shop.Cart/Upload");
    let _body = patiently("a head", response).await.unwrap();
    // More than anybody on the way takes.
    let stuck = write(&mut sending, vec![7; 8 * 1024 * 1024].into());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(500), stuck).await.is_err());
    sending.send_reset(h2::Reason::CANCEL);
    assert_eq!(patiently("the reset", was_cancelled.recv()).await, Some(Some(h2::Reason::CANCEL)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_not_processed_is_made_again_with_its_messages() {
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let app = Http2App::start(move |mut call: Call| {
        let number = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            match number {
                0 => {
                    let _first = call.body.data().await;
                    call.respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
                2 => call.respond.send_reset(h2::Reason::INTERNAL_ERROR),
                _ => unary(call).await,
            }
        }
    })
    .await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let answer = client.unary("/shop.Cart/Add", b"again").await.unwrap();
    assert_eq!((answer.status(), answer.body.as_deref().unwrap()), (200, b"again".as_slice()));
    assert_eq!(app.seen().len(), 2);
    let failed = client.unary("/shop.Cart/Add", b"once").await.unwrap();
    assert_eq!((failed.status(), failed.json()["code"].as_str()), (502, Some("upstream_unavailable")));
    assert_eq!(app.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_the_app_says_goodbye() {
    let app = Http2App::start(unary).await;
    let (authority, world) = world(&app, "").await;
    let jar = world.logged_in("ada").await.jar;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut client = Http2Client::start(&authority, &world).await;
        client.jar.clone_from(&jar);
        clients.spawn(async move {
            for _ in 0..40 {
                let answer = client.unary("/shop.Cart/Add", b"message").await.unwrap();
                assert_eq!((answer.status(), answer.trailers["grpc-status"].to_str().unwrap()), (200, "0"));
            }
        });
    }
    while !clients.is_empty() {
        app.say_goodbye();
        if let Ok(Some(client)) =
            tokio::time::timeout(std::time::Duration::from_millis(30), clients.join_next()).await
        {
            client.unwrap();
        }
    }
    assert_eq!(app.seen().len(), 160);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_or_dead_app_is_told_as_for_any_request() {
    let app = Http2App::start(async |_call: Call| std::future::pending().await).await;
    let (authority, world) = world(&app, "[apps.store.timeouts]\nresponse = '1s'\n").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let late = client.unary("/shop.Cart/Add", b"message").await.unwrap();
    assert_eq!((late.status(), late.json()["code"].as_str()), (504, Some("upstream_timeout")));
    app.listening().down();
    let down = client.unary("/shop.Cart/Add", b"message").await.unwrap();
    assert_eq!((down.status(), down.json()["code"].as_str()), (502, Some("upstream_unavailable")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_is_reset() {
    let app = Http2App::start(async |mut call: Call| {
        let mut stream = call.respond.send_response(grpc(), false).unwrap();
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        stream.send_reset(h2::Reason::INTERNAL_ERROR);
    })
    .await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let (response, _sending) = client.call("/shop.Cart/Watch");
    let mut body = patiently("a head", response).await.unwrap().into_body();
    assert_eq!(patiently("a message", body.data()).await.unwrap().unwrap(), "half");
    assert!(matches!(patiently("the end", body.data()).await, Some(Err(_))), "reset, not ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_are_no_larger_than_a_head_may_be() {
    let app = Http2App::start(async |mut call: Call| {
        let mut stream = call.respond.send_response(grpc(), false).unwrap();
        let mut trailers = status("0", "");
        for number in 0..200 {
            let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
            trailers.insert(name, "x".repeat(8000).parse().unwrap());
        }
        stream.send_trailers(trailers).unwrap();
    })
    .await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let (response, _sending) = client.call("/shop.Cart/Watch");
    let mut body = patiently("a head", response).await.unwrap().into_body();
    let _nothing = patiently("the body's end", body.data()).await;
    assert!(patiently("trailers", body.trailers()).await.is_err(), "reset instead");
}
