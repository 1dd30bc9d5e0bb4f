//! Clients leave in all possible ways. Nothing has failed, so nothing is a warning, and the log says which client it
//! was.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::certificates::{Authority, connect};
use crate::support::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, block, frame,
};
use crate::support::gateway::Builder;
use crate::support::http2::{Call, Http2App, read, response, write};
use crate::support::port::Port;
use crate::support::program::Program;
use crate::support::{Endpoint, Fault, Reply, World, patiently, wait_for};

/// The client's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http1OverTls,
    Http2,
}

/// The request of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Of an app that speaks HTTP/1.1, or HTTP/2.
    App1,
    App2,
    Grpc,
    WebSocket,
    /// A login, whose answer is Portcullis's own.
    Login,
}

/// When it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Uploading,
    Waiting,
    Reading,
}

/// And how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// The connection's end, in order.
    Closes,
    /// The connection is reset: over TLS without a word of goodbye.
    Aborts,
    /// RST_STREAM.
    ResetsStream,
    /// GOAWAY, then the connection's end.
    SaysGoodbye,
}

#[derive(Debug, Clone, Copy)]
struct Way {
    protocol: Protocol,
    what: What,
    when: When,
    how: How,
}

fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for protocol in [Protocol::Http1, Protocol::Http1OverTls, Protocol::Http2] {
        for what in [What::App1, What::App2, What::Grpc, What::WebSocket, What::Login] {
            for when in [When::Uploading, When::Waiting, When::Reading] {
                for how in [How::Closes, How::Aborts, How::ResetsStream, How::SaysGoodbye] {
                    let is_framed = matches!(how, How::ResetsStream | How::SaysGoodbye) || what == What::Grpc;
                    // A login's answer is a few bytes: nobody is seen to leave in the middle of it.
                    let is_seen = (what, when) != (What::Login, When::Reading);
                    // There is none over HTTP/2, and before it is open it is a request as any other.
                    let is_there =
                        what != What::WebSocket || (protocol != Protocol::Http2 && when == When::Reading);
                    if is_seen && is_there && (protocol == Protocol::Http2 || !is_framed) {
                        ways.push(Way { protocol, what, when, how });
                    }
                }
            }
        }
    }
    ways
}

enum Client {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        let sending = async {
            match self {
                Self::Plain(stream) => stream.write_all(bytes).await,
                Self::Tls(stream) => {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
            }
        };
        patiently("bytes to be taken", sending).await.expect("an open connection");
    }

    /// Reads so much of what there is to read.
    async fn take(&mut self, count: usize) {
        let mut bytes = vec![0; count];
        let taking = async {
            match self {
                Self::Plain(stream) => stream.read_exact(&mut bytes).await,
                Self::Tls(stream) => stream.read_exact(&mut bytes).await,
            }
        };
        patiently("an answer", taking).await.expect("an open connection");
    }

    async fn close(self) {
        match self {
            Self::Plain(stream) => drop(stream),
            Self::Tls(mut stream) => {
                let _ = stream.shutdown().await;
            }
        }
    }

    fn abort(self) {
        let socket = match &self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        socket.set_zero_linger().expect("a live socket");
    }
}

/// A gateway in a process of its own, and what is behind it.
struct Place {
    program: Program,
    builder: Builder,
    app: Http2App,
    authority: Authority,
    tls: Port,
}

/// Answers as the path says.
async fn serve(mut call: Call) {
    match call.head.uri.path() {
        path if path.contains("uploading") => {
            let _ = read(&mut call.body).await;
        }
        path if path.contains("waiting") => std::future::pending().await,
        _ => {
            let Ok(mut stream) = call.respond.send_response(response(200), false) else { return };
            while write(&mut stream, Bytes::from(vec![b'd'; 64 * 1024])).await.is_ok() {}
        }
    }
}

impl Place {
    async fn start() -> Self {
        let authority = Authority::new();
        authority.certify("both", &["store.localhost", "forums.localhost"]);
        let app = Http2App::start(serve).await;
        let port = Port::reserve();
        let tls = authority.server_at(&port, &["both"]);
        let upstream = format!("[apps.forums]\nupstreams = ['{}']", app.url());
        let log = "[server.log]\nformat = 'json'\naccess = 'all'";
        // Nobody is to be gone because of these.
        let limits = "[server.limits]\nlogin_body_timeout = '10m'\n[apps.store.timeouts]\nidle = '10m'\nresponse = '10m'\n\
                      [apps.forums.timeouts]\nidle = '10m'\nresponse = '10m'\n[identity_providers.main]\nrequest_timeout = '1s'";
        let builder =
            World::builder().await.lay_over(&tls).lay_over(&upstream).lay_over(log).lay_over(limits);
        let (program, builder) = Program::start_quietly(builder).await;
        Self { program, builder, app, authority, tls: port }
    }

    async fn open(&self, protocol: Protocol) -> Client {
        if protocol == Protocol::Http1 {
            return Client::Plain(
                TcpStream::connect(self.program.address).await.expect("the gateway listens"),
            );
        }
        let alpn: &[u8] = if protocol == Protocol::Http2 { b"h2" } else { b"http/1.1" };
        let config = self.authority.client(&[&rustls::version::TLS13], &[alpn]);
        let stream = connect(config, self.tls.address(), "store.localhost").await.expect("a handshake");
        Client::Tls(Box::new(stream))
    }

