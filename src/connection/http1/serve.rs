//! One HTTP/1.x connection: request after request, each checked before Pingora sees it.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::HeaderValue;
use memchr::{memchr_iter, memmem};
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::{ServerSession, date};
use pingora_core::server::ShutdownWatch;
use tokio::time::{Instant, timeout};

use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::config::{AccessLog, Limits};
use crate::telemetry::{access_log, metrics, request_id};

use super::head_fields::is_token;
use super::message::Message;
use super::message_stream::{MessageStream, Returned, Slot};
use super::request_head::{HeadRefusal, RequestHead, check};
use super::wire::Wire;
use crate::connection::closing::{LINGER_TIMEOUT, close, linger, unless_cut_off, write_all};
use crate::connection::exchange_control::ConnectionWatch;
use crate::connection::other_protocols::{Spoken, spoken};
use crate::connection::tls::handshake_failure::Failure;

/// How long an unwanted body may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What every connection is held to (`[server.limits]`).
#[derive(Debug, Clone)]
pub(crate) struct ConnectionSettings {
    /// For a whole head from its first byte, and for a fresh connection's first byte.
    pub(crate) header_timeout: Duration,
    /// Between two requests.
    pub(crate) keep_alive_timeout: Duration,
    /// Bytes of a head.
    pub(crate) max_header_size: usize,
    /// Bytes per second of a body.
    pub(crate) body_min_rate: u64,
    /// Whether refused heads are logged.
    pub(crate) access_log: AccessLog,
}

impl ConnectionSettings {
    /// As configured.
    pub(crate) fn new(limits: &Limits, access_log: AccessLog) -> Self {
        Self {
            access_log,
            header_timeout: limits.header_timeout,
            keep_alive_timeout: limits.keep_alive_timeout,
            max_header_size: limits.max_header_size,
            body_min_rate: limits.body_min_rate,
        }
    }
}

/// Serves one connection to its end. A stop reaches it through [`ConnectionWatch::close_when_idle`].
pub(crate) async fn serve<A>(
    stream: Stream,
    app: &Arc<A>,
    settings: &ConnectionSettings,
    watch: Arc<ConnectionWatch>,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let slot = Arc::new(Slot::default());
    // Pingora looks at this for every request. One for all connections would be a lock that all workers share.
    let (_, never) = tokio::sync::watch::channel(false);
    let mut wire = Box::new(Wire::new(stream, watch));
    let mut idle_timeout = settings.header_timeout;
    loop {
        let checked = match read_head(&mut wire, settings, idle_timeout).await {
            Received::Head(raw) => {
                check(&raw).map(|head| (head.rewrite(raw), head)).map_err(HeadRefusal::problem)
            }
            Received::Refused(problem) => Err(problem),
            Received::Closed => return,
        };
        let (raw, head) = match checked {
            Ok(accepted) => accepted,
            Err(problem) => return refuse(wire, &problem, settings).await,
        };
        match exchange(wire, raw, &head, app, settings, &slot, &never).await {
            Some(kept) => wire = kept,
            None => return,
        }
        idle_timeout = settings.keep_alive_timeout;
        wire.watch.begin_waiting(Instant::now());
    }
}

/// Answers a head that is refused, and ends the connection.
async fn refuse(mut wire: Box<Wire>, problem: &Problem, settings: &ConnectionSettings) {
    let id = request_id::fresh();
    metrics::METRICS.refused_heads.with_label_values(&[problem.reason.as_str()]).inc();
    access_log::write_refused_head(settings.access_log, &id, problem, wire.watch.peer().ip());
    let _gone_already = timeout(LINGER_TIMEOUT, answer(&mut wire, problem, &id)).await;
    let _time_is_over = timeout(LINGER_TIMEOUT, linger(&mut wire)).await;
}

