//! Reading a body to its end and no further, for each way in which it can be framed.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::ReadBuf;

use crate::http1::merged_chunks::{Failure, Merger, Source, read_limited};

use super::message::ended;
use super::wire::Wire;
use crate::connection::exchange_control::EndReason;

/// What a client may pipeline while its last request is served; beyond it, TCP makes it wait.
pub(crate) const MAX_READ_AHEAD: usize = 16 * 1024;

/// After the message's end: ready only when the connection breaks. A client that closes its writing side may still want its
/// answer.
pub(crate) fn poll_quiet(wire: &mut Wire, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    while !wire.is_at_end && wire.incoming.len() < MAX_READ_AHEAD {
        ready!(wire.poll_fill(context))?;
    }
    Poll::Pending
}

/// A body of a known length, of which this much is left.
pub(crate) fn poll_length(
    remaining: &mut u64,
    wire: &mut Wire,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    if wire.incoming.is_empty() {
        ready!(read_limited(buffer, *remaining, |buffer| wire.poll_read(context, buffer)))?;
    } else {
        wire.take_incoming(buffer, usize::try_from(*remaining).unwrap_or(usize::MAX));
    }
    Poll::Ready(Ok(()))
}

/// A body in chunked coding: what has arrived of it, as one chunk.
pub(crate) fn poll_chunked(
    merger: &mut Merger,
    wire: &mut Wire,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    match ready!(merger.poll_read(wire, context, buffer)) {
        Ok(()) => Poll::Ready(Ok(())),
        Err(Failure::Io(error)) => Poll::Ready(Err(error)),
        Err(Failure::Malformed) => {
            wire.watch.set_ended(EndReason::MalformedBody);
            Poll::Ready(Err(ended(EndReason::MalformedBody)))
        }
    }
}

impl Source for Wire {
    fn ahead(&mut self) -> &mut BytesMut {
        &mut self.incoming
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Self::poll_fill(self, context)
    }

    fn poll_past(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        limit: u64,
    ) -> Poll<io::Result<usize>> {
        read_limited(buffer, limit, |buffer| self.poll_read(context, buffer))
    }
}

/// After an upgrade: whatever comes.
pub(crate) fn poll_tunnel(
    wire: &mut Wire,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    if wire.incoming.is_empty() {
        return wire.poll_read(context, buffer);
    }
    wire.take_incoming(buffer, usize::MAX);
    Poll::Ready(Ok(()))
}
