//! One HTTP/2 connection (RFC 9113): its streams, each a request of its own, and its end.
//!
//! The frames are the `h2` crate's business. What is decided here: its bounds, how long it may idle, and how it ends. Its client is
//! told why, and what it may send again: no connection is just dropped. Which requests are let in is in `requests.rs`, what one must look like
//! in `request.rs`.

mod followed;
mod raw_stream;
mod request;
mod requests;
mod stream;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use h2::Reason;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::{Digest, Stream};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use crate::answer::reason::ReasonCode;

use super::stall::{Leftovers, WRITE_TIMEOUT};
use crate::connection::exchange_control::ConnectionWatch;
use crate::connection::http1::serve::ConnectionSettings;

use followed::{Followed, Heads};
use raw_stream::RawStream;
use requests::Requests;

/// Streams of one connection at once. One more is refused, and may be sent again.
const MAX_STREAMS: u32 = 100;

/// Streams that the client has reset before they were looked at: it may have second thoughts about all of them at once.
const MAX_RESETS_BY_CLIENT: usize = MAX_STREAMS as usize;

/// Streams that were reset here for what the client did, in the life of a connection: `h2`'s own bound.
const MAX_RESETS_BY_US: usize = 1024;

/// Streams that were reset here and are remembered, and for how long: what is still under way to them, such as the rest of an
/// upload that was answered early, is no fault of the client's (RFC 9113 section 5.1).
const REMEMBERED_RESETS: usize = 2 * MAX_STREAMS as usize;
const REMEMBERED_FOR: Duration = Duration::from_secs(10);

/// Bytes of bodies that a client may send ahead: on one stream, and on all of a connection. Those are as many as all streams may
/// have: bodies that an app takes slowly hold up no others.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS;

/// What frames that wait to be read may lack to 256 bytes, in all: so 1 MiB may wait in messages of 32 bytes, and not 1,000,000 of
/// one.
const SMALL_FRAMES: usize = 8 * 1024 * 1024;

/// Bytes of an answer that wait to be sent on one stream.
const SEND_BUFFER: usize = 64 * 1024;

/// How long a connection without requests may take to say goodbye, and one that asks for too much to stop that.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

type Accepted = (http::Request<h2::RecvStream>, h2::server::SendResponse<bytes::Bytes>);

type Connection = h2::server::Connection<Followed, bytes::Bytes>;

/// Every bound of a connection.
fn options(settings: &ConnectionSettings) -> h2::server::Builder {
    // Beyond the limit, so that somewhat too large a head is refused by us, with its reason and a line in the log. Here each field
    // counts for 32 bytes more (RFC 9113 section 6.5.2), and a cookie for a field.
    let max_header_list = settings.max_header_size.saturating_mul(2).saturating_add(8 * 1024);
    let mut options = h2::server::Builder::new();
    options
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(max_header_list).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .data_frame_budget(SMALL_FRAMES)
        .max_pending_accept_reset_streams(MAX_RESETS_BY_CLIENT)
        .max_local_error_reset_streams(Some(MAX_RESETS_BY_US))
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .reset_stream_duration(REMEMBERED_FOR)
        .max_send_buffer_size(SEND_BUFFER);
    options
}

/// Whether more requests are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// The client was told to go. What it had sent by then is served.
    Leaving,
    /// The same, and more are refused: it asks for too much. From this instant on it has had time to stop.
    Refusing(Instant),
}