/// Ends the connection of a client that does not speak TLS where that is spoken: with an answer, if it is a request.
pub(crate) async fn refuse_without_tls(
    stream: Stream,
    settings: &ConnectionSettings,
    until: Instant,
    watch: Arc<ConnectionWatch>,
) {
    let peer = watch.peer();
    let mut wire = Box::new(Wire::new(stream, watch));
    while spoken(&wire.incoming) == Spoken::Undecided {
        if !matches!(fill(&mut wire, until, false).await, Filled::Bytes) {
            break;
        }
    }
    match spoken(&wire.incoming) {
        Spoken::Http => refuse(wire, &HeadRefusal::HttpAtTlsPort.problem(), settings).await,
        Spoken::ProxyProtocol => {
            let detail = "it begins with the PROXY protocol, which is not spoken here";
            Failure::NotTls.tell(peer, None, Some(detail));
        }
        Spoken::Tls | Spoken::Undecided | Spoken::Unknown => Failure::NotTls.tell(peer, None, None),
    }
}

/// Lets Pingora serve one request; the connection, when another may follow.
async fn exchange<A>(
    wire: Box<Wire>,
    raw_head: BytesMut,
    head: &RequestHead,
    app: &Arc<A>,
    settings: &ConnectionSettings,
    slot: &Arc<Slot>,
    shutdown: &ShutdownWatch,
) -> Option<Box<Wire>>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let watch = Arc::clone(&wire.watch);
    watch.begin_exchange();
    let message = Message::new(head, settings.body_min_rate);
    let mut session = ServerSession::new_http1(Box::new(MessageStream::new(wire, message, Arc::clone(slot))));
    session.set_pipelined_prefix(raw_head);
    session.set_connection_user_context(Some(Box::new(Arc::clone(&watch))));
    // Its time-out restarts on every read and would end a quiet WebSocket; the deadlines are the watch's.
    session.set_read_timeout(None);
    session.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
    session.set_close_on_response_before_downstream_finish(!head.is_drained());

    let is_reusable = unless_cut_off(app.process_new_http(session, shutdown), &watch).await;
    let Returned { wire, message } = slot.take()?;
    let ended = watch.finish_exchange();
    let is_reusable = is_reusable || watch.continues_after_failure();
    if is_reusable && !head.closes && message.is_complete() && ended.is_none() {
        return Some(wire);
    }
    close(wire, &message, ended).await;
    None
}

/// What came of waiting for a request.
enum Received {
    /// A head, through its empty line.
    Head(BytesMut),
    /// Something that gets an answer, after which the connection ends.
    Refused(Problem),
    /// Nothing, and nobody to answer to.
    Closed,
}

impl From<HeadRefusal> for Received {
    fn from(refusal: HeadRefusal) -> Self {
        Self::Refused(refusal.problem())
    }
}

async fn read_head(wire: &mut Wire, settings: &ConnectionSettings, idle_timeout: Duration) -> Received {
    let mut has_skipped_line = false;
    let mut scanned = 0;
    let mut deadline = None;
    loop {
        if !has_skipped_line
            && scanned == 0
            && let Some(refusal) = refuse_other_protocols(&wire.incoming)
        {
            return refusal.into();
        }
        // One empty line before the request is forgiven (RFC 9112 section 2.2).
        if !has_skipped_line && wire.incoming.starts_with(b"\r\n") {
            wire.incoming.advance(2);
            (has_skipped_line, scanned) = (true, 0);
        }
        if wire.incoming.is_empty() {
            match fill(wire, Instant::now() + idle_timeout, true).await {
                Filled::Bytes => continue,
                Filled::Closed | Filled::TimedOut => return Received::Closed,
            }
        }
        wire.watch.end_waiting();
        if let Some(end) = find_head_end(&wire.incoming, scanned) {
            if end > settings.max_header_size {
                return HeadRefusal::TooLarge.into();
            }
            return Received::Head(split_head(&mut wire.incoming, end));
        }
        if let Some(refusal) = refuse_early(&wire.incoming, scanned) {
            return refusal.into();
        }
        if wire.incoming.len() > settings.max_header_size {
            return HeadRefusal::TooLarge.into();
        }
        scanned = wire.incoming.len();
        let until = *deadline.get_or_insert_with(|| Instant::now() + settings.header_timeout);
        match fill(wire, until, false).await {
            Filled::Bytes => {}
            Filled::Closed => return Received::Closed,
            Filled::TimedOut => {
                let detail = "The request head did not arrive in time.";
                return Received::Refused(Problem::new(Code::RequestTimeout, detail));
            }
        }
    }
}

