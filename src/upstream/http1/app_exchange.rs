//! One request and its answer on a connection to an app. Every byte is followed, in both directions.
//!
//! - Only the bytes of one request are written, and none after its answer.
//! - Only the bytes of its answer are read, and only if its heads have one meaning. Small chunks are merged.
//! - The connection goes back to the pool if the request was written to its end, then the answer was read to its end,
//!   and the answer says that another request may follow. One byte too many in either direction prevents this.

mod writing;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket};
use tokio::io::{AsyncRead, ReadBuf};

use super::chunked_source::{ChunkedSource, READ_SIZE};
use super::connection::Connection;
use super::connection_pool::Pool;
use crate::connection::exchange_control::ExchangeControl;
use crate::http1::chunked::Decoder;
use crate::http1::merged_chunks::{Failure, Merger};
use crate::http1::message_progress::{Incoming, Outgoing};
use crate::upstream::app_stall::AppStall;
use crate::upstream::web_socket::Patience;

/// The most bytes of an answer that are taken while the app takes no more of the request.
const MAX_AHEAD: usize = 256 * 1024;

/// One request and its answer on a connection.
pub(super) struct AppExchange {
    /// Present until this is dropped.
    connection: Option<Connection>,
    pool: Weak<Pool>,
    request: Outgoing,
    answer: Incoming,
    incoming: Buffers,
    stall: AppStall,
    /// Something was written or read that must not be.
    is_spoilt: bool,
    /// Pingora has read the answer to its end and would keep the connection.
    is_finished: bool,
    /// Present for a WebSocket's handshake, and what follows it.
    patience: Option<Patience>,
}

/// Bytes that were read and not handed on.
#[derive(Default)]
struct Buffers {
    /// Bytes as they came: coded, once there is a merger.
    raw: BytesMut,
    /// Bytes of the answer that are ready.
    ahead: BytesMut,
    merger: Option<Merger>,
    /// The app has ended the connection.
    is_at_end: bool,
}

/// Leaves out the buffers, whose bytes must not be logged.
impl fmt::Debug for AppExchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AppExchange").finish_non_exhaustive()
    }
}

impl AppExchange {
    pub(super) fn new(
        connection: Connection,
        pool: Weak<Pool>,
        client: Option<Arc<ExchangeControl>>,
        patience: Option<Patience>,
    ) -> Self {
        Self {
            connection: Some(connection),
            pool,
            request: Outgoing::new(),
            answer: Incoming::new(),
            incoming: Buffers::default(),
            stall: AppStall::new(client),
            is_spoilt: false,
            is_finished: false,
            patience,
        }
    }

    /// Returns true if the connection is a WebSocket. Then bytes go both ways, and nobody follows them here.
    fn is_web_socket(&self) -> bool {
        self.patience.is_some() && self.answer.head().is_some_and(|head| head.is_switch)
    }

