//! An app that speaks HTTP/2 without TLS.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Response, request};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::listening::Listening;
use super::port::Port;

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
    // What still comes is read: closing before that would reset the connection, and take back answers that are on their
    // way.
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
