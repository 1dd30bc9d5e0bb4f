//! An app behind the gateway. It writes down every request as it came, and answers with anything.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use base64::Engine;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::sync::{broadcast, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::listening::Listening;
use super::port::Port;
use super::wire::{Body, Head, Wire};

/// The app's answer on a path.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// JSON that says what was received; the default.
    Echo,
    /// These bytes, whatever they are; the connection stays open.
    Raw(Vec<u8>),
    /// These bytes, then the end of the connection.
    RawThenClose(Vec<u8>),
    /// These bytes, then RST.
    RawThenReset(Vec<u8>),
    /// First nothing for a while.
    After(Duration, Box<Reply>),
    /// First nothing until this is true.
    Held(watch::Receiver<bool>, Box<Reply>),
    /// So many bytes, by length or chunked.
    Download { length: u64, chunked: bool },
    /// An event stream: one event for each text that is sent here.
    Events(broadcast::Sender<String>),
    /// Refuses an upload from its head alone.
    RefuseUpload,
    /// A WebSocket that first says which user it sees, then echoes.
    WebSocket,
}

impl Reply {
    /// A small usual response with these extra header lines (each with its CRLF).
    pub(crate) fn with_headers(lines: &str) -> Self {
        Self::Raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{lines}\r\nok").into_bytes())
    }

    pub(crate) fn after(millis: u64, reply: Self) -> Self {
        Self::After(Duration::from_millis(millis), Box::new(reply))
    }
}

/// One request as the app saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) head: Head,
    pub(crate) body: Body,
    /// Which of the app's connections it came on.
    pub(crate) connection: usize,
}

impl Seen {
    pub(crate) fn method(&self) -> &str {
        self.head.word(0)
    }

    pub(crate) fn target(&self) -> &str {
        self.head.word(1)
    }
}

#[derive(Default)]
struct Notebook {
    seen: Vec<Seen>,
    heads: usize,
    replies: HashMap<String, Reply>,
    answered: HashMap<String, Instant>,
}

/// The app.
pub(crate) struct App {
    listening: Listening,
    notebook: Arc<Mutex<Notebook>>,
}

impl App {
    pub(crate) async fn start(name: &'static str) -> Self {
        Self::at(name, Port::reserve()).await
    }

    /// The same at a port that is reserved already.
    pub(crate) async fn at(name: &'static str, port: Port) -> Self {
        let notebook = Arc::new(Mutex::new(Notebook::default()));
        let shared = notebook.clone();
        let listening =
            Listening::at(port, move |wire, number| serve(name, wire, number, shared.clone())).await;
        Self { listening, notebook }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listening.address())
    }

    pub(crate) fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Sets the answer on a path (without its query).
    pub(crate) fn on(&self, path: &str, reply: Reply) {
        self.notebook.lock().unwrap().replies.insert(path.into(), reply);
    }

    /// When it began to answer a request with this target, which asked for a delay: `?after=MILLISECONDS`.
    pub(crate) fn answered(&self, target: &str) -> Option<Instant> {
        self.notebook.lock().unwrap().answered.get(target).copied()
    }

    /// Every request that arrived completely.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.notebook.lock().unwrap().seen.clone()
    }

    /// The latest request on a path.
    pub(crate) fn last(&self, path: &str) -> Seen {
        let seen = self.seen();
        let found = seen.into_iter().rev().find(|seen| seen.target().split('?').next() == Some(path));
        found.unwrap_or_else(|| panic!("the app saw nothing on {path}"))
    }

    /// Returns the number of requests that arrived, counted by their heads.
    pub(crate) fn heads(&self) -> usize {
        self.notebook.lock().unwrap().heads
    }
}

async fn serve(name: &'static str, mut wire: Wire, connection: usize, notebook: Arc<Mutex<Notebook>>) {
    while let Ok(Some(head)) = wire.head().await {
        let path = head.word(1).split('?').next().unwrap_or_default().to_owned();
        let reply = {
            let mut notebook = notebook.lock().unwrap();
            notebook.heads += 1;
            notebook.replies.get(&path).cloned().unwrap_or(Reply::Echo)
        };
        let refuses = matches!(reply, Reply::RefuseUpload);
        let mut body = Body::default();
        if !refuses {
            if head.get("expect").is_some() && wire.send("HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
                return;
            }
            match wire.body(head.request_framing(), 64 * 1024).await {
                Ok(complete) => body = complete,
                Err(_) => return,
            }
        }
        let seen = Seen { head, body, connection };
        notebook.lock().unwrap().seen.push(seen.clone());
        if let Some(delay) = delay_in(seen.target()) {
            tokio::time::sleep(delay).await;
            notebook.lock().unwrap().answered.insert(seen.target().to_owned(), Instant::now());
        }
        let Some(next) = answer(name, wire, &seen, reply).await else { return };
        wire = next;
    }
}

