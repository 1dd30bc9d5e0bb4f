//! An app that speaks HTTP/2, and a client that does so over TLS.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response, request};
use rustls::version::TLS13;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::certificates::{Authority, connect};
use super::listening::Listening;
use super::port::Port;
use super::{World, patiently};

/// One request at the app, and the way to answer it.
pub(crate) struct Call {
    pub(crate) head: request::Parts,
    pub(crate) body: RecvStream,
    pub(crate) respond: SendResponse<Bytes>,
    /// Which of the app's connections it came on.
    pub(crate) connection: usize,
}

/// One request as the app saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With scheme and authority.
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) connection: usize,
}

impl Seen {
    /// The only value of a header.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let all: Vec<_> = self.headers.get_all(name).iter().collect();
        assert!(all.len() <= 1, "`{name}` occurs {} times: {all:?}", all.len());
        all.first().map(|value| value.to_str().expect("text"))
    }
}

type Handler = Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

struct Shared {
    handler: Handler,
    settings: h2::server::Builder,
    seen: Mutex<Vec<Seen>>,
    goodbye: watch::Sender<usize>,
}

/// The app.
pub(crate) struct Http2App {
    listening: Listening,
    shared: Arc<Shared>,
}

impl Http2App {
    /// One that answers each request with `handler`.
    pub(crate) async fn start<F, R>(handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::with(h2::server::Builder::new(), handler).await
    }

    /// The same at a port that is reserved already.
    pub(crate) async fn at<F, R>(port: Port, handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::new(port, h2::server::Builder::new(), handler).await
    }

    /// The same with settings.
    pub(crate) async fn with<F, R>(settings: h2::server::Builder, handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::new(Port::reserve(), settings, handler).await
    }

    async fn new<F, R>(port: Port, settings: h2::server::Builder, handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |call| Box::pin(handler(call)));
        let (goodbye, _) = watch::channel(0);
        let shared = Arc::new(Shared { handler, settings, seen: Mutex::default(), goodbye });
        let state = shared.clone();
        let listening =
            Listening::at(port, move |wire, number| serve(wire.stream, number, state.clone())).await;
        Self { listening, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("h2c://{}", self.listening.address())
    }

    pub(crate) fn listening(&self) -> &Listening {
        &self.listening
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("a request")
    }

    /// Says goodbye on every connection, as an app does that is replaced: what is under way is answered.
    pub(crate) fn say_goodbye(&self) {
        self.shared.goodbye.send_modify(|count| *count += 1);
    }
}

async fn serve(stream: TcpStream, number: usize, shared: Arc<Shared>) {
    let Ok((stream, held)) = twice(stream) else { return };
    serve_streams(stream, number, shared).await;
    // What still comes is read: closing before that would reset the connection, and take back answers that are on their way.
    let Ok(mut held) = TcpStream::from_std(held) else { return };
    let _ended = tokio::io::copy(&mut held, &mut tokio::io::sink()).await;
}

/// A connection, and what keeps it from being closed.
fn twice(stream: TcpStream) -> std::io::Result<(TcpStream, std::net::TcpStream)> {
    let stream = stream.into_std()?;
    let held = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, held))
}

async fn serve_streams(stream: TcpStream, number: usize, shared: Arc<Shared>) {
    let Ok(mut connection) = shared.settings.handshake::<_, Bytes>(stream).await else { return };
    let mut goodbye = shared.goodbye.subscribe();
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                let (head, body) = request.into_parts();
                shared.seen.lock().unwrap().push(Seen {
                    method: head.method.to_string(),
                    uri: head.uri.to_string(),
                    headers: head.headers.clone(),
                    connection: number,
                });
                tokio::spawn((shared.handler)(Call { head, body, respond, connection: number }));
            }
            Ok(()) = goodbye.changed() => connection.graceful_shutdown(),
        }
    }
}

