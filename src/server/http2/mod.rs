//! One HTTP/2 connection (RFC 9113): its streams, each a request of its own, and its end.
//!
//! The frames are the `h2` crate's business. What is decided here: its bounds, how long it may idle, and how it ends. Its client is
//! told why, and what it may send again: no connection is just dropped. Which requests are let in is in `requests.rs`, what one must look like
//! in `request.rs`, its deadlines are in `deadlines.rs`.

mod deadlines;
mod request;
mod requests;
mod stream;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use h2::Reason;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::v2::server::{
    H2Accept, H2Options, HttpSession, default_h2_options, handshake,
};
use pingora_core::protocols::{Digest, Stream};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::connection::ConnectionSettings;
use super::watch::ConnectionWatch;

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

type Connection = h2::server::Connection<Stream, bytes::Bytes>;

/// Every bound of a connection.
fn options(settings: &ConnectionSettings) -> H2Options {
    // Beyond the limit, so that somewhat too large a head is refused by us, with its reason and a line in the log. Here each field
    // counts for 32 bytes more (RFC 9113 section 6.5.2), and a cookie for a field.
    let max_header_list = settings.max_header_size.saturating_mul(2).saturating_add(8 * 1024);
    let mut options = default_h2_options();
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
pub(super) async fn serve<A>(
    stream: Stream,
    app: &Arc<A>,
    settings: &ConnectionSettings,
    watch: Arc<ConnectionWatch>,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let digest = Arc::new(Digest { socket_digest: stream.get_socket_digest(), ..Digest::default() });
    let shaking = timeout(settings.header_timeout, handshake(stream, Some(options(settings))));
    let Some(Ok(Ok(mut connection))) = watch.unless_closing(shaking).await else {
        debug!(peer = %watch.peer(), "the HTTP/2 handshake failed");
        return;
    };
    let mut requests = Requests::new();
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
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => accepted,
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
                    break Some(phase.farewell());
                }
                // Told first, so that no request is lost that is on its way.
                (phase, idle_until) = dismiss(&mut connection, Phase::Leaving);
                continue;
            }
        };
        match (accepted, phase) {
            // The client has closed it, in whatever way, or was told by `h2` what it did wrong.
            (Ok(None) | Err(_), _) => break None,
            (_, Phase::Refusing(until)) if Instant::now() >= until => break Some(phase.farewell()),
            (Ok(Some(H2Accept::Session(session))), Phase::Refusing(_)) => requests.refuse(session),
            (Ok(Some(H2Accept::Session(session))), _) => {
                watch.end_waiting();
                requests.begin(session, app, settings, &watch);
            }
            (Ok(Some(H2Accept::Rejected)), _) => requests.note_malformed(settings, &watch),
        }
        if requests.are_too_many() && !matches!(phase, Phase::Refusing(_)) {
            // In order, for the sake of others whose requests a proxy sends over the same connection.
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
