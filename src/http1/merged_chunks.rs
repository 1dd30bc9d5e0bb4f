//! Reads a chunked body strictly and codes it anew. Data that has arrived together is passed on as one chunk.
//!
//! The result is plain: only sizes and data. Extensions are left out, because nothing after this needs them. Trailer
//! fields are left out, because a trailer can carry any field that was removed from the head (also an identity header).
//! Small chunks are merged, because a small chunk costs its next reader as much as a large one. No chunk waits for more
//! data.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::ReadBuf;

use super::chunked::{Decoder, Malformed};

/// The bytes that end a body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The place for the size of a merged chunk, which is written once it is known: eight digits and CRLF.
const SIZE_LINE: &[u8] = b"00000000\r\n";

/// If this many bytes of a chunk are still to come, the chunk is passed on as it comes, without another copy.
const LARGE: u64 = 16 * 1024;

/// The connection from which a coded body comes.
pub(crate) trait Source {
    /// Returns the bytes that were read and not used yet.
    fn ahead(&mut self) -> &mut BytesMut;

    /// Reads more bytes ahead. 0 means the end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>>;

    /// Reads at most `limit` bytes directly into `buffer`, if no bytes were read ahead. 0 means the end.
    fn poll_past(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        limit: u64,
    ) -> Poll<io::Result<usize>>;
}

/// Reads at most `limit` bytes into `buffer`, and returns how many.
pub(crate) fn read_limited(
    buffer: &mut ReadBuf<'_>,
    limit: u64,
    read: impl FnOnce(&mut ReadBuf<'_>) -> Poll<io::Result<()>>,
) -> Poll<io::Result<usize>> {
    let before = buffer.filled().len();
    match usize::try_from(limit) {
        Ok(limit) if limit < buffer.remaining() => {
            let mut limited = ReadBuf::new(buffer.initialize_unfilled_to(limit));
            ready!(read(&mut limited))?;
            let length = limited.filled().len();
            buffer.advance(length);
        }
        _ => ready!(read(buffer))?,
    }
    Poll::Ready(Ok(buffer.filled().len() - before))
}

/// The reason why a body cannot be read further.
#[derive(Debug)]
pub(crate) enum Failure {
    Malformed,
    Io(io::Error),
}

impl From<Malformed> for Failure {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The state of one body.
#[derive(Debug)]
pub(crate) struct Merger {
    decoder: Decoder,
    /// Bytes that were coded anew and are not handed on yet.
    ready: BytesMut,
    /// The body is within a large chunk, whose size was handed on already.
    is_passing: bool,
}

impl Merger {
    pub(crate) fn new(decoder: Decoder) -> Self {
        Self { decoder, ready: BytesMut::new(), is_passing: false }
    }

    /// Returns true if the body's end was read.
    pub(crate) fn has_ended(&self) -> bool {
        self.decoder.is_done()
    }

    /// Returns true if all of the body has been handed on.
    pub(crate) fn is_done(&self) -> bool {
        self.has_ended() && self.ready.is_empty()
    }

    /// Returns the number of bytes that are ready.
    pub(crate) fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// Reads the next bytes of the body. Reads none at the end of the source.
    pub(crate) fn poll_read(
        &mut self,
        source: &mut impl Source,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Failure>> {
        loop {
            if !self.ready.is_empty() {
                self.take(buffer);
                return Poll::Ready(Ok(()));
            }
            if self.has_ended() || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if source.ahead().is_empty() {
                if self.is_passing {
                    let limit = self.decoder.data_remaining();
                    let length = ready!(source.poll_past(context, buffer, limit))?;
                    self.pass(length);
                    return Poll::Ready(Ok(()));
                }
                if ready!(source.poll_fill(context))? == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            self.merge(source.ahead())?;
        }
    }

    /// Codes the bytes of `input` anew, up to the body's end.
    pub(crate) fn merge(&mut self, input: &mut BytesMut) -> Result<(), Malformed> {
        // The place where the chunk that is being made begins.
        let mut begin = None;
        while !input.is_empty() && !self.has_ended() {
            let left = self.decoder.data_remaining();
            if left == 0 {
                let length = self.decoder.read_framing(input)?;
                input.advance(length);
                continue;
            }
            let length = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if !self.is_passing && left - length as u64 >= LARGE {
                self.finish_chunk(begin.take());
                self.ready.extend_from_slice(format!("{left:x}\r\n").as_bytes());
                self.is_passing = true;
            }
            if !self.is_passing && begin.is_none() {
                begin = Some(self.ready.len());
                self.ready.reserve(SIZE_LINE.len() + input.len() + b"\r\n".len() + LAST_CHUNK.len());
                self.ready.extend_from_slice(SIZE_LINE);
            }
            self.ready.extend_from_slice(input.get(..length).unwrap_or_default());
            input.advance(length);
            self.pass(length);
        }
        self.finish_chunk(begin);
        if self.has_ended() {
            self.ready.extend_from_slice(LAST_CHUNK);
        }
        if input.is_empty() {
            // A waiting body must not hold a buffer.
            *input = BytesMut::new();
        }
        Ok(())
    }

    /// Notes that this many bytes of data were handed on, or will be.
    fn pass(&mut self, length: usize) {
        self.decoder.skip_data(length as u64);
        if self.is_passing && self.decoder.data_remaining() == 0 {
            self.is_passing = false;
            self.ready.extend_from_slice(b"\r\n");
        }
    }

    /// Writes the size of the chunk that begins at `begin`, and its end.
    fn finish_chunk(&mut self, begin: Option<usize>) {
        let Some(begin) = begin else { return };
        let size = self.ready.len() - begin - SIZE_LINE.len();
        if let Some(mut line) = self.ready.get_mut(begin..begin + SIZE_LINE.len()) {
            line.put_slice(format!("{size:08x}").as_bytes());
        }
        self.ready.extend_from_slice(b"\r\n");
    }

    fn take(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.ready.len().min(buffer.remaining());
        buffer.put_slice(self.ready.get(..length).unwrap_or_default());
        self.ready.advance(length);
        if self.ready.is_empty() {
            self.ready = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests;
