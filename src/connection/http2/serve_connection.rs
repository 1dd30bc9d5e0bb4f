//! One HTTP/2 connection (RFC 9113): the requests that it takes, the time for which it may idle, and its end.
//!
//! The `h2` crate deals with the frames. The client is told why the connection ends, and what it may send again. No
//! connection is just dropped.

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

use super::limits;
use super::raw_stream::RawStream;
use super::refused_by_h2::{Heads, ObservedStream};
use super::requests::Requests;
use crate::answer::reason::ReasonCode;
use crate::connection::connection_settings::ConnectionSettings;
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::stall::{Leftovers, WRITE_TIMEOUT};

/// The time that a connection without requests may take to close, and that a client which asks for too much has to
/// stop.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

type Accepted = (http::Request<h2::RecvStream>, h2::server::SendResponse<bytes::Bytes>);

type Connection = h2::server::Connection<ObservedStream, bytes::Bytes>;

/// The state of a connection that decides if it takes more requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// The client was told to go. The requests that it had sent by then are served.
    Leaving,
    /// The client was told to go because it asks for too much, and further requests are refused. After this instant the
    /// client should have stopped.
    Refusing(Instant),
}

impl Phase {
    /// Returns the error code of the last GOAWAY.
    const fn farewell(self) -> Reason {
        match self {
            Self::Serving | Self::Leaving => Reason::NO_ERROR,
            Self::Refusing(_) => Reason::ENHANCE_YOUR_CALM,
        }
    }
}

/// Serves one connection to its end. A stop reaches it through [`ExchangeControl::close_when_idle`].
pub(crate) async fn serve<A>(
    stream: Stream,
    app: &Arc<A>,
    settings: &ConnectionSettings,
    control: Arc<ExchangeControl>,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let digest = Arc::new(Digest { socket_digest: stream.get_socket_digest(), ..Digest::default() });
    let heads = Arc::new(Heads::new(Arc::clone(&control), settings.access_log));
    let observed = ObservedStream::new(stream, Arc::clone(&heads));
    let Some(connection) = shake_hands(observed, settings, &control, &heads).await else { return };
    let served = Served {
        connection,
        control: &control,
        settings,
        heads,
        digest,
        requests: Requests::new(),
        leftovers: None,
        phase: Phase::Serving,
        idle_until: Instant::now() + settings.header_timeout,
    };
    served.run(app).await;
}

/// Waits for the client's preface and settings. Returns `None` if they are malformed or do not come in time.
async fn shake_hands(
    stream: ObservedStream,
    settings: &ConnectionSettings,
    control: &ExchangeControl,
    heads: &Heads,
) -> Option<Connection> {
    let shaking =
        timeout(settings.header_timeout, limits::options(settings).handshake::<_, bytes::Bytes>(stream));
    match control.unless_closing(shaking).await {
        Some(Ok(Ok(connection))) => return Some(connection),
        Some(Ok(Err(error))) if !error.is_io() => {
            heads.note((None, ReasonCode::MalformedRequest, "The HTTP/2 preface is malformed."));
        }
        _ => debug!(peer = %control.peer(), "the HTTP/2 handshake failed"),
    }
    None
}

/// A connection that is served.
struct Served<'a> {
    connection: Connection,
    control: &'a ExchangeControl,
    settings: &'a ConnectionSettings,
    heads: Arc<Heads>,
    digest: Arc<Digest>,
    requests: Requests,
    /// Present once a request has been taken.
    leftovers: Option<Leftovers>,
    phase: Phase,
    /// The instant when the connection is closed if no request is under way.
    idle_until: Instant,
}