impl Phase {
    /// What its last GOAWAY says.
    const fn farewell(self) -> Reason {
        match self {
            Self::Serving | Self::Leaving => Reason::NO_ERROR,
            Self::Refusing(_) => Reason::ENHANCE_YOUR_CALM,
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
    let digest = Arc::new(Digest { socket_digest: stream.get_socket_digest(), ..Digest::default() });
    let heads = Arc::new(Heads::new(Arc::clone(&watch), settings.access_log));
    let followed = Followed::new(stream, Arc::clone(&heads));
    let shaking = timeout(settings.header_timeout, options(settings).handshake::<_, bytes::Bytes>(followed));
    let mut connection = match watch.unless_closing(shaking).await {
        Some(Ok(Ok(connection))) => connection,
        Some(Ok(Err(error))) if !error.is_io() => {
            return heads.note((None, ReasonCode::MalformedRequest, "The HTTP/2 preface is malformed."));
        }
        _ => {
            debug!(peer = %watch.peer(), "the HTTP/2 handshake failed");
            return;
        }
    };
    let mut requests = Requests::new();
    // Once something has been answered.
    let mut leftovers = None;
    let mut phase = Phase::Serving;
    // When it is closed if no request is under way.
    let mut idle_until = Instant::now() + settings.header_timeout;
    let farewell = loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&watch, phase) => {
                if watch.ended().is_some() {
                    break Some(phase.farewell());
                }
                (phase, idle_until) = dismiss(&mut connection, Phase::Leaving);
                continue;
            }
            accepted = accept(&mut connection, &heads) => accepted,
            () = requests.one_ends(), if !requests.is_none() => {
                let patience = if phase == Phase::Serving { settings.keep_alive_timeout } else { GOODBYE_TIMEOUT };
                let now = Instant::now();
                idle_until = now + patience;
                if requests.is_none() {
                    watch.begin_waiting(now);
                }
                continue;
            }
            () = sleep_until(idle_until), if requests.is_none() => {
                if phase != Phase::Serving {
                    // What has been answered may not have been taken yet.
                    if phase == Phase::Leaving
                        && leftovers.as_mut().is_some_and(|leftovers: &mut Leftovers| leftovers.are_being_taken(WRITE_TIMEOUT))
                    {
                        idle_until = Instant::now() + GOODBYE_TIMEOUT;
                        continue;
                    }
                    break Some(phase.farewell());
                }
                // Told first, so that no request is lost that is on its way.
                (phase, idle_until) = dismiss(&mut connection, Phase::Leaving);
                continue;
            }
        };
        // The client has closed it, in whatever way, or was told by `h2` what it did wrong.
        let Some((request, respond)) = accepted else { break None };
        let stream = RawStream::new(request, respond, Arc::clone(&digest));
        match phase {
            Phase::Refusing(until) if Instant::now() >= until => break Some(phase.farewell()),
            Phase::Refusing(_) => requests.refuse(stream),
            Phase::Serving | Phase::Leaving => {
                watch.end_waiting();
                leftovers.get_or_insert_with(|| Leftovers::new(digest.socket_digest.clone()));
                requests.begin(stream, app, settings, &watch, &heads);
            }
        }
        if requests.are_too_many() && !matches!(phase, Phase::Refusing(_)) {
            // In order, for the sake of others whose requests a proxy sends over the same connection.
            heads.expect_refusals();
            let until = Instant::now() + GOODBYE_TIMEOUT;
            (phase, idle_until) = dismiss(&mut connection, Phase::Refusing(until));
        }
    };
    requests.end(watch.ended());
    if let Some(reason) = farewell {
        connection.abrupt_shutdown(reason);
        let _gone_or_too_late =
            timeout(GOODBYE_TIMEOUT, poll_fn(|context| connection.poll_closed(context))).await;
    }
}

/// The next request; nothing once the connection has ended, in whatever way.
async fn accept(connection: &mut Connection, heads: &Heads) -> Option<Accepted> {
    let mut accepting = pin!(connection.accept());
    let accepted = poll_fn(|context| {
        let accepted = accepting.as_mut().poll(context);
        if !matches!(accepted, Poll::Ready(Some(Ok(_)))) {
            heads.settle();
        }
        accepted
    });
    let accepted = accepted.await?.ok()?;
    heads.hand_out(accepted.1.stream_id().as_u32());
    Some(accepted)
}

/// Tells the client to go (GOAWAY, RFC 9113 section 6.8); what it may have sent before it hears that is not lost. The phase
/// from then on, and when the connection is closed if no request is under way.
fn dismiss(connection: &mut Connection, phase: Phase) -> (Phase, Instant) {
    connection.graceful_shutdown();
    (phase, Instant::now() + GOODBYE_TIMEOUT)
}

/// Ready when the connection is to take no further requests, or to end at once.
async fn stopped(watch: &ConnectionWatch, phase: Phase) {
    poll_fn(|context| {
        watch.register(context.waker());
        let is_told = watch.ended().is_some() || (watch.is_closing() && phase == Phase::Serving);
        if is_told { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
