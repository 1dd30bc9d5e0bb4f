//! Streams that are open end with their session: WebSockets, event streams.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;

use crate::session_protection::{ADMIN_TOKEN, logout, revoke};
use crate::streaming::{hear, say, upgrade, web_socket};
use crate::support::client::request_bytes;
use crate::support::{Endpoint, Reply, Request, World, patiently};

/// Returns the close frame that a stream gets when its session ends.
pub(crate) async fn closing(
    socket: &mut tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>,
) -> Option<(u16, String)> {
    match patiently("the end", socket.next()).await {
        Some(Ok(Message::Close(Some(frame)))) => Some((frame.code.into(), frame.reason.to_string())),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_is_closed_with_4401_when_its_session_ends() {
    let world = World::with(&format!("[server]\nadmin_token = '{ADMIN_TOKEN}'")).await;
    world.store.on("/api/socket", Reply::after(50, Reply::WebSocket));
    let ended = Some((4401, "session ended".to_owned()));
    for how in ["logout", "revoked", "expired"] {
        let mut browser = world.logged_in("ada").await;
        let bystander = world.logged_in("bob").await;
        let (_, mut socket) = web_socket(&browser, &upgrade("/api/socket")).await.expect("101");
        let (_, mut other) = web_socket(&bystander, &upgrade("/api/socket")).await.expect("101");
        for socket in [&mut socket, &mut other] {
            hear(socket).await;
            assert_eq!(say(socket, "hello").await, "hello");
        }
        match how {
            "logout" => browser.send(logout()).await.assert_status(204),
            "revoked" => revoke(&world, &json!({"sub": "id-of-ada"})).await.assert_status(204),
            _ => world.clock.advance(320),
        }
        assert_eq!(closing(&mut socket).await, ended, "{how}");
        if how != "expired" {
            assert_eq!(say(&mut other, "still there?").await, "still there?");
        }
        world.clock.advance(1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_lives_on_while_other_requests_refresh_its_session() {
    let world = World::start().await;
    world.store.on("/api/socket", Reply::after(50, Reply::WebSocket));
    let mut browser = world.logged_in("ada").await;
    let (_, mut socket) = web_socket(&browser, &upgrade("/api/socket")).await.expect("101");
    hear(&mut socket).await;
    for _ in 0..2 {
        world.clock.advance(280);
        browser.get("/api/cart").await.assert_status(200);
        world.clock.advance(30);
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert_eq!(say(&mut socket, "still there?").await, "still there?");
    }
    assert_eq!(world.provider.count(Endpoint::Refresh), 2);
    world.clock.advance(310);
    assert_eq!(closing(&mut socket).await.map(|(code, _)| code), Some(4401));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stream_is_cut_when_its_session_ends() {
    for how in ["logout", "expired"] {
        let world = World::start().await;
        let (events, _keep) = broadcast::channel(16);
        world.store.on("/api/events", Reply::Events(events));
        let mut browser = world.logged_in("ada").await;
        let mut wire = browser.clone().open().await;
        wire.send(request_bytes(&browser, &Request::get("/api/events"))).await.unwrap();
        patiently("a head", wire.head()).await.unwrap().expect("a head");
        match how {
            "logout" => browser.send(logout()).await.assert_status(204),
            _ => world.clock.advance(320),
        }
        patiently("the end", async { while wire.fill().await.is_ok_and(|more| more) {} }).await;
        assert!(!wire.buffer.ends_with(b"0\r\n\r\n"), "{how}: it must not look complete");
    }
}
