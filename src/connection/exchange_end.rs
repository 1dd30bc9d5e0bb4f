//! The reasons why an exchange ends, and the time-outs that lead to some of them.
//!
//! The gateway sets the time-outs. The code that waits reads them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The reason why a connection's reads fail from now on. Writes still work, so that an answer can be sent. The reasons
/// [`Self::SessionEnded`] and [`Self::Shutdown`] cut the exchange off: it is over within a second, and an upgraded
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
    /// The whole answer has gone out before the whole request had come in. Nobody wants the rest of the request.
    Answered,
    /// The client has closed its writing side, and nothing has gone to it for a while.
    ClientLeft,
    /// Nothing went over an upgraded connection, either way, for the app's `idle` time-out.
    Idle,
    /// The app sent no more of its answer, and took nothing of the request, for its `idle` time-out. The answer is cut.
    AppIdle,
    /// The session behind an open stream is no longer good: see
    /// [`crate::connection::exchange_control::ExchangeHandle`].
    SessionEnded,
    /// The server's grace period is over.
    Shutdown,
}

impl EndReason {
    /// All reasons.
    pub(crate) const ALL: [Self; 9] = [
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

    /// Returns true if somebody else ends the exchange. Then nobody waits for its own end.
    pub(crate) const fn cuts_off(self) -> bool {
        matches!(self, Self::SessionEnded | Self::Shutdown)
    }

    /// Returns the error with which reads fail.
    pub(crate) fn error(self) -> io::Error {
        let (kind, text) = match self {
            Self::ResponseTimeout => (io::ErrorKind::TimedOut, "no response in time"),
            Self::BodyTooSlow => (io::ErrorKind::TimedOut, "the request body is too slow"),
            Self::MalformedBody => (io::ErrorKind::InvalidData, "malformed chunked coding"),
            Self::ClientLeft => (io::ErrorKind::ConnectionAborted, "the client has left"),
            Self::Answered => (io::ErrorKind::ConnectionAborted, "the request was answered before its end"),
            Self::Idle => (io::ErrorKind::TimedOut, "the upgraded connection was idle"),
            Self::AppIdle => (io::ErrorKind::TimedOut, "the app is silent"),
            Self::SessionEnded => (io::ErrorKind::ConnectionAborted, "the session has ended"),
            Self::Shutdown => (io::ErrorKind::ConnectionAborted, "the server shuts down"),
        };
        io::Error::new(kind, text)
    }
}

/// The time-outs of the exchange that is under way on a connection.
#[derive(Debug)]
pub(crate) struct ExchangeTimeouts {
    /// The instants below are milliseconds since this one.
    opened: Instant,
    /// In milliseconds. 0 means that it is not armed.
    response_timeout: AtomicU64,
    /// When the response time-out was armed.
    response_armed_at: AtomicU64,
    /// In milliseconds. 0 means none.
    idle_timeout: AtomicU64,
    /// In milliseconds. 0 means none.
    answer_timeout: AtomicU64,
    /// When the app was last seen to take something of the request. 0 means never.
    app_took_at: AtomicU64,
    /// In milliseconds. 0 means the default.
    write_timeout: AtomicU64,
    rate_exempt: AtomicBool,
}

impl ExchangeTimeouts {
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            response_timeout: AtomicU64::new(0),
            response_armed_at: AtomicU64::new(0),
            idle_timeout: AtomicU64::new(0),
            answer_timeout: AtomicU64::new(0),
            app_took_at: AtomicU64::new(0),
            write_timeout: AtomicU64::new(0),
            rate_exempt: AtomicBool::new(false),
        }
    }

    /// Forgets the time-outs of the last exchange.
    pub(super) fn reset(&self) {
        self.response_timeout.store(0, Ordering::Relaxed);
        self.idle_timeout.store(0, Ordering::Relaxed);
        self.answer_timeout.store(0, Ordering::Relaxed);
        self.app_took_at.store(0, Ordering::Relaxed);
        self.write_timeout.store(0, Ordering::Relaxed);
        self.rate_exempt.store(false, Ordering::Relaxed);
    }

    /// Lets reads fail if nothing moves for `timeout` from now on ([`EndReason::ResponseTimeout`]).
    pub(crate) fn arm_response(&self, timeout: Duration) {
        self.response_armed_at.store(self.since_opened(Instant::now()), Ordering::Relaxed);
        self.response_timeout.store(milliseconds(timeout), Ordering::Release);
    }

    /// Notes that the response head has come.
    pub(crate) fn disarm_response(&self) {
        self.response_timeout.store(0, Ordering::Release);
    }

    /// Sets how long the connection may be silent in both directions from now on.
    pub(crate) fn set_idle(&self, timeout: Duration) {
        self.idle_timeout.store(milliseconds(timeout), Ordering::Release);
    }

    /// Lets reads fail if the app is silent in the middle of its answer for `timeout` ([`EndReason::AppIdle`]).
    pub(crate) fn set_answer(&self, timeout: Duration) {
        self.answer_timeout.store(milliseconds(timeout), Ordering::Release);
    }

    /// Notes that the app has taken something of the request at this instant.
    pub(crate) fn note_app_took(&self, at: Instant) {
        self.app_took_at.fetch_max(self.since_opened(at), Ordering::Relaxed);
    }

    /// Returns the instant when the app was last seen to take something. If it has taken nothing, returns an instant
    /// before this exchange.
    pub(crate) fn app_took_at(&self) -> Instant {
        self.opened + Duration::from_millis(self.app_took_at.load(Ordering::Relaxed))
    }

    /// Closes the connection if its client takes nothing of its answer for `timeout`.
    pub(crate) fn set_write(&self, timeout: Duration) {
        self.write_timeout.store(milliseconds(timeout), Ordering::Release);
    }

    /// Lets this request's body come at any rate.
    pub(crate) fn exempt_from_body_rate(&self) {
        self.rate_exempt.store(true, Ordering::Release);
    }

    /// Returns when reads fail if nothing has moved since `last_moved` and nothing moves until then.
    pub(crate) fn response_deadline(&self, last_moved: Option<Instant>) -> Option<Instant> {
        let timeout = self.response_timeout.load(Ordering::Acquire);
        if timeout == 0 {
            return None;
        }
        let armed = self.opened + Duration::from_millis(self.response_armed_at.load(Ordering::Relaxed));
        let since = last_moved.map_or(armed, |moved| moved.max(armed)).max(self.app_took_at());
        Some(since + Duration::from_millis(timeout))
    }

    /// Returns how long the app may take to send its response head.
    pub(crate) fn response(&self) -> Option<Duration> {
        some(&self.response_timeout)
    }

    /// Returns how long the app may be silent in the middle of its answer.
    pub(crate) fn answer(&self) -> Option<Duration> {
        some(&self.answer_timeout)
    }

    /// Returns how long the upgraded connection may be silent.
    pub(crate) fn idle(&self) -> Option<Duration> {
        some(&self.idle_timeout)
    }

    /// Returns how long a write may wait for the client. `None` means the default.
    pub(crate) fn write(&self) -> Option<Duration> {
        some(&self.write_timeout)
    }

    /// Returns true if the rate of the body does not matter.
    pub(crate) fn is_exempt_from_body_rate(&self) -> bool {
        self.rate_exempt.load(Ordering::Acquire)
    }

    fn since_opened(&self, now: Instant) -> u64 {
        milliseconds(now.saturating_duration_since(self.opened))
    }
}

/// Reads a time-out in milliseconds. 0 means no time-out.
fn some(timeout: &AtomicU64) -> Option<Duration> {
    match timeout.load(Ordering::Acquire) {
        0 => None,
        timeout => Some(Duration::from_millis(timeout)),
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
