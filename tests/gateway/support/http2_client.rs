//! A client that speaks HTTP/2 over TLS.

use std::collections::BTreeMap;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request, request};
use rustls::version::TLS13;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use super::certificates::{Authority, connect};
use super::gateway::HOST;
use super::http2::{read, write};
use super::{World, patiently};

/// A connection to the gateway's TLS listener, and a jar of its own.
pub(crate) struct Http2Client {
    pub(crate) requests: SendRequest<Bytes>,
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
    pub(crate) jar: BTreeMap<String, String>,
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

    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status(), self.json()["code"].as_str()), (status, Some(code)));
    }
}

impl Http2Client {
    pub(crate) async fn start(authority: &Authority, world: &World) -> Self {
        let config = authority.client(&[&TLS13], &[b"h2", b"http/1.1"]);
        let stream = connect(config, world.gateway.tls.unwrap(), HOST).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        let Self { requests, connection, jar } = Self::on(stream, &h2::client::Builder::new()).await;
        let requests = patiently("a first stream", requests.ready()).await.expect("an open connection");
        Self { requests, connection, jar }
    }

    /// One on a connection of its own kind, with these settings.
    pub(crate) async fn on(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        settings: &h2::client::Builder,
    ) -> Self {
        let (requests, connection) = settings.handshake(stream).await.expect("HTTP/2");
        Self { requests, connection: tokio::spawn(connection), jar: BTreeMap::new() }
    }

    /// The same with a session of its own.
    pub(crate) async fn logged_in(authority: &Authority, world: &World) -> Self {
        let jar = world.logged_in("ada").await.jar;
        Self { jar, ..Self::start(authority, world).await }
    }

    pub(crate) fn request(&self, method: &str, target: &str) -> request::Builder {
        let uri = format!("https://{HOST}{target}");
        let mut request = Request::builder().method(method).version(http::Version::HTTP_2).uri(uri);
        // One field for each, as browsers do.
        for (name, value) in &self.jar {
            request = request.header("cookie", format!("{name}={value}"));
        }
        request
    }

    /// Sends a request and reads its answer to the end. The cookies of the answer are kept.
    pub(crate) async fn send(
        &mut self,
        request: request::Builder,
        body: Option<&str>,
    ) -> Result<Http2Answer, h2::Error> {
        let request = request.body(()).expect("a valid request");
        let (response, mut sending) = self.requests.send_request(request, body.is_none())?;
        if let Some(body) = body {
            // A request whose body does not matter may be answered already.
            let _ = sending.send_data(Bytes::copy_from_slice(body.as_bytes()), true);
        }
        let answer = answer(response).await?;
        for cookie in answer.head.headers.get_all("set-cookie") {
            self.keep(cookie.to_str().expect("text"));
        }
        Ok(answer)
    }

    fn keep(&mut self, cookie: &str) {
        let (name, value) = cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("a pair");
        assert!(cookie.contains("; Secure") && cookie.contains("; HttpOnly"), "{cookie}");
        if value.is_empty() {
            self.jar.remove(name)
        } else {
            self.jar.insert(name.into(), value.into())
        };
    }

    pub(crate) async fn get(&mut self, target: &str) -> Http2Answer {
        self.send(self.request("GET", target), None).await.expect("an answer")
    }

    pub(crate) async fn post(&mut self, target: &str, body: &Value) -> Http2Answer {
        let request = self.request("POST", target).header("content-type", "application/json");
        self.send(request, Some(&body.to_string())).await.expect("an answer")
    }

    pub(crate) async fn log_in(&mut self) -> Http2Answer {
        self.post("/api/login", &json!({"username": "ada", "password": "correct horse"})).await
    }

    /// Begins a call of gRPC.
    pub(crate) fn call(&mut self, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
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
pub(crate) async fn answer(response: ResponseFuture) -> Result<Http2Answer, h2::Error> {
    let (head, mut body) = patiently("an answer", response).await?.into_parts();
    let bytes = patiently("the body", read(&mut body)).await;
    let trailers = match &bytes {
        Ok(_) => patiently("the trailers", body.trailers()).await?.unwrap_or_default(),
        Err(_) => HeaderMap::new(),
    };
    Ok(Http2Answer { head, body: bytes, trailers })
}
