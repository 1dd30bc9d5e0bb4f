//! What the gateway and a connection's reader tell each other while a request is under way.
//!
//! Pingora owns the session, so there is no argument through which a deadline could be passed to the stream below
//! it. A [`ConnectionWatch`] is that argument: the gateway gets it as the connection's user context
//! (`ProxyHttp::on_connection_reuse`), the stream reads it whenever it would wait. Nothing here is shared between
//! connections.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::connection::forwarding::DirectOrigin;

/// What all connections count from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

tokio::task_local! {
    /// Of the HTTP/2 stream that this task serves. Pingora has a connection's user context for HTTP/1.x only.
    pub(crate) static STREAM: Arc<ConnectionWatch>;
}

/// The watch of the HTTP/2 stream that the running task serves, if it serves one.
pub(crate) fn of_this_stream() -> Option<Arc<ConnectionWatch>> {
    STREAM.try_with(Arc::clone).ok()
}

/// Why a connection's reads fail from now on. Writes still work, so that an answer can be sent; but for the reasons that
/// cut it off, [`Self::SessionEnded`] and [`Self::Shutdown`], the whole exchange is over within a second, and an upgraded
/// connection is then closed with a WebSocket Close frame (docs/behaviour.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum EndReason {
    /// The app sent no response head in time: 504.
    ResponseTimeout = 1,
    /// The body came in below `server.limits.body_min_rate`: 408.
    BodyTooSlow,
    /// The chunked coding of the body is malformed (RFC 9112 section 7.1): 400.
    MalformedBody,
    /// The whole answer has gone out before the request had come in to its end: nobody wants the rest.
    Answered,
    /// The client has closed its writing side, and nothing has gone to it for a while.
    ClientLeft,
    /// Nothing moved on an upgraded connection for the app's `idle` time-out.
    Idle,
    /// The app sent nothing more of its answer, and took nothing of the request, for its `idle` time-out: the answer is cut.
    AppIdle,
    /// The session behind an open stream is no longer good: see [`Exchange`].
    SessionEnded,
    /// The server's grace period is over.
    Shutdown,
}

impl EndReason {
    const ALL: [Self; 9] = [
        Self::ResponseTimeout,
        Self::BodyTooSlow,
        Self::MalformedBody,
        Self::Answered,
        Self::ClientLeft,
        Self::Idle,
        Self::AppIdle,
        Self::SessionEnded,
        Self::Shutdown,
    ];

    /// Whether someone else than the exchange itself ends it: then it is not waited for.
    pub(crate) const fn cuts_off(self) -> bool {
        matches!(self, Self::SessionEnded | Self::Shutdown)
    }
}

/// What an exchange's beginning, and its end, add to [`ConnectionWatch`]'s state.
const EXCHANGE: u64 = 1 << 8;

/// The bits of the state that hold the reason.
const REASON: u64 = EXCHANGE - 1;

/// One request and its response, or what they became, on a connection that may serve others before and after: for
/// whoever may have to end an open stream later, from any thread. Keeps nothing open.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    connection: Arc<ConnectionWatch>,
    /// The connection's state while it is under way, without the reason.
    number: u64,
}

impl Exchange {
    /// Ends the connection if this exchange is still under way, and says whether it was; an earlier reason stays. Once
    /// the exchange is over this does nothing, whatever the connection serves by then.
    ///
    /// With [`EndReason::SessionEnded`] an upgraded connection is closed with a WebSocket Close frame, any other response
    /// is cut, and no request follows. It takes less than 2 s, also when app and client are silent.
    pub(crate) fn end(&self, reason: EndReason) -> bool {
        let state = &self.connection.state;
        let ended = self.number | reason as u64;
        match state.compare_exchange(self.number, ended, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.connection.wake();
                true
            }
            Err(state) => state & !REASON == self.number,
        }
    }

    /// Whether the response is over, so that there is nothing to end any more.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.state.load(Ordering::Acquire) & !REASON != self.number
    }
}

/// Shared between one connection's stream, the gateway, and whoever may end the connection.
#[derive(Debug)]
pub(crate) struct ConnectionWatch {
    peer: SocketAddr,
    tls: bool,
    /// Instants below are kept as milliseconds since this one.
    opened: Instant,
    /// Milliseconds; 0 is disarmed.
    response_timeout: AtomicU64,
    response_armed_at: AtomicU64,
    /// Milliseconds; 0 is none.
    idle_timeout: AtomicU64,
    /// Milliseconds; 0 is none.
    answer_timeout: AtomicU64,
    /// When the app was last seen to take something of the request; 0 is never.
    app_took_at: AtomicU64,
    /// Milliseconds; 0 is the default.
    write_timeout: AtomicU64,
    rate_exempt: AtomicBool,
    closing: AtomicBool,
    closing_idle: AtomicBool,
    continues: AtomicBool,
    /// Since when it waits for a next request, in milliseconds since [`EPOCH`]; 0: it does not.
    waiting_since: AtomicU64,
    direct_origin: DirectOrigin,
    /// The [`EndReason`], 0 for none, below a count of the exchanges' beginnings and ends ([`EXCHANGE`]). In one word, so
    /// that ending an exchange cannot hit the one after it.
    state: AtomicU64,
    reader: Mutex<Option<Waker>>,
}

