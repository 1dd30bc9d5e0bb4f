//! One HTTP/2 connection (RFC 9113): its streams, each a request of its own, and its end.
//!
//! The frames are the `h2` crate's business. What is decided here: how many streams, how long it may idle, and how it is
//! drained. What one request must look like is in `request.rs`, its deadlines are in `deadlines.rs`.

mod deadlines;
mod request;
mod stream;

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use http::HeaderValue;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{
    H2Accept, H2Options, HttpSession, default_h2_options, handshake,
};
use pingora_core::protocols::{Digest, Stream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use crate::config::AccessLog;
use crate::respond::Problem;
use crate::telemetry::metrics::METRICS;
use crate::telemetry::{access_log, request_id};

use super::closing::unless_cut_off;
use super::connection::ConnectionSettings;
use super::request_head::HeadRefusal;
use super::watch::{ConnectionWatch, EndReason, STREAM};

use stream::Http2Stream;

/// Streams of one connection at once.
const MAX_STREAMS: u32 = 100;

/// Requests of one connection that are worked on at once, those included whose stream the client has reset meanwhile: a
/// client that opens and resets streams without end is sent away.
const MAX_REQUESTS: usize = 2 * MAX_STREAMS as usize;

/// Streams that were reset by the client and are not seen yet; and by us, for what the client did.
const MAX_RESETS_BY_CLIENT: usize = 20;
const MAX_RESETS_BY_US: usize = 64;

/// Requests that are refused before they are seen as such.
const MAX_MALFORMED: u32 = 32;

/// Bytes of bodies that a client may send ahead: on one stream, and on all of a connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What small DATA frames of a connection may cost in memory until they are taken, beyond their bytes: some 256 bytes each. A
/// client that sends bytes one by one, or many small messages, is no attack before that.
const SMALL_FRAMES: usize = 4 * 1024 * 1024;

/// Bytes of an answer that wait to be sent on one stream.
const SEND_BUFFER: usize = 64 * 1024;

/// How long a connection without requests may take to say goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

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
        .max_send_buffer_size(SEND_BUFFER);
    options
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
    let Ok(Ok(mut connection)) = shaking.await else {
        debug!(peer = %watch.peer(), "the HTTP/2 handshake failed");
        return;
    };
    let mut requests = Requests::new(Instant::now() + settings.header_timeout);
    let mut is_draining = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&watch, is_draining) => {
                if watch.ended().is_some() {
                    break;
                }
                connection.graceful_shutdown();
                requests.idle_until = Instant::now() + GOODBYE_TIMEOUT;
                is_draining = true;
                continue;
            }
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => accepted,
            _ = requests.tasks.join_next(), if !requests.tasks.is_empty() => {
                let patience = if is_draining { GOODBYE_TIMEOUT } else { settings.keep_alive_timeout };
                requests.idle_until = Instant::now() + patience;
                continue;
            }
            () = sleep_until(requests.idle_until), if requests.tasks.is_empty() => {
                if is_draining {
                    break;
                }
                // Told first, so that no request is lost that is on its way.
                connection.graceful_shutdown();
                requests.idle_until = Instant::now() + GOODBYE_TIMEOUT;
                is_draining = true;
                continue;
            }
        };
        match accepted {
            Ok(Some(H2Accept::Session(session))) if requests.tasks.len() < MAX_REQUESTS => {
                requests.begin(session, app, settings, &watch);
            }
            Ok(Some(H2Accept::Rejected)) if requests.malformed < MAX_MALFORMED => {
                requests.malformed += 1;
                let problem = HeadRefusal::Malformed.problem();
                note_refusal(&problem, &request_id::fresh(), settings.access_log, &watch);
            }
            // The client has closed it, in whatever way, or asks for too much.
            _ => break,
        }
    }
    requests.end(watch.ended());
}

/// For the log and the metrics: the gateway has not seen this request.
fn note_refusal(problem: &Problem, id: &HeaderValue, log: AccessLog, watch: &ConnectionWatch) {
    METRICS.refused_heads.with_label_values(&[problem.reason.as_str()]).inc();
    access_log::write_refused_head(log, id, problem, watch.peer().ip());
}

/// Ready when the connection is to take no further requests, or to end at once.
async fn stopped(watch: &ConnectionWatch, is_draining: bool) {
    poll_fn(|context| {
        watch.register(context.waker());
        let is_told = watch.ended().is_some() || (watch.is_closing() && !is_draining);
        if is_told { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// The requests of one connection that are under way.
struct Requests {
    tasks: JoinSet<()>,
    watches: Vec<Weak<ConnectionWatch>>,
    malformed: u32,
    /// When the connection is closed if none is under way.
    idle_until: Instant,
}

impl Requests {
    fn new(idle_until: Instant) -> Self {
        Self { tasks: JoinSet::new(), watches: Vec::new(), malformed: 0, idle_until }
    }

    /// Serves a request in a task of its own, with deadlines and an end of its own.
    fn begin<A>(
        &mut self,
        mut session: HttpSession,
        app: &Arc<A>,
        settings: &ConnectionSettings,
        connection: &ConnectionWatch,
    ) where
        A: HttpServerApp + Send + Sync + 'static,
    {
        let watch = Arc::new(ConnectionWatch::new(connection.peer(), connection.tls()));
        self.watches.retain(|watch| watch.strong_count() > 0);
        self.watches.push(Arc::downgrade(&watch));
        let app = Arc::clone(app);
        let settings = settings.clone();
        self.tasks.spawn(async move {
            if let Err(problem) = request::check(session.req_header_mut(), settings.max_header_size) {
                let id = request_id::fresh();
                note_refusal(&problem, &id, settings.access_log, &watch);
                let _gone_already = request::refuse(&mut session, &problem, id).await;
                return;
            }
            watch.begin_exchange();
            let stream = Http2Stream::new(session, Arc::clone(&watch), settings.body_min_rate);
            // Pingora looks at this for every request; this module looks at the connection's end itself.
            let (_, never) = tokio::sync::watch::channel(false);
            let session = ServerSession::new_custom(Box::new(stream));
            let serving = STREAM.scope(Arc::clone(&watch), app.process_new_http(session, &never));
            unless_cut_off(serving, &watch).await;
            watch.finish_exchange();
        });
    }

    /// The connection is gone. What its requests do notices that by itself, and may have to come to an end in order.
    fn end(mut self, reason: Option<EndReason>) {
        for watch in self.watches.iter().filter_map(Weak::upgrade) {
            if let Some(reason) = reason {
                watch.end(reason);
            }
        }
        self.tasks.detach_all();
    }
}