impl Served<'_> {
    async fn run<A>(mut self, app: &Arc<A>)
    where
        A: HttpServerApp + Send + Sync + 'static,
    {
        let farewell = loop {
            let accepted = tokio::select! {
                biased;
                () = stopped(self.control, self.phase) => {
                    if self.control.ended().is_some() {
                        break Some(self.phase.farewell());
                    }
                    self.dismiss(Phase::Leaving);
                    continue;
                }
                accepted = accept(&mut self.connection, &self.heads) => accepted,
                () = self.requests.one_ends(), if !self.requests.is_none() => {
                    self.note_end_of_a_request();
                    continue;
                }
                () = sleep_until(self.idle_until), if self.requests.is_none() => {
                    if self.has_idled_enough() {
                        break Some(self.phase.farewell());
                    }
                    continue;
                }
            };
            // The client has closed the connection in some way, or `h2` has told it what it did wrong.
            let Some((request, respond)) = accepted else { break None };
            let stream = RawStream::new(request, respond, Arc::clone(&self.digest));
            if !self.take(stream, app) {
                break Some(self.phase.farewell());
            }
        };
        self.requests.end(self.control.ended());
        if let Some(reason) = farewell {
            self.connection.abrupt_shutdown(reason);
            let closed = poll_fn(|context| self.connection.poll_closed(context));
            let _gone_or_too_late = timeout(GOODBYE_TIMEOUT, closed).await;
        }
    }

    /// Serves or refuses a request. Returns false if the client was told to stop and has had the time to do so.
    fn take<A>(&mut self, stream: RawStream, app: &Arc<A>) -> bool
    where
        A: HttpServerApp + Send + Sync + 'static,
    {
        match self.phase {
            Phase::Refusing(until) if Instant::now() >= until => return false,
            Phase::Refusing(_) => self.requests.refuse(stream),
            Phase::Serving | Phase::Leaving => {
                self.control.end_waiting();
                let socket = &self.digest.socket_digest;
                self.leftovers.get_or_insert_with(|| Leftovers::new(socket.clone()));
                self.requests.begin(stream, app, self.settings, self.control, &self.heads);
            }
        }
        if self.requests.are_too_many() && !matches!(self.phase, Phase::Refusing(_)) {
            // The connection ends in order, because a proxy may send requests of others over it.
            self.heads.expect_refusals();
            self.dismiss(Phase::Refusing(Instant::now() + GOODBYE_TIMEOUT));
        }
        true
    }

    fn note_end_of_a_request(&mut self) {
        let patience =
            if self.phase == Phase::Serving { self.settings.keep_alive_timeout } else { GOODBYE_TIMEOUT };
        let now = Instant::now();
        self.idle_until = now + patience;
        if self.requests.is_none() {
            self.control.begin_waiting(now);
        }
    }

    /// Decides what happens to a connection that has idled for its time. Returns false if it goes on for a while.
    fn has_idled_enough(&mut self) -> bool {
        if self.phase == Phase::Serving {
            // The client is told first, so that a request on its way is not lost.
            self.dismiss(Phase::Leaving);
            return false;
        }
        // The client may not have taken all of the answers yet.
        let leftovers = self.leftovers.as_mut().filter(|_| self.phase == Phase::Leaving);
        if leftovers.is_some_and(|leftovers| leftovers.are_being_taken(WRITE_TIMEOUT)) {
            self.idle_until = Instant::now() + GOODBYE_TIMEOUT;
            return false;
        }
        true
    }

    /// Tells the client to go (GOAWAY, RFC 9113 section 6.8). Requests that it sends before it reads this are not lost.
    fn dismiss(&mut self, phase: Phase) {
        self.connection.graceful_shutdown();
        (self.phase, self.idle_until) = (phase, Instant::now() + GOODBYE_TIMEOUT);
    }
}

/// Waits for the next request. Returns `None` once the connection has ended in any way.
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

/// Is ready when the connection shall take no further requests, or end at once.
async fn stopped(control: &ExchangeControl, phase: Phase) {
    poll_fn(|context| {
        control.register(context.waker());
        let is_told = control.ended().is_some() || (control.is_closing() && phase == Phase::Serving);
        if is_told { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