    /// Takes the bytes that were read. Returns how many of them belong to the answer and are passed on unchanged. Puts
    /// a coded body aside.
    fn accept(&mut self, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            // Some answers end with the connection, but then nothing follows.
            self.incoming.is_at_end = true;
            self.is_spoilt = true;
            return 0;
        }
        let heads = self.answer.follow_heads(bytes, self.request.is_head());
        if self.answer.refusal().is_some() {
            self.is_spoilt = true;
            return 0;
        }
        let rest = bytes.get(heads..).unwrap_or_default();
        if heads > 0 && self.answer.is_chunked() {
            self.incoming.merger = Some(Merger::new(Decoder::of_answer()));
            self.incoming.raw.extend_from_slice(rest);
            return heads;
        }
        let body = self.answer.follow_body(rest);
        self.note_end(body < rest.len());
        heads + body
    }

    /// Checks if the answer has ended. `is_surplus` says that more bytes came.
    fn note_end(&mut self, is_surplus: bool) {
        self.is_spoilt |= is_surplus || (self.answer.is_ended() && !self.request.is_ended());
    }

    fn poll_read_coded(
        &mut self,
        mut merger: Merger,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(connection) = &mut self.connection else { return gone() };
        let mut source = ChunkedSource {
            connection,
            raw: &mut self.incoming.raw,
            is_at_end: &mut self.incoming.is_at_end,
        };
        let polled = merger.poll_read(&mut source, context, buffer);
        self.note_merged(&merger);
        self.incoming.merger = Some(merger);
        match ready!(polled) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(Failure::Io(error)) => Poll::Ready(Err(error)),
            Err(Failure::Malformed) => {
                self.is_spoilt = true;
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "malformed chunked coding")))
            }
        }
    }

    fn note_merged(&mut self, merger: &Merger) {
        if merger.has_ended() && !self.answer.is_ended() {
            self.answer.end();
            self.note_end(!self.incoming.raw.is_empty());
        }
    }

    /// Takes the answer while the app takes no more of the request. Returns true if no more of the answer comes.
    fn poll_answer_ahead(&mut self, context: &mut Context<'_>) -> bool {
        while !self.is_over() && self.waiting() < MAX_AHEAD {
            let Some(connection) = &mut self.connection else { return true };
            let mut space = [const { std::mem::MaybeUninit::<u8>::uninit() }; READ_SIZE];
            let mut piece = ReadBuf::uninit(&mut space);
            match Pin::new(&mut *connection).poll_read(context, &mut piece) {
                Poll::Ready(Ok(())) => {}
                // The write reports the error.
                Poll::Ready(Err(_)) => return false,
                Poll::Pending => break,
            }
            if self.incoming.merger.is_some() {
                self.incoming.raw.extend_from_slice(piece.filled());
                self.incoming.is_at_end |= piece.filled().is_empty();
            } else {
                let length = self.accept(piece.filled());
                self.incoming.ahead.extend_from_slice(piece.filled().get(..length).unwrap_or_default());
            }
            if let Some(mut merger) = self.incoming.merger.take() {
                // The next read reports malformed coding again.
                let _malformed = merger.merge(&mut self.incoming.raw);
                self.note_merged(&merger);
                self.incoming.merger = Some(merger);
            }
        }
        self.is_over()
    }

    /// Returns true if no more of the answer is taken from the app.
    fn is_over(&self) -> bool {
        self.answer.is_ended() || self.incoming.is_at_end || self.answer.refusal().is_some()
    }

    /// Fails if a head does not have exactly one meaning. Interim heads before it may be passed on.
    fn check_heads(&mut self) -> io::Result<()> {
        match self.answer.refusal() {
            None => Ok(()),
            Some(refusal) => {
                self.is_spoilt = true;
                Err(io::Error::new(io::ErrorKind::InvalidData, refusal))
            }
        }
    }

    fn waiting(&self) -> usize {
        self.incoming.ahead.len() + self.incoming.merger.as_ref().map_or(0, Merger::waiting)
    }

    /// Lets a read wait for the app. If the request has no body, the client's connection is read all the time, so the
    /// deadlines there suffice.
    fn poll_silent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(connection) = &self.connection else { return gone() };
        if self.patience.is_some() {
            // The control of the browser's exchange ends a WebSocket that is idle in both directions.
            self.stall.poll_taken(context, &connection.socket);
            return Poll::Pending;
        }
        if !self.request.has_body() {
            return Poll::Pending;
        }
        let has_head = self.answer.head().is_some();
        self.stall.poll_read(context, &connection.socket, has_head).map(Err)
    }
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for AppExchange {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.patience.as_mut().is_some_and(|patience| patience.gives_others_a_turn(context)) {
            return Poll::Pending;
        }
        match this.poll_next(context, buffer) {
            Poll::Pending => this.poll_silent(context),
            read @ Poll::Ready(_) => {
                this.stall.read();
                read
            }
        }
    }
}

impl AppExchange {
    /// Reads the next bytes of the answer.
    fn poll_next(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let ahead = &mut self.incoming.ahead;
        if !ahead.is_empty() {
            let length = ahead.len().min(buffer.remaining());
            buffer.put_slice(ahead.get(..length).unwrap_or_default());
            ahead.advance(length);
            return Poll::Ready(Ok(()));
        }
        self.check_heads()?;
        if self.answer.is_ended() && self.incoming.merger.as_ref().is_none_or(Merger::is_done) {
            // Only Pingora reads on after the answer. It wants to keep the connection, and checks that it is quiet. It
            // is told of an end, so that it puts the connection in no other pool.
            self.is_finished = true;
            return Poll::Ready(Ok(()));
        }
        if let Some(merger) = self.incoming.merger.take() {
            return self.poll_read_coded(merger, context, buffer);
        }
        if self.incoming.is_at_end {
            return Poll::Ready(Ok(()));
        }
        let Some(connection) = &mut self.connection else { return gone() };
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *connection).poll_read(context, buffer))?;
        let length = self.accept(buffer.filled().get(before..).unwrap_or_default());
        buffer.set_filled(before + length);
        Poll::Ready(self.check_heads())
    }
}

impl VirtualSocket for AppExchange {
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        // Does nothing: the connection has all its options already.
        Ok(())
    }
}

impl Drop for AppExchange {
    fn drop(&mut self) {
        let Some(head) = self.answer.head().filter(|head| head.persists) else { return };
        let is_clean = !self.is_spoilt && self.request.is_ended() && self.answer.is_ended();
        if let Some(connection) = self.connection.take().filter(|_| is_clean && self.is_finished)
            && let Some(pool) = self.pool.upgrade()
        {
            pool.give(connection, head.idle);
        }
    }
}
