//! Finds the requests that the `h2` crate refuses by itself without telling anybody. It finds them by watching the
//! frames in both directions.
//!
//! The crate resets a request that is malformed or exceeds the limit of streams. It answers a request whose head is far
//! too large with a bare 431, and ends the connection of a client that breaks the protocol. A request was refused by
//! the crate if its stream is reset or answered although the request was never handed out.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Frame, Frames, NO_ERROR, name, reason};
use crate::answer::reason::ReasonCode;
use crate::config::AccessLog;
use crate::telemetry::metrics::METRICS;
use crate::telemetry::{access_log, request_id};

use crate::connection::exchange_control::ExchangeControl;

/// The length of the preface that a client sends before its first frame.
const PREFACE: usize = 24;

/// The most requests that are remembered until they are handed out. In practice there are far fewer.
const MAX_WAITING: usize = 1024;

/// The requests of one connection that have come and are not handed out yet, and what is known of them.
#[derive(Debug)]
pub(crate) struct Heads {
    waiting: Mutex<Waiting>,
    control: Arc<ExchangeControl>,
    log: AccessLog,
}

/// Streams in the order in which they came.
#[derive(Debug, Default)]
struct Waiting {
    last: u32,
    streams: Vec<u32>,
    /// Streams that were answered or reset already.
    over: Vec<(u32, Why)>,
    /// The client was told to go, because it asks for too much.
    is_told: bool,
}

/// The status, the reason, and a text for what was sent to the client.
type Why = (Option<u16>, ReasonCode, &'static str);

impl Heads {
    pub(crate) fn new(control: Arc<ExchangeControl>, log: AccessLog) -> Self {
        Self { waiting: Mutex::default(), control, log }
    }

    /// Notes that a request was handed out. From now on others deal with its stream. The request may already have
    /// ended.
    pub(crate) fn hand_out(&self, stream: u32) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.streams.retain(|other| *other != stream);
        waiting.over.retain(|(other, _)| *other != stream);
    }

    /// Notes that all requests that could be handed out by now were handed out. Streams that were answered or reset,
    /// but not handed out, were refused.
    pub(crate) fn settle(&self) {
        let over = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let over = std::mem::take(&mut waiting.over);
            if waiting.is_told { Vec::new() } else { over }
        };
        for (_, why) in over {
            self.note(why);
        }
    }

    /// From now on refusals are expected. They are neither logged nor counted, because one client could otherwise fill
    /// the log.
    pub(crate) fn expect_refusals(&self) {
        self.settle();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_told = true;
    }

    fn came(&self, stream: u32) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Trailers are HEADERS too, but of a stream that is known.
        if stream <= waiting.last {
            return;
        }
        waiting.last = stream;
        if waiting.streams.len() >= MAX_WAITING {
            waiting.streams.remove(0);
        }
        waiting.streams.push(stream);
    }

    fn is_over(&self, stream: u32, why: Why) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = waiting.streams.iter().position(|other| *other == stream) {
            waiting.streams.remove(place);
            waiting.over.push((stream, why));
        }
    }

    /// Notes what has been sent to the client.
    fn went(&self, frame: Frame) {
        match frame {
            Frame::Headers(stream) => {
                let detail = "The HTTP/2 layer has refused a head that is far too large.";
                self.is_over(stream, (Some(431), ReasonCode::HeaderTooLarge, detail));
            }
            Frame::Reset(stream, error) => self.is_over(stream, (None, reason(error), name(error))),
            Frame::GoAway(NO_ERROR) => {}
            Frame::GoAway(error) => self.note((None, reason(error), name(error))),
        }
    }

    /// Notes a refusal in the log and the metrics.
    pub(crate) fn note(&self, why: Why) {
        let (_, reason, _) = why;
        METRICS.refused_heads.with_label_values(&[reason.as_str()]).inc();
        access_log::write_refused(self.log, &request_id::fresh(), why, self.control.peer().ip());
    }
}

/// A client's connection, whose frames are observed as they pass.
pub(crate) struct ObservedStream {
    inner: Stream,
    heads: Arc<Heads>,
    incoming: Frames,
    outgoing: Frames,
}

impl ObservedStream {
    pub(crate) fn new(inner: Stream, heads: Arc<Heads>) -> Self {
        Self { inner, heads, incoming: Frames::after(PREFACE), outgoing: Frames::after(0) }
    }
}

impl AsyncRead for ObservedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { inner, heads, incoming, .. } = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(inner).poll_read(context, buffer))?;
        incoming.follow(buffer.filled().get(before..).unwrap_or_default(), |frame| {
            if let Frame::Headers(stream) = frame {
                heads.came(stream);
            }
        });
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ObservedStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { inner, heads, outgoing, .. } = self.get_mut();
        let written = ready!(Pin::new(inner).poll_write(context, bytes))?;
        outgoing.follow(bytes.get(..written).unwrap_or_default(), |frame| heads.went(frame));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}
