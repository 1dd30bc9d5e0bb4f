//! Pingora's view of one request on an HTTP/2 connection: what the `h2` crate makes of it, with the gateway's deadlines.
//!
//! The counterpart of [`crate::connection::http1::message_stream`]: reads fail for the same reasons, which the [`ConnectionWatch`] tells.
//! Here each stream has one of its own, since its end is not the connection's.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use h2::Reason;
use http::{HeaderMap, Method};
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::custom::CustomMessageWrite;
use pingora_core::protocols::http::custom::server::Session;
use pingora_core::protocols::http::v1::client::http_req_header_to_wire;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};

use super::super::stall::{Backlog, Stall, WRITE_TIMEOUT};
use super::raw_stream::RawStream;
use crate::connection::deadlines::{Deadlines, Stage, Timer};
use crate::connection::exchange_control::{ConnectionWatch, EndReason};
use crate::syntax::app_head::has_no_body;

/// A piece of a body below this size is merged with what else has arrived, up to so much.
const SMALL: usize = 1024;
const MERGED: usize = 16 * 1024;

/// So much of an answer is written at once: what has got through is noticed by its pieces.
const PIECE: usize = 16 * 1024;

/// What the other streams of the connection may have in front of a piece that waits for its turn.
const AHEAD: u64 = super::MAX_STREAMS as u64 * super::SEND_BUFFER as u64;

/// One request and its answer.
pub(crate) struct Http2Stream {
    inner: RawStream,
    watch: Arc<ConnectionWatch>,
    deadlines: Deadlines,
    timer: Timer,
    /// A write that waits for the client.
    stall: Stall,
    /// The last byte of the answer is sent.
    is_answered: bool,
}

impl Http2Stream {
    pub(crate) fn new(inner: RawStream, watch: Arc<ConnectionWatch>, body_min_rate: u64) -> Self {
        let deadlines = Deadlines::new(body_min_rate);
        let timer = Timer::default();
        Self { inner, watch, deadlines, timer, stall: Stall::default(), is_answered: false }
    }

    /// A read, unless it fails for a reason of ours.
    async fn read(&mut self, or_idle: bool, no_body_expected: bool) -> Result<Option<Bytes>> {
        let has_body = !self.inner.is_body_done();
        if has_body && self.is_answered {
            // Once the stream is dropped, the rest of the request is not asked for any more (RFC 9113 section 8.1).
            self.watch.set_ended(EndReason::Answered);
            return Err(failure(EndReason::Answered));
        }
        let Self { inner, watch, deadlines, timer, .. } = self;
        let stage = Stage { awaits_body: has_body, is_half_closed: false, is_upgraded: false };
        let read = {
            let mut reading = pin!(async {
                if or_idle {
                    inner.read_body_or_idle(no_body_expected).await
                } else {
                    inner.read_body().await
                }
            });
            poll_fn(|context| match reading.as_mut().poll(context) {
                Poll::Ready(read) => Poll::Ready(watch.ended().map_or(read, |reason| Err(failure(reason)))),
                Poll::Pending => {
                    let ended = deadlines.poll(watch, stage, timer, context, |_, _| None);
                    ended.map(|reason| Err(failure(reason)))
                }
            })
            .await
        };
        let read = match read {
            Ok(Some(bytes)) if bytes.len() < SMALL => self.merge(bytes).await.map(Some),
            read => read,
        };
        if let Ok(Some(bytes)) = &read {
            self.deadlines.body_came(bytes.len());
        }
        read
    }

    /// A small piece of a body with what else has arrived: each piece costs whoever takes it as much as a large one.
    async fn merge(&mut self, first: Bytes) -> Result<Bytes> {
        let mut merged = BytesMut::new();
        for _ in 0..MERGED {
            if merged.len() >= MERGED || self.inner.is_body_done() {
                break;
            }
            let next = {
                let mut reading = pin!(self.inner.read_body());
                poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await
            };
            match next? {
                Poll::Ready(Some(bytes)) if merged.is_empty() => {
                    merged.reserve(MERGED);
                    merged.extend_from_slice(&first);
                    merged.extend_from_slice(&bytes);
                }
                Poll::Ready(Some(bytes)) => merged.extend_from_slice(&bytes),
                // Nothing has arrived, or the end: only trailers can come after what was read.
                _ => break,
            }
        }
        Ok(if merged.is_empty() { first } else { merged.freeze() })
    }

    fn write_head(&mut self, response: Box<ResponseHeader>, end: bool) -> Result<()> {
        // An answer whose head is all of it must say so in its head: nothing may follow.
        let is_to_head = self.inner.request().method == Method::HEAD;
        let status = response.status;
        let end = end || (!status.is_informational() && has_no_body(is_to_head, status.as_u16()));
        check_cut_off(&self.watch)?;
        self.inner.write_head(response, end)?;
        self.deadlines.wrote(false);
        self.is_answered |= end;
        Ok(())
    }

    async fn write(&mut self, mut bytes: Bytes, end: bool) -> Result<()> {
        if self.is_answered {
            return Ok(());
        }
        check_cut_off(&self.watch)?;
        loop {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            let is_last = bytes.is_empty();
            self.write_piece(piece, end && is_last).await?;
            if is_last {
                break;
            }
        }
        self.is_answered |= end;
        Ok(())
    }