impl ConnectionWatch {
    /// A watch for a connection that was just accepted.
    pub(crate) fn new(peer: SocketAddr, tls: bool) -> Self {
        Self {
            peer,
            tls,
            opened: Instant::now(),
            response_timeout: AtomicU64::new(0),
            response_armed_at: AtomicU64::new(0),
            idle_timeout: AtomicU64::new(0),
            answer_timeout: AtomicU64::new(0),
            app_took_at: AtomicU64::new(0),
            write_timeout: AtomicU64::new(0),
            rate_exempt: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            closing_idle: AtomicBool::new(false),
            continues: AtomicBool::new(false),
            waiting_since: AtomicU64::new(0),
            direct_origin: DirectOrigin::default(),
            state: AtomicU64::new(0),
            reader: Mutex::new(None),
        }
    }

    /// The other end of the socket: the client, or the proxy in front of us.
    pub(crate) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether TLS ends here.
    pub(crate) const fn tls(&self) -> bool {
        self.tls
    }

    /// What apps are told of requests whose client is at the other end.
    pub(crate) const fn direct_origin(&self) -> &DirectOrigin {
        &self.direct_origin
    }

    /// From now on: when nothing moves for `timeout`, reads fail with [`EndReason::ResponseTimeout`].
    pub(crate) fn arm_response_deadline(&self, timeout: Duration) {
        self.response_armed_at.store(self.since_opened(Instant::now()), Ordering::Relaxed);
        self.response_timeout.store(milliseconds(timeout), Ordering::Release);
    }

    /// The response head is there.
    pub(crate) fn disarm_response_deadline(&self) {
        self.response_timeout.store(0, Ordering::Release);
    }

    /// How long the connection of this request may be silent in both directions from now on.
    pub(crate) fn set_idle_timeout(&self, timeout: Duration) {
        self.idle_timeout.store(milliseconds(timeout), Ordering::Release);
    }

    /// From now on: where the app is silent in the middle of its answer for `timeout`, reads fail with [`EndReason::AppIdle`].
    pub(crate) fn set_answer_timeout(&self, timeout: Duration) {
        self.answer_timeout.store(milliseconds(timeout), Ordering::Release);
    }

    /// The app has taken something of the request at this instant.
    pub(crate) fn note_app_took(&self, at: Instant) {
        self.app_took_at.fetch_max(self.since_opened(at), Ordering::Relaxed);
    }

    /// When it was last seen to do so; before this exchange, if it was not.
    pub(crate) fn app_took_at(&self) -> Instant {
        self.opened + Duration::from_millis(self.app_took_at.load(Ordering::Relaxed))
    }

    /// From now on: a client that takes nothing of its answer for `timeout` loses the connection.
    pub(crate) fn set_write_timeout(&self, timeout: Duration) {
        self.write_timeout.store(milliseconds(timeout), Ordering::Release);
    }

    /// This request's body may be as slow as it likes (gRPC streams).
    pub(crate) fn exempt_from_body_rate(&self) {
        self.rate_exempt.store(true, Ordering::Release);
    }

    /// The exchange that is under way. To be asked for while it is: in one of Pingora's phases.
    pub(crate) fn exchange(self: &Arc<Self>) -> Exchange {
        let number = self.state.load(Ordering::Acquire) & !REASON;
        Exchange { connection: Arc::clone(self), number }
    }

    /// Fails the reads of this connection, also one that is waiting, and whatever it serves. The first reason stays.
    pub(crate) fn end(&self, reason: EndReason) {
        self.set_ended(reason);
        self.wake();
    }

    /// Why the reads of this connection fail, if they do.
    pub(crate) fn ended(&self) -> Option<EndReason> {
        reason_in(self.state.load(Ordering::Acquire))
    }

    /// Closes after the next answer, which says so.
    pub(crate) fn close_after_answer(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Takes no further request: an idle connection closes at once, a busy one after its answer.
    pub(crate) fn close_when_idle(&self) {
        self.closing.store(true, Ordering::Release);
        self.closing_idle.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether [`Self::close_after_answer`] or [`Self::close_when_idle`] was called.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Its requests are over, and no byte of another one is there: whoever needs its place may have it.
    pub(crate) fn begin_waiting(&self, now: Instant) {
        let since = milliseconds(now.saturating_duration_since(*EPOCH)).saturating_add(1);
        self.waiting_since.store(since, Ordering::Relaxed);
    }

    /// A request begins.
    pub(crate) fn end_waiting(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Since when it waits for a next request, on a scale that all connections share.
    pub(crate) fn waiting_since(&self) -> Option<u64> {
        Some(self.waiting_since.load(Ordering::Relaxed)).filter(|&since| since != 0)
    }

    /// Whether [`Self::close_when_idle`] was called.
    pub(crate) fn is_closing_idle(&self) -> bool {
        self.closing_idle.load(Ordering::Acquire)
    }

    /// As [`Self::end`], from the reader itself.
    pub(crate) fn set_ended(&self, reason: EndReason) {
        // An earlier reason stays: it is the one that the client is told.
        let _earlier = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state & REASON == 0).then_some(state | reason as u64)
        });
    }

