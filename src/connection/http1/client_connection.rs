//! One client's connection, with the bytes that were read ahead and those that are not yet written.
//!
//! Both buffers exist only while they hold something: an idle connection costs its socket and its task.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::connection::deadlines::{Deadlines, Stage, Timer};
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::exchange_end::EndReason;
use crate::connection::stall::{Stall, WRITE_TIMEOUT, acknowledged};

/// The number of bytes of one read into the read-ahead.
const READ_SIZE: usize = 8 * 1024;

/// The size up to which writes are gathered, so that a response's head and a small body leave in one segment.
pub(crate) const WRITE_BUFFER_SIZE: usize = 16 * 1024;

/// The connection, without the state of an exchange on it.
pub(crate) struct ClientConnection {
    pub(crate) stream: Stream,
    /// Bytes that were read and not handed on yet.
    pub(crate) incoming: BytesMut,
    outgoing: BytesMut,
    /// The stream below (such as TLS) may hold bytes back until it is flushed.
    is_unflushed: bool,
    /// The client sends nothing more.
    pub(crate) is_at_end: bool,
    timer: Timer,
    /// A write that waits for the client.
    stall: Stall,
    /// The wait for bytes that were written earlier and that the client may not have taken yet.
    tail: Stall,
    pub(crate) control: Arc<ExchangeControl>,
}

/// Leaves out the buffers, whose bytes must not be logged.
impl fmt::Debug for ClientConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ClientConnection").field("peer", &self.control.peer()).finish_non_exhaustive()
    }
}

impl ClientConnection {
    pub(crate) fn new(stream: Stream, control: Arc<ExchangeControl>) -> Self {
        Self {
            stream,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            is_unflushed: false,
            is_at_end: false,
            timer: Timer::default(),
            stall: Stall::default(),
            tail: Stall::default(),
            control,
        }
    }

    /// Reads into the read-ahead. 0 means that the client sends nothing more.
    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // The space is on the stack: a waiting connection must not hold a buffer.
        let mut space = [const { MaybeUninit::<u8>::uninit() }; READ_SIZE];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(self.poll_read(context, &mut buffer))?;
        self.incoming.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Reads directly into `buffer`. The read-ahead must be empty.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() == before {
            self.is_at_end = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Moves up to `limit` bytes of the read-ahead into `buffer`, and returns how many.
    pub(crate) fn take_incoming(&mut self, buffer: &mut ReadBuf<'_>, limit: usize) -> usize {
        let length = self.incoming.len().min(limit).min(buffer.remaining());
        if let Some(bytes) = self.incoming.get(..length) {
            buffer.put_slice(bytes);
        }
        self.incoming.advance(length);
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
        length
    }

    /// Is ready once `deadline` has passed.
    pub(crate) fn poll_deadline(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.timer.poll_deadline(context, deadline)
    }

    /// Gathers small writes, and passes on large ones.
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.outgoing.len() + bytes.len() > WRITE_BUFFER_SIZE {
            ready!(self.poll_drain(context))?;
        }
        if bytes.len() >= WRITE_BUFFER_SIZE {
            return self.poll_send(context, bytes);
        }
        if self.outgoing.is_empty() {
            // Leaves room for the body that usually follows a head.
            self.outgoing.reserve(bytes.len().max(WRITE_BUFFER_SIZE / 4));
        }
        self.outgoing.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Sends all that was gathered, and flushes the stream below.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(flushed) => {
                self.is_unflushed = false;
                self.stall.end();
                Poll::Ready(flushed)
            }
            Poll::Pending => self.poll_stalled(context).map(Err),
        }
    }

    /// Sends what was gathered and closes the writing side.
    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    /// Sends what was gathered, because it must not wait while its writer waits for something else. The next write
    /// reports an error.
    pub(crate) fn flush_behind(&mut self, context: &mut Context<'_>) {
        if self.is_unflushed || !self.outgoing.is_empty() {
            let _next_write_tells = self.poll_flush(context);
        }
    }

    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let mut outgoing = std::mem::take(&mut self.outgoing);
            let sent = self.poll_send(context, &outgoing);
            if let Poll::Ready(Ok(length)) = sent {
                outgoing.advance(length);
            }
            self.outgoing = outgoing;
            if ready!(sent)? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        self.outgoing = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Writes to the stream, and gives up on a client that takes nothing for too long.
    fn poll_send(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(sent) = Pin::new(&mut self.stream).poll_write(context, bytes) {
            self.is_unflushed = true;
            self.stall.end();
            self.tail.end();
            return Poll::Ready(sent);
        }
        self.poll_stalled(context).map(Err)
    }

    /// Is ready with the reason once the exchange has been ended or has passed a deadline.
    pub(crate) fn poll_deadlines(
        &mut self,
        deadlines: &mut Deadlines,
        stage: Stage,
        context: &mut Context<'_>,
    ) -> Poll<EndReason> {
        let Self { control, timer, tail, stream, .. } = self;
        let socket = stream.id();
        // This is asked while nothing is written. It says when the client was last seen to take a part of what was
        // written before. If it has taken nothing, it says when this was first asked since the last write, which itself
        // may have taken long. The wait goes on as long as the client takes something within each time-out.
        let taken = |context: &mut Context<'_>, timeout| {
            let _ready_or_looked_at_later = tail.poll(context, timeout, || acknowledged(socket));
            tail.since()
        };
        deadlines.poll(control, stage, timer, context, taken)
    }

    /// Is called while the client takes nothing. Is ready when this has lasted too long.
    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let timeout = self.control.timeouts.write().unwrap_or(WRITE_TIMEOUT);
        let socket = self.stream.id();
        ready!(self.stall.poll(context, timeout, || acknowledged(socket)));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer"))
    }
}
