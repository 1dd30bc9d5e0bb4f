//! What the `h2` crate refuses by itself, without a word to anybody: seen in the frames that come and go.
//!
//! It resets a request that is malformed or one too many, answers one whose head is far too large with a bare 431, and ends the
//! connection of a client that breaks the protocol. A request that came in and was not handed out when its stream is reset or answered
//! is one of these.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::answer::reason::ReasonCode;
use crate::config::AccessLog;
use crate::telemetry::metrics::METRICS;
use crate::telemetry::{access_log, request_id};

use crate::connection::exchange_control::ConnectionWatch;

/// Types of frames (RFC 9113 section 6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

/// Errors (RFC 9113 section 7).
const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What a client sends before its first frame.
const PREFACE: usize = 24;

/// Requests that wait to be handed out and are remembered. There are no more of them by far.
const MAX_WAITING: usize = 1024;

/// The requests of one connection that have come and are not handed out, and what becomes known of them.
#[derive(Debug)]
pub(crate) struct Heads {
    waiting: Mutex<Waiting>,
    watch: Arc<ConnectionWatch>,
    log: AccessLog,
}

/// Streams, in the order that they came in.
#[derive(Debug, Default)]
struct Waiting {
    last: u32,
    streams: Vec<u32>,
    /// Answered or reset already.
    over: Vec<(u32, Why)>,
    /// The client was told to go, since it asks for too much.
    is_told: bool,
}

/// Status, reason, and what went to the client.
type Why = (Option<u16>, ReasonCode, &'static str);

impl Heads {
    pub(crate) fn new(watch: Arc<ConnectionWatch>, log: AccessLog) -> Self {
        Self { waiting: Mutex::default(), watch, log }
    }

    /// Notes that a request was handed out; from now on its stream is somebody else's. Its body may have been its end already.
    pub(crate) fn hand_out(&self, stream: u32) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.streams.retain(|other| *other != stream);
        waiting.over.retain(|(other, _)| *other != stream);
    }

    /// Notes that all are handed out that ever will be: the others were refused.
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

    /// From now on what is refused is expected: it is neither logged nor counted, or one client could fill the log.
    pub(crate) fn expect_refusals(&self) {
        self.settle();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_told = true;
    }

    fn came(&self, stream: u32) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Trailers are HEADERS, too, of a stream that is known.
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

    /// For the log and the metrics.
    pub(crate) fn note(&self, why: Why) {
        let (_, reason, _) = why;
        METRICS.refused_heads.with_label_values(&[reason.as_str()]).inc();
        access_log::write_refused(self.log, &request_id::fresh(), why, self.watch.peer().ip());
    }
}

/// Why, where that is not the head's fault.
const fn reason(error: u32) -> ReasonCode {
    match error {
        REFUSED_STREAM | ENHANCE_YOUR_CALM => ReasonCode::TooManyStreams,
        _ => ReasonCode::MalformedRequest,
    }
}

/// By its name (RFC 9113 section 7).
fn name(error: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    usize::try_from(error).ok().and_then(|error| NAMES.get(error)).copied().unwrap_or("another error")
}

/// A frame of one of the kinds that matter here; errors as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    Headers(u32),
    Reset(u32, u32),
    GoAway(u32),
}

/// Finds frames in one direction, in whatever pieces they come.
#[derive(Debug)]
struct Frames {
    /// Bytes to pass over.
    skip: usize,
    /// A frame's header, and of some kinds what follows.
    start: [u8; 17],
    filled: usize,
}

impl Frames {
    const fn after(skip: usize) -> Self {
        Self { skip, start: [0; 17], filled: 0 }
    }

    fn follow(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = bytes.get(passed..).unwrap_or_default();
            let wanted = self.wanted();
            let taken = (wanted - self.filled).min(bytes.len());
            let (piece, rest) = bytes.split_at_checked(taken).unwrap_or_default();
            for (to, from) in self.start.iter_mut().skip(self.filled).zip(piece) {
                *to = *from;
            }
            self.filled += taken;
            bytes = rest;
            // Once its header is there, more may be wanted.
            if taken > 0 && self.filled == self.wanted() {
                self.end_of_start(&mut each);
            }
        }
    }

    /// How much of a frame is looked at.
    fn wanted(&self) -> usize {
        const HEADER: usize = 9;
        let more = match self.start {
            _ if self.filled < HEADER => 0,
            [_, _, _, RST_STREAM, ..] => 4,
            [_, _, _, GOAWAY, ..] => 8,
            _ => 0,
        };
        HEADER + more.min(if self.filled < HEADER { 0 } else { self.length() })
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.start;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    fn number_at(&self, at: usize) -> u32 {
        let bytes = self.start.get(at..).and_then(<[u8]>::first_chunk);
        bytes.copied().map_or(0, u32::from_be_bytes)
    }

    fn end_of_start(&mut self, each: &mut impl FnMut(Frame)) {
        let stream = self.number_at(5) & (u32::MAX >> 1);
        let frame = match (self.start, self.filled) {
            ([_, _, _, HEADERS, ..], _) => Some(Frame::Headers(stream)),
            ([_, _, _, RST_STREAM, ..], 13) => Some(Frame::Reset(stream, self.number_at(9))),
            ([_, _, _, GOAWAY, ..], 17) => Some(Frame::GoAway(self.number_at(13))),
            _ => None,
        };
        self.skip = (9 + self.length()).saturating_sub(self.filled);
        self.filled = 0;
        if let Some(frame) = frame {
            each(frame);
        }
    }
}

/// A client's connection, whose frames are looked at as they pass.
pub(crate) struct Followed {
    inner: Stream,
    heads: Arc<Heads>,
    incoming: Frames,
    outgoing: Frames,
}

impl Followed {
    pub(crate) fn new(inner: Stream, heads: Arc<Heads>) -> Self {
        Self { inner, heads, incoming: Frames::after(PREFACE), outgoing: Frames::after(0) }
    }
}

impl AsyncRead for Followed {
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

impl AsyncWrite for Followed {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
    }

    fn frames() -> impl Strategy<Value = (Vec<u8>, Option<Frame>)> {
        let kinds = prop::sample::select(vec![0_u8, HEADERS, 2, RST_STREAM, 4, GOAWAY, 8, 9]);
        (kinds, 0..u32::MAX >> 1, any::<u32>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(
            |(kind, stream, error, payload)| match kind {
                HEADERS => (frame(kind, stream, &payload), Some(Frame::Headers(stream))),
                RST_STREAM => (frame(kind, stream, &error.to_be_bytes()), Some(Frame::Reset(stream, error))),
                GOAWAY => {
                    let goaway = [&stream.to_be_bytes(), &error.to_be_bytes()[..], &payload].concat();
                    (frame(kind, 0, &goaway), Some(Frame::GoAway(error)))
                }
                _ => (frame(kind, stream, &payload), None),
            },
        )
    }

    proptest! {
        #[test]
        fn all_are_found_in_whatever_pieces(all in prop::collection::vec(frames(), 0..12), size in 1_usize..40, skip in 0_usize..30) {
            let mut bytes = vec![RST_STREAM; skip];
            bytes.extend(all.iter().flat_map(|(bytes, _)| bytes.clone()));
            let mut follower = Frames::after(skip);
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                follower.follow(piece, |frame| found.push(frame));
            }
            let expected: Vec<Frame> = all.iter().filter_map(|(_, frame)| *frame).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..20) {
            let mut follower = Frames::after(0);
            for piece in bytes.chunks(size) {
                follower.follow(piece, |_| {});
            }
        }
    }
}
