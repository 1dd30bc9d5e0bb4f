//! One request and its answer on a client's connection: the end of the body, the bytes that go out, and the end of
//! waiting.

use std::io;
use std::task::{Context, Poll, ready};

use memchr::{memchr, memmem};
use tokio::io::ReadBuf;

use crate::http1::chunked::Decoder;
use crate::http1::merged_chunks::Merger;
use crate::http1::message_progress::Incoming;

use super::client_connection::{ClientConnection, WRITE_BUFFER_SIZE};
use super::head_fields::{Framing, Upgrade};
use super::request_body::{poll_chunked, poll_length, poll_tunnel};
use super::request_head::RequestHead;
use crate::connection::deadlines::{Deadlines, Stage};
use crate::connection::exchange_end::EndReason;
use crate::connection::web_socket_close::FrameFollower;

#[derive(Debug)]
enum Body {
    Ended,
    Length(u64),
    Chunked(Merger),
    /// An upgraded connection: bytes without an end. The follower follows the frames to the client.
    Tunnel(FrameFollower),
}

/// The state of one exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    body: Body,
    /// True for a WebSocket handshake whose answer has not come yet.
    awaits_upgrade: bool,
    /// The client sends the body only after something is written.
    awaits_continue: bool,
    /// The answer, if it comes before the body's end.
    answer: Option<Incoming>,
    is_to_head: bool,
    /// The body is read to its end, whatever the answer is.
    is_drained: bool,
    deadlines: Deadlines,
}

impl Exchange {
    /// Begins the exchange of this head, whose body must come in at `min_rate` bytes per second.
    pub(crate) fn new(head: &RequestHead, min_rate: u64) -> Self {
        Self {
            body: match head.framing {
                Framing::None => Body::Ended,
                Framing::Length(length) => Body::Length(length),
                Framing::Chunked => Body::Chunked(Merger::new(Decoder::of_request())),
            },
            awaits_upgrade: matches!(head.upgrade, Some(Upgrade::WebSocket)),
            awaits_continue: head.expect_continue,
            answer: None,
            is_to_head: head.is_head,
            is_drained: head.is_drained(),
            deadlines: Deadlines::new(min_rate),
        }
    }

    /// Returns true if the exchange was read to its end.
    pub(crate) const fn is_complete(&self) -> bool {
        matches!(self.body, Body::Ended)
    }

    /// Returns true if the connection was upgraded.
    pub(crate) const fn is_upgraded(&self) -> bool {
        matches!(self.body, Body::Tunnel(_))
    }

    /// Returns true if the connection was upgraded, and a WebSocket frame may be sent to the client now.
    pub(crate) const fn is_between_frames(&self) -> bool {
        matches!(&self.body, Body::Tunnel(frames) if frames.is_between())
    }

    /// Returns true if the connection was upgraded, and a WebSocket frame to the client is under way.
    const fn is_inside_frame(&self) -> bool {
        matches!(&self.body, Body::Tunnel(frames) if frames.is_inside())
    }

    /// Returns true if the whole answer was written before the whole body has come. Nobody wants the rest of the body.
    fn is_answered(&self) -> bool {
        !self.is_complete() && self.answer.as_ref().is_some_and(Incoming::is_ended)
    }

    /// Reads the next bytes of this exchange. Reads none if the client has ended the connection.
    pub(crate) fn poll_read(
        &mut self,
        connection: &mut ClientConnection,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(reason) = connection.control.ended() {
            return self.end_waiting(connection, context, reason);
        }
        if self.is_answered() {
            connection.control.set_ended(EndReason::Answered);
            return Poll::Ready(Err(EndReason::Answered.error()));
        }
        let before = buffer.filled().len();
        let had_body = !self.is_complete();
        let polled = match &mut self.body {
            Body::Ended => poll_quiet(connection, context),
            Body::Length(remaining) => poll_length(remaining, connection, context, buffer),
            Body::Chunked(merger) => poll_chunked(merger, connection, context, buffer),
            Body::Tunnel(_) => poll_tunnel(connection, context, buffer),
        };
        if polled.is_ready() {
            if had_body {
                self.moved(buffer.filled().len() - before);
            }
            return polled;
        }
        connection.flush_behind(context);
        let stage = Stage {
            awaits_body: !self.is_complete() && !self.awaits_continue,
            is_half_closed: connection.is_at_end && self.is_complete(),
            is_upgraded: self.is_upgraded(),
        };
        let reason = ready!(connection.poll_deadlines(&mut self.deadlines, stage, context));
        self.end_waiting(connection, context, reason)
    }

