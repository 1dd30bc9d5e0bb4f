//! One request on an HTTP/2 connection and its answer: a stream of the `h2` crate with the gateway's deadlines.
//!
//! This is the counterpart of [`crate::connection::http1::pingora_stream`]. Reads fail for the same reasons, which the
//! [`ExchangeControl`] holds. Here each stream has a control of its own, since its end is not the connection's end.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use pingora_core::protocols::http::HttpTask;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;

use super::super::stall::{Backlog, Stall, WRITE_TIMEOUT};
use super::raw_stream::RawStream;
use crate::connection::deadlines::{Deadlines, Stage, Timer};
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::exchange_end::EndReason;
use crate::syntax::app_head::has_no_body;

/// A piece of a body below `SMALL` bytes is merged with other bytes that have arrived, up to `MERGED` bytes.
const SMALL: usize = 1024;
const MERGED: usize = 16 * 1024;

/// The most bytes of an answer that are written at once. Progress is noticed piece by piece.
const PIECE: usize = 16 * 1024;

/// The number of bytes that the other streams of the connection may have in front of a piece that waits for its turn.
const AHEAD: u64 = super::limits::MAX_STREAMS as u64 * super::limits::SEND_BUFFER as u64;

/// One request and its answer.
pub(crate) struct Http2Stream {
    inner: RawStream,
    control: Arc<ExchangeControl>,
    deadlines: Deadlines,
    timer: Timer,
    /// A write that waits for the client.
    stall: Stall,
    /// The last byte of the answer was sent.
    is_answered: bool,
}

impl Http2Stream {
    pub(crate) fn new(inner: RawStream, control: Arc<ExchangeControl>, body_min_rate: u64) -> Self {
        let deadlines = Deadlines::new(body_min_rate);
        let timer = Timer::default();
        Self { inner, control, deadlines, timer, stall: Stall::default(), is_answered: false }
    }

    /// Reads a piece of the body, or fails if the exchange is ended here.
    pub(super) async fn read(&mut self, or_idle: bool, no_body_expected: bool) -> Result<Option<Bytes>> {
        let has_body = !self.inner.is_body_done();
        if has_body && self.is_answered {
            // Once the stream is dropped, nobody asks for the rest of the request any more (RFC 9113 section 8.1).
            self.control.set_ended(EndReason::Answered);
            return Err(failure(EndReason::Answered));
        }
        let Self { inner, control, deadlines, timer, .. } = self;
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
                Poll::Ready(read) => Poll::Ready(control.ended().map_or(read, |reason| Err(failure(reason)))),
                Poll::Pending => {
                    let ended = deadlines.poll(control, stage, timer, context, |_, _| None);
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

    /// Joins a small piece of a body with other bytes that have arrived. A small piece costs its reader as much as a
    /// large one.
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
                // Nothing has arrived, or the body has ended: only trailers can come after the bytes that were read.
                _ => break,
            }
        }
        Ok(if merged.is_empty() { first } else { merged.freeze() })
    }

    pub(super) fn write_head(&mut self, response: Box<ResponseHeader>, end: bool) -> Result<()> {
        // An answer without a body must end with its head, because nothing may follow.
        let is_to_head = self.inner.request().method == Method::HEAD;
        let status = response.status;
        let end = end || (!status.is_informational() && has_no_body(is_to_head, status.as_u16()));
        check_cut_off(&self.control)?;
        self.inner.write_head(response, end)?;
        self.deadlines.wrote(false);
        self.is_answered |= end;
        Ok(())
    }

    pub(super) async fn write(&mut self, mut bytes: Bytes, end: bool) -> Result<()> {
        if self.is_answered {
            return Ok(());
        }
        check_cut_off(&self.control)?;
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

    /// Writes a piece, and gives up if the client takes nothing for too long. The client makes progress if it takes
    /// bytes of this stream. Bytes that were sent on its connection before count too, because they may delay this
    /// stream.
    async fn write_piece(&mut self, piece: Bytes, end: bool) -> Result<()> {
        let Self { inner, control, deadlines, stall, .. } = self;
        stall.end();
        let timeout = control.timeouts.write().unwrap_or(WRITE_TIMEOUT);
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

    /// Writes one step of an answer; returns true for the last one.
    pub(super) async fn write_task(&mut self, task: HttpTask) -> Result<bool> {
        let written = match task {
            HttpTask::Header(head, end) => self.write_head(head, end).map(|()| end),
            HttpTask::Body(Some(bytes), end) if !bytes.is_empty() => {
                self.write(bytes, end).await.map(|()| end)
            }
            HttpTask::Body(_, end) => Ok(end),
            HttpTask::Trailer(Some(trailers)) => self.send_trailers(*trailers).map(|()| true),
            HttpTask::Trailer(None) | HttpTask::Done => Ok(true),
            HttpTask::UpgradedBody(..) => {
                Error::e_explain(ErrorType::InternalError, "HTTP/2 streams are not upgraded")
            }
            // The error is the app's, not the client's. This must stay known.
            HttpTask::Failed(error) => return Err(error),
        };
        written.map_err(Error::into_down)
    }

    /// Writes the trailers, which end the answer.
    pub(super) fn send_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if self.is_answered {
            return Ok(());
        }
        check_cut_off(&self.control)?;
        self.is_answered = true;
        self.inner.write_trailers(trailers)
    }

    /// Ends the answer.
    pub(super) fn end_answer(&mut self) -> Result<()> {
        self.is_answered |= self.inner.written().is_some();
        self.inner.finish()
    }

    pub(super) const fn raw(&self) -> &RawStream {
        &self.inner
    }

    pub(super) const fn raw_mut(&mut self) -> &mut RawStream {
        &mut self.inner
    }
}

/// Returns the error with which the reads and writes of an ended exchange fail.
#[expect(clippy::unnecessary_box_returns, reason = "Pingora's results have it boxed")]
fn failure(reason: EndReason) -> Box<Error> {
    let kind = match reason {
        EndReason::ResponseTimeout | EndReason::BodyTooSlow | EndReason::AppIdle => ErrorType::ReadTimedout,
        _ => ErrorType::ConnectionClosed,
    };
    Error::explain(kind, "the stream is ended").into_down()
}

/// Fails if the exchange is cut off, because then it gets nothing more. After any other end there is still an answer.
fn check_cut_off(control: &ExchangeControl) -> Result<()> {
    match control.ended() {
        Some(reason) if reason.cuts_off() => Err(failure(reason)),
        _ => Ok(()),
    }
}
