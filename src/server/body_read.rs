//! Reading a body to its end and no further, for each way in which it can be framed.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;

use super::chunked::Decoder;
use super::message::ended;
use super::watch::EndReason;
use super::wire::Wire;

/// What a client may pipeline while its last request is served; beyond it, TCP makes it wait.
pub(super) const MAX_READ_AHEAD: usize = 16 * 1024;

/// After the message's end: ready only when the client ends the connection.
pub(super) fn poll_quiet(wire: &mut Wire, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    while !wire.is_at_end && wire.incoming.len() < MAX_READ_AHEAD {
        ready!(wire.poll_fill(context))?;
    }
    // A client that pipelined and then shut down its sending side still wants its answers.
    if wire.incoming.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
}

/// A body of a known length, of which this much is left.
pub(super) fn poll_length(
    remaining: &mut u64,
    wire: &mut Wire,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    if wire.incoming.is_empty() {
        ready!(poll_limited(wire, context, buffer, *remaining))?;
    } else {
        wire.take_incoming(buffer, usize::try_from(*remaining).unwrap_or(usize::MAX));
    }
    Poll::Ready(Ok(()))
}

/// A body in chunked coding.
pub(super) fn poll_chunked(
    decoder: &mut Decoder,
    wire: &mut Wire,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let before = buffer.filled().len();
    loop {
        if !wire.incoming.is_empty() {
            let Ok(read) = decoder.decode(&wire.incoming, buffer) else {
                wire.watch.set_ended(EndReason::MalformedBody);
                return Poll::Ready(Err(ended(EndReason::MalformedBody)));
            };
            wire.incoming.advance(read);
            if wire.incoming.is_empty() {
                wire.incoming = BytesMut::new();
            }
            if buffer.filled().len() > before || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        if decoder.data_remaining() > 0 {
            // Large chunks go straight into the reader's buffer.
            let length = ready!(poll_limited(wire, context, buffer, decoder.data_remaining()))?;
            decoder.skip_data(length as u64);
            return Poll::Ready(Ok(()));
        }
        if ready!(wire.poll_fill(context))? == 0 {
            return Poll::Ready(Ok(()));
        }
    }
}

/// After an upgrade: whatever comes.
pub(super) fn poll_tunnel(
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

/// Reads at most `limit` bytes into `buffer`.
fn poll_limited(
    wire: &mut Wire,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
    limit: u64,
) -> Poll<io::Result<usize>> {
    let before = buffer.filled().len();
    match usize::try_from(limit) {
        Ok(limit) if limit < buffer.remaining() => {
            let mut limited = ReadBuf::new(buffer.initialize_unfilled_to(limit));
            ready!(wire.poll_read(context, &mut limited))?;
            let length = limited.filled().len();
            buffer.advance(length);
        }
        _ => ready!(wire.poll_read(context, buffer))?,
    }
    Poll::Ready(Ok(buffer.filled().len() - before))
}
