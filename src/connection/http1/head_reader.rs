//! Reads a request head from a client's connection, within its size and a total deadline. Leaves the bytes after it.

use std::future::poll_fn;
use std::sync::LazyLock;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use memchr::{memchr_iter, memmem};
use tokio::time::Instant;

use super::client_connection::ClientConnection;
use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::connection::connection_settings::ConnectionSettings;
use crate::connection::head_refusal::HeadRefusal;
use crate::connection::other_protocols::{Spoken, spoken};
use crate::syntax::header_name::is_token;

/// The outcome of waiting for a request.
pub(super) enum Received {
    /// A head, through its empty line.
    Head(BytesMut),
    /// A refusal that is answered. The connection ends after the answer.
    Refused(Problem),
    /// No request, and nobody to answer to.
    Closed,
}

impl From<HeadRefusal> for Received {
    fn from(refusal: HeadRefusal) -> Self {
        Self::Refused(refusal.problem())
    }
}

/// Reads the next head, within its limits.
pub(super) async fn read_head(
    connection: &mut ClientConnection,
    settings: &ConnectionSettings,
    idle_timeout: Duration,
) -> Received {
    let mut has_skipped_line = false;
    let mut scanned = 0;
    let mut deadline = None;
    loop {
        if !has_skipped_line
            && scanned == 0
            && let Some(refusal) = refuse_other_protocols(&connection.incoming)
        {
            return refusal.into();
        }
        // One empty line before the request is accepted (RFC 9112 section 2.2).
        if !has_skipped_line && connection.incoming.starts_with(b"\r\n") {
            connection.incoming.advance(2);
            (has_skipped_line, scanned) = (true, 0);
        }
        if connection.incoming.is_empty() {
            match fill(connection, Instant::now() + idle_timeout, true).await {
                Filled::Bytes => continue,
                Filled::Closed | Filled::TimedOut => return Received::Closed,
            }
        }
        connection.control.end_waiting();
        if let Some(end) = find_head_end(&connection.incoming, scanned) {
            if end > settings.max_header_size {
                return HeadRefusal::TooLarge.into();
            }
            return Received::Head(split_head(&mut connection.incoming, end));
        }
        if let Some(refusal) = refuse_early(&connection.incoming, scanned) {
            return refusal.into();
        }
        if connection.incoming.len() > settings.max_header_size {
            return HeadRefusal::TooLarge.into();
        }
        scanned = connection.incoming.len();
        let until = *deadline.get_or_insert_with(|| Instant::now() + settings.header_timeout);
        match fill(connection, until, false).await {
            Filled::Bytes => {}
            Filled::Closed => return Received::Closed,
            Filled::TimedOut => {
                let detail = "The request head did not arrive in time.";
                return Received::Refused(Problem::new(Code::RequestTimeout, detail));
            }
        }
    }
}

/// Splits the head off. Does not copy if nothing follows the head, which is the usual case.
fn split_head(incoming: &mut BytesMut, end: usize) -> BytesMut {
    if incoming.len() == end { std::mem::take(incoming) } else { incoming.split_to(end) }
}

/// Returns where the first empty line ends, if its end comes after `scanned`.
fn find_head_end(bytes: &[u8], scanned: usize) -> Option<usize> {
    static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\r\n\r\n"));
    let from = scanned.saturating_sub(3);
    FINDER.find(bytes.get(from..)?).map(|at| from + at + 4)
}

/// Refuses bytes of another protocol than HTTP, and says which protocol it is.
fn refuse_other_protocols(bytes: &[u8]) -> Option<HeadRefusal> {
    match spoken(bytes) {
        Spoken::Tls => Some(HeadRefusal::TlsAtHttpPort),
        Spoken::ProxyProtocol => Some(HeadRefusal::ProxyProtocol),
        Spoken::Http | Spoken::Undecided | Spoken::Unknown => None,
    }
}

/// Refuses a head before its end, which may never come, if a line ends in LF alone or no method can begin like this.
fn refuse_early(bytes: &[u8], scanned: usize) -> Option<HeadRefusal> {
    let is_bare = |at: usize| at.checked_sub(1).and_then(|before| bytes.get(before)) != Some(&b'\r');
    if memchr_iter(b'\n', bytes.get(scanned..)?).any(|at| is_bare(scanned + at)) {
        return Some(HeadRefusal::BareLineFeed);
    }
    let starts_wrong =
        scanned == 0 && bytes.first().is_some_and(|&first| first != b'\r' && !is_token(&[first]));
    starts_wrong.then_some(HeadRefusal::RequestLine)
}

pub(super) enum Filled {
    Bytes,
    Closed,
    TimedOut,
}

/// Waits for bytes of a head. While `is_idle`, the connection closes at once when it is told to.
pub(super) async fn fill(connection: &mut ClientConnection, deadline: Instant, is_idle: bool) -> Filled {
    poll_fn(|context| {
        match connection.poll_fill(context) {
            Poll::Ready(Ok(1..)) => return Poll::Ready(Filled::Bytes),
            Poll::Ready(_) => return Poll::Ready(Filled::Closed),
            Poll::Pending => {}
        }
        connection.flush_behind(context);
        connection.control.register(context.waker());
        if connection.control.ended().is_some() || (is_idle && connection.control.is_closing_idle()) {
            return Poll::Ready(Filled::Closed);
        }
        connection.poll_deadline(context, deadline).map(|()| Filled::TimedOut)
    })
    .await
}
