//! Reads a body to its end and no further, for each kind of framing.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::ReadBuf;

use crate::http1::merged_chunks::{Failure, Merger, Source, read_limited};

use super::client_connection::ClientConnection;
use crate::connection::exchange_end::EndReason;

/// Reads a body of a known length, of which `remaining` bytes are left.
pub(crate) fn poll_length(
    remaining: &mut u64,
    connection: &mut ClientConnection,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    if connection.incoming.is_empty() {
        ready!(read_limited(buffer, *remaining, |buffer| connection.poll_read(context, buffer)))?;
    } else {
        connection.take_incoming(buffer, usize::try_from(*remaining).unwrap_or(usize::MAX));
    }
    Poll::Ready(Ok(()))
}

/// Reads a body in chunked coding, and makes one chunk of the bytes that have arrived.
pub(crate) fn poll_chunked(
    merger: &mut Merger,
    connection: &mut ClientConnection,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    match ready!(merger.poll_read(connection, context, buffer)) {
        Ok(()) => Poll::Ready(Ok(())),
        Err(Failure::Io(error)) => Poll::Ready(Err(error)),
        Err(Failure::Malformed) => {
            connection.control.set_ended(EndReason::MalformedBody);
            Poll::Ready(Err(EndReason::MalformedBody.error()))
        }
    }
}

impl Source for ClientConnection {
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

/// Reads whatever comes after an upgrade.
pub(crate) fn poll_tunnel(
    connection: &mut ClientConnection,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    if connection.incoming.is_empty() {
        return connection.poll_read(context, buffer);
    }
    connection.take_incoming(buffer, usize::MAX);
    Poll::Ready(Ok(()))
}
