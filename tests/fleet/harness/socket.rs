//! WebSockets through a replica.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::support::client::request_bytes;
use crate::support::{Browser, Request, patiently};

/// The path at which the app speaks WebSocket.
pub(crate) const PATH: &str = "/api/socket";

/// An open WebSocket.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Opens one with a browser's cookies.
    pub(crate) async fn open(browser: &Browser) -> Self {
        let request = Request::get(PATH)
            .header("Connection", "keep-alive, Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        let mut wire = browser.clone().open().await;
        wire.send(request_bytes(browser, &request)).await.expect("an open connection");
        let head = patiently("an answer", wire.head()).await.expect("a head").expect("a head");
        assert_eq!(head.status(), 101, "{head:?}");
        let socket = WebSocketStream::from_partially_read(wire.stream, wire.buffer, Role::Client, None).await;
        let mut socket = Self(socket);
        socket.hear().await;
        socket
    }

    async fn hear(&mut self) -> String {
        let message = patiently("a message", self.0.next()).await.expect("a message").expect("a message");
        message.into_text().expect("a text").to_string()
    }

    /// Fails the test unless the app answers.
    pub(crate) async fn echoes(&mut self) {
        self.0.send("still there?".into()).await.expect("an open WebSocket");
        assert_eq!(self.hear().await, "still there?");
    }

    /// Waits for the end; the code of the close frame.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        match patiently("the end of a WebSocket", self.0.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => Some(frame.code.into()),
            _ => None,
        }
    }
}