    /// Gives up on a client that takes nothing for too long: neither of this stream, nor of what was sent on its connection
    /// before, and may hold this up.
    async fn write_piece(&mut self, piece: Bytes, end: bool) -> Result<()> {
        let Self { inner, watch, deadlines, stall, .. } = self;
        stall.end();
        let timeout = watch.write_timeout().unwrap_or(WRITE_TIMEOUT);
        let socket = inner.digest().socket_digest.clone();
        let mut backlog = None;
        {
            let mut writing = pin!(inner.write_body(piece, end));
            poll_fn(|context| {
                if let Poll::Ready(written) = writing.as_mut().poll(context) {
                    return Poll::Ready(written);
                }
                let backlog = backlog.get_or_insert_with(|| Backlog::new(socket.as_deref(), AHEAD));
                let acknowledged = || backlog.acknowledged(socket.as_deref());
                stall.poll(context, timeout, acknowledged).map(|()| {
                    let explanation = "the client takes nothing of its answer";
                    Error::e_explain(ErrorType::WriteTimedout, explanation).map_err(Error::into_down)
                })
            })
            .await?;
        }
        deadlines.wrote(false);
        Ok(())
    }

    /// One step of an answer; whether it was the last.
    async fn write_task(&mut self, task: HttpTask) -> Result<bool> {
        let written = match task {
            HttpTask::Header(head, end) => self.write_head(head, end).map(|()| end),
            HttpTask::Body(Some(bytes), end) if !bytes.is_empty() => {
                self.write(bytes, end).await.map(|()| end)
            }
            HttpTask::Body(_, end) => Ok(end),
            HttpTask::Trailer(Some(trailers)) => self.write_trailers(*trailers).await.map(|()| true),
            HttpTask::Trailer(None) | HttpTask::Done => Ok(true),
            HttpTask::UpgradedBody(..) => {
                Error::e_explain(ErrorType::InternalError, "HTTP/2 streams are not upgraded")
            }
            // The app's, not the client's: it must stay known whose it is.
            HttpTask::Failed(error) => return Err(error),
        };
        written.map_err(Error::into_down)
    }
}

/// The error with which the reads and writes of an ended exchange fail.
#[expect(clippy::unnecessary_box_returns, reason = "Pingora's results have it boxed")]
fn failure(reason: EndReason) -> Box<Error> {
    let kind = match reason {
        EndReason::ResponseTimeout | EndReason::BodyTooSlow | EndReason::AppIdle => ErrorType::ReadTimedout,
        _ => ErrorType::ConnectionClosed,
    };
    Error::explain(kind, "the stream is ended").into_down()
}

/// Fails where the exchange is cut off: it gets nothing more. After any other end there is still an answer.
fn check_cut_off(control: &ConnectionWatch) -> Result<()> {
    match control.ended() {
        Some(reason) if reason.cuts_off() => Err(failure(reason)),
        _ => Ok(()),
    }
}

#[async_trait]
impl Session for Http2Stream {
    fn req_header(&self) -> &RequestHeader {
        self.inner.request()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner.request_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.read(false, false).await
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        self.read(true, no_body_expected).await
    }

    /// Nothing to do: the connection lives on without it.
    async fn drain_request_body(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write_response_header(&mut self, response: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.write_head(response, end)
    }

    async fn write_response_header_ref(&mut self, response: &ResponseHeader, end: bool) -> Result<()> {
        self.write_head(Box::new(response.clone()), end)
    }

    async fn write_body(&mut self, bytes: Bytes, end: bool) -> Result<()> {
        self.write(bytes, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if self.is_answered {
            return Ok(());
        }
        check_cut_off(&self.watch)?;
        self.is_answered = true;
        self.inner.write_trailers(trailers)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut is_end = false;
        for task in tasks {
            is_end |= self.write_task(task).await?;
        }
        if is_end {
            self.finish().await.map_err(Error::into_down)?;
        }
        Ok(is_end)
    }

    /// Reads have deadlines of their own.
    fn set_read_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    /// The gateway sets that of the watch.
    fn set_write_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_write_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_total_drain_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        None
    }

    fn request_summary(&self) -> String {
        // For Pingora's own log, which nobody reads: a target is not for logs.
        self.inner.request().method.to_string()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.inner.written()
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.inner.reset(Reason::INTERNAL_ERROR);
    }

    fn is_body_done(&mut self) -> bool {
        self.inner.is_body_done()
    }

    async fn finish(&mut self) -> Result<()> {
        self.is_answered |= self.inner.written().is_some();
        self.inner.finish()
    }

    fn is_body_empty(&mut self) -> bool {
        self.inner.is_body_empty()
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner.bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.inner.bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        Some(self.inner.digest())
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Arc::get_mut(self.inner.digest_mut())
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner.digest().socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner.digest().socket_digest.as_ref()?.local_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        http_req_header_to_wire(self.inner.request()).map(BytesMut::freeze).unwrap_or_default()
    }

    fn enable_retry_buffering(&mut self) {
        self.inner.keep_body();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.inner.is_kept_in_part()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.inner.kept_body()
    }

    // There are no messages beside the body.

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}
