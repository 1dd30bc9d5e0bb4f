//! The source of an answer in chunked coding: a connection, and the bytes that were read from it.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

use super::connection::Connection;
use crate::http1::merged_chunks::{Source, read_limited};

/// The number of bytes of one read of a coded body, or of an answer that comes while the app takes no more of the
/// request.
pub(super) const READ_SIZE: usize = 16 * 1024;

pub(super) struct ChunkedSource<'a> {
    pub(super) connection: &'a mut Connection,
    /// Bytes that were read and not decoded.
    pub(super) raw: &'a mut BytesMut,
    /// The app has ended the connection.
    pub(super) is_at_end: &'a mut bool,
}

impl Source for ChunkedSource<'_> {
    fn ahead(&mut self) -> &mut BytesMut {
        self.raw
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // The space is on the stack: a waiting answer must not hold a buffer.
        let mut space = [const { MaybeUninit::<u8>::uninit() }; READ_SIZE];
        let mut piece = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *self.connection).poll_read(context, &mut piece))?;
        *self.is_at_end |= piece.filled().is_empty();
        self.raw.extend_from_slice(piece.filled());
        Poll::Ready(Ok(piece.filled().len()))
    }

    fn poll_past(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        limit: u64,
    ) -> Poll<io::Result<usize>> {
        let reader = Pin::new(&mut *self.connection);
        let length = ready!(read_limited(buffer, limit, |buffer| reader.poll_read(context, buffer)))?;
        *self.is_at_end |= length == 0;
        Poll::Ready(Ok(length))
    }
}
