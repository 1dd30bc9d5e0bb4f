//! A whole connection: heads, bodies, and what is pipelined behind them, up to the requests that Pingora reads.
//!
//! An input is one byte that says how the rest is cut, and what a client sends. The requests that Pingora sees whole
//! are, one after the other, those that another parser finds in the same bytes, and do not depend on how these arrive.
//! So nothing in the bytes is a body to one of them and a request to the other. Requests that are plain are all seen.

#![no_main]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http::Version;
use libfuzzer_sys::fuzz_target;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use portcullis::fuzzing::serve_connection;
use portcullis_fuzz::http_bytes::{Request, read_requests};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Far beyond any input: its own limit is not what is tested here.
const MAX_HEADER_SIZE: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((&cut, stream)) = input.split_first() else { return };
    let seen = serve(stream, usize::MAX);
    let cut = serve(stream, usize::from(cut) + 1);
    assert_eq!(seen, cut, "it depends on how the bytes arrive");
    let stream = stream.strip_prefix(b"\r\n").unwrap_or(stream);
    let expected = read_requests(stream);
    assert!(seen.len() <= expected.len(), "{seen:?} are more than {expected:?}");
    assert!(seen.len() >= count_plain(&expected), "{seen:?} are less than {expected:?}");
    for (seen, expected) in seen.iter().zip(&expected) {
        assert_eq!(seen.body, expected.body, "{seen:?} {expected:?}");
        assert_eq!(seen.values("host").collect::<Vec<_>>(), expected.values("host").collect::<Vec<_>>());
        let (method, target) = expected.line.split_once(' ').expect("two words");
        let (seen_method, seen_target) = seen.line.split_once(' ').expect("two words");
        assert_eq!(method, seen_method);
        assert!(target == seen_target || !target.starts_with('/'), "{target} {seen_target}");
    }
});

/// Returns the number of requests at the start that have nothing which may be refused or may end the connection.
fn count_plain(requests: &[Request]) -> usize {
    let is_plain = |request: &&Request| {
        let mut words = request.line.split(['/', ' ']);
        let fields = request.fields.iter().map(|(name, _)| name.as_str());
        request.is_canonical
            && ["GET", "POST"].contains(&words.next().unwrap_or_default())
            && words.all(|word| word.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            && request.line.contains(" /")
            && fields.clone().all(|name| ["host", "content-length", "x", "accept"].contains(&name))
            && request.values("host").eq([b"a"])
            && request.values("content-length").all(|length| matches!(length, [b'0'..=b'9']))
            && request.values("content-length").count() < 2
    };
    requests.iter().take_while(is_plain).count()
}

/// The requests that come out whole when a client sends these bytes in such pieces and then no more.
fn serve(stream: &[u8], piece_size: usize) -> Vec<Request> {
    // Its clock moves on as soon as everybody waits, so no time-out takes any time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let app = Arc::new(Recorder::default());
    runtime.block_on(async {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let (mut answers, mut requests) = tokio::io::split(client);
        let send = async {
            for piece in stream.chunks(piece_size) {
                if requests.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            let _closed_already = requests.shutdown().await;
        };
        let receive = async {
            let mut sink = Vec::new();
            let _closed_already = answers.read_to_end(&mut sink).await;
        };
        tokio::join!(serve_connection(Box::new(server), &app, MAX_HEADER_SIZE), send, receive);
    });
    std::mem::take(&mut *app.seen.lock().expect("unpoisoned"))
}

#[derive(Default)]
struct Recorder {
    seen: Mutex<Vec<Request>>,
}

#[async_trait]
impl HttpServerApp for Recorder {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        session.read_request().await.ok().filter(|is_there| *is_there)?;
        session.set_keepalive(Some(60));
        let head = session.req_header();
        let target = String::from_utf8_lossy(head.raw_path()).into_owned();
        let fields = head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let mut request = Request {
            line: format!("{} {target}", head.method),
            is_canonical: head.version == Version::HTTP_11,
            fields: fields.collect(),
            body: Vec::new(),
        };
        while let Some(bytes) = session.read_request_body().await.ok()? {
            request.body.extend_from_slice(&bytes);
        }
        self.seen.lock().expect("unpoisoned").push(request);
        let mut response = ResponseHeader::build(204, None).ok()?;
        response.insert_header("x-from", "the app").ok()?;
        session.write_response_header(Box::new(response)).await.ok()?;
        let settings = HttpPersistentSettings::for_session(&session);
        let stream = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }
}