/// Returns how long a request wants to wait for its answer.
fn delay_in(target: &str) -> Option<Duration> {
    let (_, after) = target.split_once("after=")?;
    after.split('&').next()?.parse().ok().map(Duration::from_millis)
}

/// Answers, and gives the connection back if it goes on.
async fn answer(name: &str, wire: Wire, seen: &Seen, mut reply: Reply) -> Option<Wire> {
    loop {
        reply = match reply {
            Reply::After(delay, then) => {
                tokio::time::sleep(delay).await;
                *then
            }
            Reply::Held(mut gate, then) => {
                gate.wait_for(|is_open| *is_open).await.ok()?;
                *then
            }
            reply => break answer_now(name, wire, seen, reply).await,
        }
    }
}

async fn answer_now(name: &str, mut wire: Wire, seen: &Seen, reply: Reply) -> Option<Wire> {
    match reply {
        Reply::Echo | Reply::After(..) | Reply::Held(..) => wire.send(echo(name, seen)).await.ok()?,
        Reply::Raw(bytes) => wire.send(bytes).await.ok()?,
        Reply::RawThenClose(bytes) => {
            wire.send(bytes).await.ok()?;
            return None;
        }
        Reply::RawThenReset(bytes) => {
            wire.send(bytes).await.ok()?;
            // Time for the bytes to arrive: RST may overtake them.
            tokio::time::sleep(Duration::from_millis(150)).await;
            wire.reset();
            return None;
        }
        Reply::Download { length, chunked } => download(&mut wire, length, chunked).await?,
        Reply::Events(sender) => events(&mut wire, sender.subscribe()).await?,
        Reply::RefuseUpload => {
            wire.send("HTTP/1.1 413 Too Big\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
                .await
                .ok()?;
            return None;
        }
        Reply::WebSocket => {
            web_socket(wire, &seen.head).await;
            return None;
        }
    }
    Some(wire)
}

fn echo(name: &str, seen: &Seen) -> Vec<u8> {
    let mut headers: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, value) in &seen.head.headers {
        headers.entry(name.to_ascii_lowercase()).or_default().push(value);
    }
    let body = json!({
        "app": name,
        "method": seen.method(),
        "target": seen.target(),
        "headers": headers,
        "length": seen.body.length,
        "body": String::from_utf8_lossy(&seen.body.bytes),
        "trailers": seen.body.trailers,
    })
    .to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let body = if seen.method() == "HEAD" { String::new() } else { body };
    (head + &body).into_bytes()
}

async fn download(wire: &mut Wire, length: u64, chunked: bool) -> Option<()> {
    let piece = vec![b'd'; 64 * 1024];
    let framing =
        if chunked { "Transfer-Encoding: chunked".into() } else { format!("Content-Length: {length}") };
    wire.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n")).await.ok()?;
    let mut left = length;
    while left > 0 {
        let count = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if chunked {
            wire.send(format!("{count:x}\r\n")).await.ok()?;
        }
        wire.send(&piece[..count]).await.ok()?;
        if chunked {
            wire.send("\r\n").await.ok()?;
        }
        left -= count as u64;
    }
    if chunked {
        wire.send("0\r\n\r\n").await.ok()?;
    }
    Some(())
}

async fn events(wire: &mut Wire, mut texts: broadcast::Receiver<String>) -> Option<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    wire.send(head).await.ok()?;
    while let Ok(text) = texts.recv().await {
        let event = format!("data: {text}\n\n");
        wire.send(format!("{:x}\r\n{event}\r\n", event.len())).await.ok()?;
    }
    wire.send("0\r\n\r\n").await.ok()
}

/// RFC 6455 section 4.2.2.
pub(crate) fn web_socket_accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(hash)
}

async fn web_socket(mut wire: Wire, head: &Head) {
    let accept = web_socket_accept(head.get("sec-websocket-key").unwrap_or_default());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    if wire.send(response).await.is_err() {
        return;
    }
    let mut socket = WebSocketStream::from_partially_read(wire.stream, wire.buffer, Role::Server, None).await;
    let greeting = format!("user={}", head.get("x-auth-user").unwrap_or("nobody"));
    if socket.send(greeting.into()).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() && socket.send(message).await.is_err() {
            return;
        }
    }
}
