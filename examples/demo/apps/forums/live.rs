//! The live connection of a member's page: new posts as they are written, and who else is here.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use tokio::sync::broadcast::error::RecvError;

use super::Forums;
use crate::apps::identity::Identity;

/// `GET /api/live` with `Upgrade: websocket`.
pub(crate) async fn connect(
    State(forums): State<Arc<Forums>>,
    user: Identity,
    upgrade: WebSocketUpgrade,
) -> Response {
    let name = user.display_name();
    upgrade.on_upgrade(move |socket| async move {
        // Before the arrival is told, so that the page hears of itself.
        let news = forums.listen();
        forums.arrive(&name);
        relay(socket, news).await;
        forums.leave(&name);
    })
}

async fn relay(mut socket: WebSocket, mut news: tokio::sync::broadcast::Receiver<String>) {
    loop {
        tokio::select! {
            told = news.recv() => match told {
                Ok(text) => if socket.send(Message::Text(text.into())).await.is_err() { return },
                // A page that fell behind reads the thread anew when it reconnects.
                Err(RecvError::Lagged(_) | RecvError::Closed) => return,
            },
            received = socket.recv() => match received {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
}
