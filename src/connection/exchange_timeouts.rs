//! How long who is waited for in an exchange: set by the gateway, read by whatever waits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The time-outs of the exchange that is under way on a connection.
#[derive(Debug)]
pub(crate) struct ExchangeTimeouts {
    /// Instants below are kept as milliseconds since this one.
    opened: Instant,
    /// Milliseconds; 0 is disarmed.
    response_timeout: AtomicU64,
    /// When it was armed.
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

    /// Forgets what the last exchange asked for.
    pub(super) fn reset(&self) {
        self.response_timeout.store(0, Ordering::Relaxed);
        self.idle_timeout.store(0, Ordering::Relaxed);
        self.answer_timeout.store(0, Ordering::Relaxed);
        self.app_took_at.store(0, Ordering::Relaxed);
        self.write_timeout.store(0, Ordering::Relaxed);
        self.rate_exempt.store(false, Ordering::Relaxed);
    }

    /// Lets reads fail where nothing moves for `timeout` from now on (`EndReason::ResponseTimeout`).
    pub(crate) fn arm_response(&self, timeout: Duration) {
        self.response_armed_at.store(self.since_opened(Instant::now()), Ordering::Relaxed);
        self.response_timeout.store(milliseconds(timeout), Ordering::Release);
    }

    /// Notes that the response head is there.
    pub(crate) fn disarm_response(&self) {
        self.response_timeout.store(0, Ordering::Release);
    }

    /// Sets how long the connection may be silent in both directions from now on.
    pub(crate) fn set_idle(&self, timeout: Duration) {
        self.idle_timeout.store(milliseconds(timeout), Ordering::Release);
    }

    /// Lets reads fail where the app is silent in the middle of its answer for `timeout` (`EndReason::AppIdle`).
    pub(crate) fn set_answer(&self, timeout: Duration) {
        self.answer_timeout.store(milliseconds(timeout), Ordering::Release);
    }

    /// Notes that the app has taken something of the request at this instant.
    pub(crate) fn note_app_took(&self, at: Instant) {
        self.app_took_at.fetch_max(self.since_opened(at), Ordering::Relaxed);
    }

    /// Returns when the app was last seen to take something; an instant before this exchange, if it was not.
    pub(crate) fn app_took_at(&self) -> Instant {
        self.opened + Duration::from_millis(self.app_took_at.load(Ordering::Relaxed))
    }

    /// Lets a client that takes nothing of its answer for `timeout` lose the connection.
    pub(crate) fn set_write(&self, timeout: Duration) {
        self.write_timeout.store(milliseconds(timeout), Ordering::Release);
    }

    /// Lets this request's body be as slow as it likes.
    pub(crate) fn exempt_from_body_rate(&self) {
        self.rate_exempt.store(true, Ordering::Release);
    }

    /// Returns when reads fail, if nothing moved since `last_moved` and nothing moves until then.
    pub(crate) fn response_deadline(&self, last_moved: Option<Instant>) -> Option<Instant> {
        let timeout = self.response_timeout.load(Ordering::Acquire);
        if timeout == 0 {
            return None;
        }
        let armed = self.opened + Duration::from_millis(self.response_armed_at.load(Ordering::Relaxed));
        let since = last_moved.map_or(armed, |moved| moved.max(armed)).max(self.app_took_at());
        Some(since + Duration::from_millis(timeout))
    }

    /// Returns how long the app may take to its response head.
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

    /// Returns how long a write may wait for the client; `None`: the default.
    pub(crate) fn write(&self) -> Option<Duration> {
        some(&self.write_timeout)
    }

    /// Returns true where the rate of the body does not matter.
    pub(crate) fn is_exempt_from_body_rate(&self) -> bool {
        self.rate_exempt.load(Ordering::Acquire)
    }

    fn since_opened(&self, now: Instant) -> u64 {
        milliseconds(now.saturating_duration_since(self.opened))
    }
}

/// Reads a time-out in milliseconds, of which 0 is none.
fn some(timeout: &AtomicU64) -> Option<Duration> {
    match timeout.load(Ordering::Acquire) {
        0 => None,
        timeout => Some(Duration::from_millis(timeout)),
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