/// Reads a body to its end, as fast as it comes.
pub(crate) async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        let _ = body.flow_control().release_capacity(chunk.len());
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Sends bytes as the other side takes them.
pub(crate) async fn write(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let capacity = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let Some(capacity) = capacity.transpose()? else { return Err(h2::Reason::CANCEL.into()) };
        stream.send_data(bytes.split_to(capacity.min(bytes.len())), false)?;
    }
    Ok(())
}

/// A head with this status alone.
pub(crate) fn response(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).unwrap()
}

/// JSON that says what was received.
pub(crate) async fn echo(mut call: Call) {
    let body = read(&mut call.body).await.unwrap_or_default();
    let mut headers: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    for (name, value) in &call.head.headers {
        headers.entry(name.as_str()).or_default().push(value.to_str().unwrap_or("?"));
    }
    let echo = json!({
        "app": "http2",
        "method": call.head.method.as_str(),
        "target": call.head.uri.path_and_query().map(http::uri::PathAndQuery::as_str),
        "authority": call.head.uri.authority().map(http::uri::Authority::as_str),
        "headers": headers,
        "length": body.len(),
        "body": String::from_utf8_lossy(&body),
    })
    .to_string();
    let is_head = call.head.method == http::Method::HEAD;
    let response = Response::builder().header("content-type", "application/json");
    let response = response.header("content-length", echo.len()).body(()).unwrap();
    let Ok(mut stream) = call.respond.send_response(response, is_head) else { return };
    if !is_head {
        let _ = stream.send_data(echo.into(), true);
    }
}

/// A client of HTTP/2 at the gateway's TLS listener.
pub(crate) struct Http2Client {
    pub(crate) requests: SendRequest<Bytes>,
    /// Sent with every request.
    pub(crate) cookies: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Http2Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Result<Vec<u8>, h2::Error>,
    pub(crate) trailers: HeaderMap,
}

impl Http2Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(self.body.as_ref().expect("a whole body")).expect("JSON")
    }
}

impl Http2Client {
    pub(crate) async fn start(authority: &Authority, world: &World) -> Self {
        let config = authority.client(&[&TLS13], &[b"h2"]);
        let stream =
            connect(config, world.gateway.tls.unwrap(), "store.localhost").await.expect("a handshake");
        let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let requests = patiently("a first stream", requests.ready()).await.expect("an open connection");
        Self { requests, cookies: None }
    }

    /// The same with a session of its own.
    pub(crate) async fn logged_in(authority: &Authority, world: &World) -> Self {
        let cookies = world.logged_in("ada").await.cookie_header();
        Self { cookies, ..Self::start(authority, world).await }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> request::Builder {
        let uri = format!("https://store.localhost{path}");
        let request = Request::builder().method(method).version(http::Version::HTTP_2).uri(uri);
        match &self.cookies {
            Some(cookies) => request.header("cookie", cookies),
            None => request,
        }
    }

    /// Begins a call of gRPC.
    pub(crate) fn call(&mut self, path: &str) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let request = self.request("POST", path).header("te", "trailers");
        let request = request.header("content-type", "application/grpc").body(()).unwrap();
        self.requests.send_request(request, false).expect("an open connection")
    }

    /// Makes a call of gRPC with one message, to its end.
    pub(crate) async fn unary(&mut self, path: &str, message: &[u8]) -> Result<Http2Answer, h2::Error> {
        let (response, mut sending) = self.call(path);
        // It may be answered already.
        if write(&mut sending, Bytes::copy_from_slice(message)).await.is_ok() {
            let _ = sending.send_data(Bytes::new(), true);
        }
        answer(response).await
    }
}

/// Reads an answer to its end.
pub(crate) async fn answer(response: h2::client::ResponseFuture) -> Result<Http2Answer, h2::Error> {
    let (head, mut body) = patiently("an answer", response).await?.into_parts();
    let bytes = patiently("the body", read(&mut body)).await;
    let trailers = match &bytes {
        Ok(_) => patiently("the trailers", body.trailers()).await?.unwrap_or_default(),
        Err(_) => HeaderMap::new(),
    };
    Ok(Http2Answer { head, body: bytes, trailers })
}