    /// Forgets what the last request asked for, and makes this one an [`Exchange`] of its own.
    pub(crate) fn begin_exchange(&self) {
        self.state.fetch_add(EXCHANGE, Ordering::AcqRel);
        self.response_timeout.store(0, Ordering::Relaxed);
        self.idle_timeout.store(0, Ordering::Relaxed);
        self.answer_timeout.store(0, Ordering::Relaxed);
        self.app_took_at.store(0, Ordering::Relaxed);
        self.write_timeout.store(0, Ordering::Relaxed);
        self.rate_exempt.store(false, Ordering::Relaxed);
        self.continues.store(false, Ordering::Relaxed);
    }

    /// The request has failed and been answered whole; the connection may serve another one. Pingora itself gives up the
    /// connection after every failure to proxy.
    pub(crate) fn continue_after_failure(&self) {
        self.continues.store(true, Ordering::Relaxed);
    }

    /// Makes reads possible again after [`EndReason::ResponseTimeout`]: an app that does not answer in time ends its
    /// request only.
    pub(crate) fn recover(&self) {
        self.response_timeout.store(0, Ordering::Relaxed);
        let timed_out = EndReason::ResponseTimeout as u64;
        let _other_reason = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state & REASON == timed_out).then_some(state & !REASON)
        });
    }

    /// The exchange is over: from now on its [`Exchange`] ends nothing. Why it, or the connection, was ended before, if
    /// it was.
    pub(crate) fn finish_exchange(&self) -> Option<EndReason> {
        reason_in(self.state.fetch_add(EXCHANGE, Ordering::AcqRel))
    }

    /// Whether [`Self::continue_after_failure`] was called for this request.
    pub(crate) fn continues_after_failure(&self) -> bool {
        self.continues.load(Ordering::Relaxed)
    }

    /// When reads fail, if nothing moved since `last_moved` and nothing moves until then.
    pub(crate) fn response_deadline(&self, last_moved: Option<Instant>) -> Option<Instant> {
        let timeout = self.response_timeout.load(Ordering::Acquire);
        if timeout == 0 {
            return None;
        }
        let armed = self.opened + Duration::from_millis(self.response_armed_at.load(Ordering::Relaxed));
        let since = last_moved.map_or(armed, |moved| moved.max(armed)).max(self.app_took_at());
        Some(since + Duration::from_millis(timeout))
    }

    /// How long the app may take to its response head.
    pub(crate) fn response_timeout(&self) -> Option<Duration> {
        some(&self.response_timeout)
    }

    /// How long it may be silent in the middle of its answer.
    pub(crate) fn answer_timeout(&self) -> Option<Duration> {
        some(&self.answer_timeout)
    }

    /// The upgraded connection's time-out.
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        some(&self.idle_timeout)
    }

    /// How long a write may wait for the client; `None`: the default.
    pub(crate) fn write_timeout(&self) -> Option<Duration> {
        some(&self.write_timeout)
    }

    /// Whether the body's rate matters.
    pub(crate) fn is_exempt_from_body_rate(&self) -> bool {
        self.rate_exempt.load(Ordering::Acquire)
    }

    /// Registers the task that waits for this connection. Look at [`Self::ended`] and [`Self::is_closing`] after
    /// it, not before: what was set in between would be missed.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        match reader.as_ref() {
            Some(known) if known.will_wake(waker) => {}
            _ => *reader = Some(waker.clone()),
        }
    }

    /// What comes of something that comes before the first request; nothing where idle connections close first.
    pub(crate) async fn unless_closing<T>(&self, waiting: impl Future<Output = T>) -> Option<T> {
        let mut waiting = pin!(waiting);
        poll_fn(|context| {
            if let Poll::Ready(outcome) = waiting.as_mut().poll(context) {
                return Poll::Ready(Some(outcome));
            }
            self.register(context.waker());
            if self.is_closing_idle() || self.ended().is_some() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    fn wake(&self) {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = reader {
            waker.wake();
        }
    }

    fn since_opened(&self, now: Instant) -> u64 {
        milliseconds(now.saturating_duration_since(self.opened))
    }
}

fn reason_in(state: u64) -> Option<EndReason> {
    EndReason::ALL.into_iter().find(|&reason| reason as u64 == state & REASON)
}

/// A time-out in milliseconds, of which 0 is none.
fn some(timeout: &AtomicU64) -> Option<Duration> {
    match timeout.load(Ordering::Acquire) {
        0 => None,
        timeout => Some(Duration::from_millis(timeout)),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