    /// Returns the number of requests that the apps and the provider have seen.
    fn seen(&self) -> usize {
        self.builder.store.heads() + self.app.seen().len() + self.builder.provider.count(Endpoint::Login)
    }

    /// Leaves in this way; the path by which the log knows the request.
    async fn leave(&self, number: usize, way: Way) -> String {
        let Way { protocol, what, when, how } = way;
        let word = format!("{when:?}").to_lowercase();
        let path = match what {
            What::Login => "/api/login".to_owned(),
            _ => format!("/open/{word}/{number}"),
        };
        match when {
            _ if what == What::WebSocket => self.builder.store.on(&path, Reply::WebSocket),
            When::Waiting => self.builder.store.on(&path, Reply::after(3_600_000, Reply::Echo)),
            When::Reading => self.builder.store.on(&path, Reply::Download { length: 1 << 30, chunked: true }),
            When::Uploading => {}
        }
        if (what, when) == (What::Login, When::Waiting) {
            self.builder.provider.fail_next(Endpoint::Login, Fault::delay(400));
        }
        let before = self.seen();
        let mut client = self.open(protocol).await;
        client.send(&request(way, &path)).await;
        if (what, when) == (What::Login, When::Uploading) {
            // Nobody else sees it: what has been read for long must have been looked at.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        } else {
            wait_for("the request to be under way", || self.seen() > before).await;
        }
        if when == When::Reading {
            // Of a WebSocket, some of the handshake.
            client.take(if what == What::WebSocket { 100 } else { 4096 }).await;
        }
        match how {
            How::Closes => client.close().await,
            How::Aborts => client.abort(),
            How::ResetsStream => {
                client.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await;
                client.send(&frame(PING, 0, 0, b"stays on")).await;
                // The connection is there until this task ends, a moment later than what is to be seen.
                tokio::spawn(async move {
                    let mut client = client;
                    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
                    client.send(&frame(PING, ACK, 0, b"stays on")).await;
                });
            }
            How::SaysGoodbye => {
                client.send(&frame(GOAWAY, 0, 0, &[0; 8])).await;
                client.close().await;
            }
        }
        path
    }
}

/// Returns the bytes that the client has sent by the time it leaves.
fn request(way: Way, path: &str) -> Vec<u8> {
    let Way { protocol, what, when, .. } = way;
    let host = if matches!(what, What::App1 | What::WebSocket | What::Login) {
        "store.localhost"
    } else {
        "forums.localhost"
    };
    let login = json!({"username": "ada", "password": "correct horse"}).to_string();
    let (body, length) = match (what, when) {
        (What::Login, When::Waiting) => (login.as_str(), login.len()),
        (What::Grpc, _) => ("\0\0\0\0\u{1}x", 0),
        (_, When::Uploading) => ("{", 1000),
        _ => ("", 0),
    };
    let method =
        if what == What::Login || what == What::Grpc || when == When::Uploading { "POST" } else { "GET" };
    let kind = if what == What::Grpc { "application/grpc" } else { "application/json" };
    let length = length.to_string();
    if protocol != Protocol::Http2 {
        let fields = if what == What::WebSocket {
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n".to_owned()
        } else if method == "GET" {
            String::new()
        } else {
            format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n")
        };
        return format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n{body}").into_bytes();
    }
    let mut fields = vec![(":method", method), (":scheme", "https"), (":authority", host), (":path", path)];
    fields.push(("content-type", kind));
    if what == What::Grpc {
        fields.push(("te", "trailers"));
    } else if method == "POST" {
        fields.push(("content-length", &length));
    }
    let is_whole = method == "GET" || (what != What::Grpc && when == When::Waiting);
    let ends = |is_last: bool| if is_last && is_whole { END_STREAM } else { 0 };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_HEADERS | ends(body.is_empty()), 1, &block(&fields)));
    if !body.is_empty() {
        bytes.extend(frame(DATA, ends(true), 1, body.as_bytes()));
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_is_named_and_nothing_is_a_warning() {
    let place = Place::start().await;
    let log = place.program.file("log");
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&log).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let warnings = || lines().into_iter().filter(|line| line["level"] == "WARN" || line["level"] == "ERROR");
    // Of the start.
    let before = warnings().count();
    let mut wrong = Vec::new();
    for (number, way) in ways().into_iter().enumerate() {
        let is_line = |line: &&Value, path: &str| line["target"] == "access" && line["path"] == path;
        let logins = lines().iter().filter(|line| is_line(line, "/api/login")).count();
        let path = place.leave(number, way).await;
        let known = if path == "/api/login" { logins } else { 0 };
        wait_for("its line", || lines().iter().filter(|line| is_line(line, &path)).count() > known).await;
        let line = lines().into_iter().rfind(|line| is_line(&line, &path)).unwrap();
        let also = match (way.what, way.when) {
            // Its answer was sent to somebody who was not known to be gone yet.
            (What::Login, When::Waiting) => "served",
            // Either side may end one.
            (What::WebSocket, _) => "public",
            _ => "client_gone",
        };
        if line["reason"] != "client_gone" && line["reason"] != also {
            wrong.push((way, line["reason"].clone(), line["error"].clone()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let warnings: Vec<_> = warnings().skip(before).collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
}