    /// Writes, and notices if the bytes upgrade the connection.
    pub(crate) fn poll_write(
        &mut self,
        connection: &mut ClientConnection,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = match connection.control.ended() {
            Some(reason) if reason.cuts_off() => match self.last_bytes(reason, bytes) {
                [] if !bytes.is_empty() => return Poll::Ready(Err(reason.error())),
                last => last,
            },
            _ => bytes,
        };
        let written = match self.awaits_upgrade.then(|| with_upgrade_option(bytes)).flatten() {
            // The head is short, so it is taken as a whole.
            Some(head) => connection.poll_write(context, &head)?.map(|_| bytes.len()),
            None => connection.poll_write(context, bytes)?,
        };
        let Poll::Ready(written) = written else {
            return self.wait_for_client(connection, context);
        };
        self.awaits_continue = false;
        if let Body::Tunnel(frames) = &mut self.body {
            frames.advance(bytes.get(..written).unwrap_or_default());
        } else if self.awaits_upgrade {
            self.look_at_answer(bytes, written);
        } else if !self.is_drained && !self.is_complete() {
            let written = bytes.get(..written).unwrap_or_default();
            let answer = self.answer.get_or_insert_with(Incoming::new);
            let heads = answer.follow_heads(written, self.is_to_head);
            answer.follow_body(written.get(heads..).unwrap_or_default());
        }
        self.deadlines.wrote(self.is_upgraded() || connection.control.timeouts.idle().is_some());
        Poll::Ready(Ok(written))
    }

    /// Sends what was gathered.
    pub(crate) fn poll_flush(
        &self,
        connection: &mut ClientConnection,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match connection.poll_flush(context) {
            Poll::Pending => self.wait_for_client(connection, context),
            flushed @ Poll::Ready(_) => flushed,
        }
    }

    /// Lets a write wait for the client. If the connection is cut off, it waits only for the end of the last frame.
    fn wait_for_client<T>(
        &self,
        connection: &ClientConnection,
        context: &Context<'_>,
    ) -> Poll<io::Result<T>> {
        connection.control.register(context.waker());
        match connection.control.ended() {
            Some(reason) if reason.cuts_off() && !self.is_inside_frame() => Poll::Ready(Err(reason.error())),
            _ => Poll::Pending,
        }
    }

    /// Fails the read of a connection that was ended. But if a Close frame is to follow, a frame that is under way may
    /// first be finished, for as long as [`crate::connection::http1::serve_connection`] allows.
    fn end_waiting(
        &self,
        connection: &mut ClientConnection,
        context: &mut Context<'_>,
        reason: EndReason,
    ) -> Poll<io::Result<()>> {
        if reason.cuts_off() && self.is_inside_frame() {
            connection.flush_behind(context);
            return Poll::Pending;
        }
        Poll::Ready(Err(reason.error()))
    }

    /// Returns those of `bytes` that may still be written.
    fn last_bytes<'a>(&self, reason: EndReason, bytes: &'a [u8]) -> &'a [u8] {
        match &self.body {
            Body::Tunnel(frames) => bytes.get(..frames.rest_of_frame(bytes)).unwrap_or_default(),
            _ if reason == EndReason::SessionEnded => &[],
            _ => bytes,
        }
    }

    /// Looks for an upgrade in the answer. Pingora writes every response head in one piece, before anything else.
    fn look_at_answer(&mut self, bytes: &[u8], written: usize) {
        let Some(status) = bytes.strip_prefix(b"HTTP/1.1 ").and_then(|after| after.first_chunk::<3>()) else {
            return;
        };
        if status == b"101" {
            // The rest of a very large head is written next.
            self.body = Body::Tunnel(FrameFollower::new((bytes.len() - written) as u64));
        }
        // After any other 1xx, the final answer follows.
        self.awaits_upgrade = status.starts_with(b"1") && status != b"101";
    }

    fn moved(&mut self, bytes: usize) {
        match &mut self.body {
            Body::Ended | Body::Tunnel(_) => {}
            Body::Length(remaining) => {
                *remaining = remaining.saturating_sub(bytes as u64);
                if *remaining == 0 {
                    self.body = Body::Ended;
                }
            }
            Body::Chunked(merger) => {
                if merger.is_done() {
                    self.body = Body::Ended;
                }
            }
        }
        self.awaits_continue = false;
        self.deadlines.body_came(bytes);
    }
}

/// The number of bytes that a client may pipeline while its last request is served. TCP makes it wait with more.
pub(crate) const MAX_READ_AHEAD: usize = 16 * 1024;

/// Is used after the message's end, and is ready only when the connection breaks. A client that closes its writing side
/// may still want its answer.
pub(crate) fn poll_quiet(
    connection: &mut ClientConnection,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while !connection.is_at_end && connection.incoming.len() < MAX_READ_AHEAD {
        ready!(connection.poll_fill(context))?;
    }
    Poll::Pending
}

/// Adds `Upgrade` to `Connection` in an answer 426 to a handshake. RFC 9110 section 7.8 wants this of each sender of
/// `Upgrade`. Pingora replaces any other `Connection` by its own.
fn with_upgrade_option(bytes: &[u8]) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"\r\nconnection:";
    if !bytes.starts_with(b"HTTP/1.1 426 ") || bytes.len() >= WRITE_BUFFER_SIZE / 2 {
        return None;
    }
    let head = bytes.get(..memmem::find(bytes, b"\r\n\r\n")?)?.to_ascii_lowercase();
    memmem::find(&head, b"\r\nupgrade:")?;
    let start = memmem::find(&head, NAME)? + NAME.len();
    let end = start + memchr(b'\r', bytes.get(start..)?)?;
    let (before, after) = bytes.split_at_checked(end)?;
    Some([before, b", Upgrade", after].concat())
}

#[cfg(test)]
mod tests;
