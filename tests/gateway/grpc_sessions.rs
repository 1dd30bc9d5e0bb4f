//! Calls of gRPC and sessions: who may make one, and when it ends.

use bytes::Bytes;

use crate::grpc::{grpc, unary, world};
use crate::support::http2::{Call, Http2App};
use crate::support::{Http2Client, World, patiently, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_session_the_call_is_a_401_which_clients_read_as_unauthenticated() {
    let app = Http2App::start(unary).await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::start(&authority, &world).await;
    let answer = client.unary("/shop.Cart/Add", b"").await.unwrap();
    assert_eq!((answer.status(), answer.json()["code"].as_str()), (401, Some("not_logged_in")));
    assert!(app.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_with_its_session() {
    let (ended, mut has_ended) = tokio::sync::mpsc::unbounded_channel();
    let app = Http2App::start(move |mut call: Call| {
        let ended = ended.clone();
        async move {
            let mut stream = call.respond.send_response(grpc(), false).unwrap();
            stream.send_data(Bytes::from_static(b"first"), false).unwrap();
            let _reason = std::future::poll_fn(|context| stream.poll_reset(context)).await;
            ended.send(()).unwrap();
        }
    })
    .await;
    let (authority, world) = world(&app, "").await;
    let mut browser = world.logged_in("ada").await;
    let mut client = Http2Client::start(&authority, &world).await;
    client.jar.clone_from(&browser.jar);
    let (response, _sending) = client.call("/shop.Cart/Watch");
    let mut body = patiently("a head", response).await.unwrap().into_body();
    assert_eq!(patiently("a message", body.data()).await.unwrap().unwrap(), "first");
    browser.send(crate::support::Request::post("/api/logout")).await.assert_status(204);
    assert!(matches!(patiently("the end", body.data()).await, Some(Err(_))), "cut, not finished");
    patiently("the app's stream to end, too", has_ended.recv()).await.unwrap();
    wait_for("the app's request", || !app.seen().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_with_its_session_though_the_app_has_not_said_anything_yet() {
    let (ended, mut has_ended) = tokio::sync::mpsc::unbounded_channel();
    let app = Http2App::start(move |mut call: Call| {
        let ended = ended.clone();
        async move {
            let mut taken = 0;
            // A client's stream of messages is answered at its end only.
            while let Some(Ok(chunk)) = call.body.data().await {
                taken += chunk.len();
                let _ = call.body.flow_control().release_capacity(chunk.len());
            }
            ended.send(taken).unwrap();
        }
    })
    .await;
    let (authority, world) = world(&app, "").await;
    let mut browser = world.logged_in("ada").await;
    let mut client = Http2Client::start(&authority, &world).await;
    client.jar.clone_from(&browser.jar);
    let (response, mut sending) = client.call("/shop.Cart/Collect");
    sending.send_data(Bytes::from_static(b"first"), false).unwrap();
    wait_for("the app's request", || !app.seen().is_empty()).await;
    browser.send(crate::support::Request::post("/api/logout")).await.assert_status(204);
    assert!(patiently("the end", response).await.is_err(), "cut, not answered");
    assert_eq!(patiently("the app's stream to end, too", has_ended.recv()).await, Some(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_calls_itself_grpc_ends_with_its_session_whatever_the_app_speaks() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let mut wire = browser.open().await;
    let cookies = browser.cookie_header().unwrap();
    let head = format!(
        "POST /api/collect HTTP/1.1\r\nHost: store.localhost\r\nContent-Type: application/grpc\r\nCookie: {cookies}\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
    );
    wire.send(&head).await.unwrap();
    wait_for("the app's request", || world.store.heads() > 0).await;
    browser.send(crate::support::Request::post("/api/logout")).await.assert_status(204);
    let answer = patiently("the end", wire.head()).await;
    assert!(matches!(answer, Ok(None) | Err(_)), "{answer:?}");
}