/// Takes the head off; without a copy when nothing follows it, which is the rule.
fn split_head(incoming: &mut BytesMut, end: usize) -> BytesMut {
    if incoming.len() == end { std::mem::take(incoming) } else { incoming.split_to(end) }
}

/// Where the first empty line ends, when all but its last bytes lie behind `scanned`.
fn find_head_end(bytes: &[u8], scanned: usize) -> Option<usize> {
    static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\r\n\r\n"));
    let from = scanned.saturating_sub(3);
    FINDER.find(bytes.get(from..)?).map(|at| from + at + 4)
}

/// What is no HTTP, and which of them it is.
fn refuse_other_protocols(bytes: &[u8]) -> Option<HeadRefusal> {
    match spoken(bytes) {
        Spoken::Tls => Some(HeadRefusal::TlsAtHttpPort),
        Spoken::ProxyProtocol => Some(HeadRefusal::ProxyProtocol),
        Spoken::Http | Spoken::Undecided | Spoken::Unknown => None,
    }
}

/// What can be said of a head before its end, which may never come: lines that end in LF, and other protocols.
fn refuse_early(bytes: &[u8], scanned: usize) -> Option<HeadRefusal> {
    let is_bare = |at: usize| at.checked_sub(1).and_then(|before| bytes.get(before)) != Some(&b'\r');
    if memchr_iter(b'\n', bytes.get(scanned..)?).any(|at| is_bare(scanned + at)) {
        return Some(HeadRefusal::BareLineFeed);
    }
    let starts_wrong =
        scanned == 0 && bytes.first().is_some_and(|&first| first != b'\r' && !is_token(&[first]));
    starts_wrong.then_some(HeadRefusal::RequestLine)
}

enum Filled {
    Bytes,
    Closed,
    TimedOut,
}

/// Waits for bytes of a head; while `is_idle`, closing takes effect at once.
async fn fill(wire: &mut Wire, deadline: Instant, is_idle: bool) -> Filled {
    poll_fn(|context| {
        match wire.poll_fill(context) {
            Poll::Ready(Ok(1..)) => return Poll::Ready(Filled::Bytes),
            Poll::Ready(_) => return Poll::Ready(Filled::Closed),
            Poll::Pending => {}
        }
        wire.flush_behind(context);
        wire.watch.register(context.waker());
        if wire.watch.ended().is_some() || (is_idle && wire.watch.is_closing_idle()) {
            return Poll::Ready(Filled::Closed);
        }
        wire.poll_deadline(context, deadline).map(|()| Filled::TimedOut)
    })
    .await
}

/// Writes a problem answer without Pingora, which never saw this request.
async fn answer(wire: &mut Wire, problem: &Problem, id: &HeaderValue) -> io::Result<()> {
    let body = problem.body(Some(id));
    let (status, reason) = (problem.status.as_str(), problem.status.canonical_reason().unwrap_or_default());
    let mut bytes = BytesMut::from(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes());
    let fields = problem.headers(Some(id), &body).list();
    let ends = [("Date", date::get_cached_date()), ("Connection", HeaderValue::from_static("close"))];
    for (name, value) in fields.into_iter().chain(ends) {
        for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    write_all(wire, bytes).await?;
    poll_fn(|context| wire.poll_flush(context)).await
}

#[cfg(test)]
mod tests;
