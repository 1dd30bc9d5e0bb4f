//! The inner parts of client connections, for [`crate::fuzzing`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use http::StatusCode;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::Stream;
use tokio::io::ReadBuf;

use crate::http1::chunked::Decoder;
use crate::http1::merged_chunks::{Merger, Source};

use crate::connection::connection_settings::ConnectionSettings;
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::http1::head_fields::{self, Upgrade};
use crate::connection::http1::request_head::check;
use crate::connection::http1::serve_connection::serve;

/// The way in which the end of a request's body is found (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// This many bytes, at least one.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// A head that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The end of the body.
    pub framing: Framing,
    /// True for a WebSocket handshake.
    pub is_websocket: bool,
    /// True if the client waits for `100 Continue`.
    pub expect_continue: bool,
    /// The bytes that are passed on.
    pub rewritten: Vec<u8>,
}

/// Reads one head, from its request line through its empty line, or returns the status with which it is refused.
pub fn read_request_head(head: &[u8]) -> Result<Head, StatusCode> {
    let checked = check(head).map_err(|refusal| refusal.problem().status)?;
    Ok(Head {
        framing: match checked.framing {
            head_fields::Framing::None => Framing::None,
            head_fields::Framing::Length(length) => Framing::Length(length),
            head_fields::Framing::Chunked => Framing::Chunked,
        },
        is_websocket: checked.upgrade == Some(Upgrade::WebSocket),
        expect_continue: checked.expect_continue,
        rewritten: checked.rewrite(BytesMut::from(head)).to_vec(),
    })
}

/// Codes a chunked body anew. The body arrives in pieces of `input_size`, and goes into space of `output_size` bytes.
/// Returns the bytes that are passed on, and how many bytes were left after the body's end. Returns `None` if the body
/// is malformed or has no end. Sizes of 0 count as 1.
pub fn merge_chunked(coded: &[u8], input_size: usize, output_size: usize) -> Option<(Vec<u8>, usize)> {
    let mut source = Arriving { ahead: BytesMut::new(), rest: coded, size: input_size.max(1) };
    let (mut merger, mut passed) = (Merger::new(Decoder::of_request()), Vec::new());
    let mut context = Context::from_waker(Waker::noop());
    loop {
        let mut space = vec![0; output_size.max(1)];
        let mut output = ReadBuf::new(&mut space);
        let Poll::Ready(Ok(())) = merger.poll_read(&mut source, &mut context, &mut output) else {
            return None;
        };
        if output.filled().is_empty() {
            return merger.is_done().then(|| (passed, source.ahead.len() + source.rest.len()));
        }
        passed.extend_from_slice(output.filled());
    }
}

/// A body that arrives piece by piece.
struct Arriving<'a> {
    ahead: BytesMut,
    rest: &'a [u8],
    size: usize,
}

impl Arriving<'_> {
    fn take(&mut self, limit: usize) -> &[u8] {
        let (piece, rest) = self.rest.split_at(self.rest.len().min(limit).min(self.size));
        self.rest = rest;
        piece
    }
}

impl Source for Arriving<'_> {
    fn ahead(&mut self) -> &mut BytesMut {
        &mut self.ahead
    }

    fn poll_fill(&mut self, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let piece = self.take(usize::MAX).to_vec();
        self.ahead.extend_from_slice(&piece);
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_past(
        &mut self,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        limit: u64,
    ) -> Poll<io::Result<usize>> {
        let piece = self.take(buffer.remaining().min(usize::try_from(limit).unwrap_or(usize::MAX)));
        buffer.put_slice(piece);
        Poll::Ready(Ok(piece.len()))
    }
}

/// Serves one connection to its end, as the listeners do.
pub async fn serve_connection<A>(stream: Stream, app: &Arc<A>, max_header_size: usize)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let settings = ConnectionSettings {
        header_timeout: Duration::from_secs(10),
        keep_alive_timeout: Duration::from_secs(60),
        max_header_size,
        body_min_rate: 1,
        access_log: crate::config::AccessLog::Off,
    };
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    serve(stream, app, &settings, Arc::new(ExchangeControl::new(nowhere, false))).await;
}
