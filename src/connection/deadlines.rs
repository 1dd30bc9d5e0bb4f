//! The deadlines of a client's exchange, over HTTP/1.x and HTTP/2: one type for both.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::connection::exchange_control::ExchangeControl;
use crate::connection::exchange_end::EndReason;

/// The time for which nothing may go to a client that has closed its writing side, before it is taken to have left.
/// Only a write can tell whether it has.
const HALF_CLOSED_PATIENCE: Duration = Duration::from_secs(5);

/// The progress of an exchange, as far as its deadlines need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    /// More of the request's body is to come, and the client does not hold it back.
    pub(crate) awaits_body: bool,
    /// The client has closed its writing side behind a complete request.
    pub(crate) is_half_closed: bool,
    /// The connection is a WebSocket by now.
    pub(crate) is_upgraded: bool,
}

/// The deadlines of one exchange.
#[derive(Debug)]
pub(crate) struct Deadlines {
    rate: BodyRate,
    /// When a body byte or, where an idle time-out is set, any byte last came or went.
    last_moved: Option<Instant>,
    /// Since when the app's answer has been waited for: nothing has come of it, nor of the body.
    quiet_since: Option<Instant>,
    /// The client has closed its writing side: since when nothing has gone to it.
    silent_since: Option<Instant>,
}

impl Deadlines {
    /// Begins an exchange whose body must come in at `min_rate` bytes per second.
    pub(crate) const fn new(min_rate: u64) -> Self {
        Self { rate: BodyRate::new(min_rate), last_moved: None, quiet_since: None, silent_since: None }
    }

    /// Notes that so much of the body has come.
    pub(crate) fn body_came(&mut self, bytes: usize) {
        let now = Instant::now();
        self.last_moved = Some(now);
        self.quiet_since = None;
        self.rate.add(bytes as u64, now);
    }

    /// Notes that something of the answer has gone out. `puts_off_idle`: an idle time-out begins anew.
    pub(crate) fn wrote(&mut self, puts_off_idle: bool) {
        self.quiet_since = None;
        self.silent_since = None;
        if puts_off_idle {
            self.last_moved = Some(Instant::now());
        }
    }

    /// Ready with the reason once the exchange is ended, or has been waited for long enough, which ends it. `taken`:
    /// when the client was last seen to take something of what was written.
    pub(crate) fn poll(
        &mut self,
        control: &ExchangeControl,
        stage: Stage,
        timer: &mut Timer,
        context: &mut Context<'_>,
        mut taken: impl FnMut(&mut Context<'_>, Duration) -> Option<Instant>,
    ) -> Poll<EndReason> {
        control.register(context.waker());
        if let Some(reason) = control.ended() {
            return Poll::Ready(reason);
        }
        let mut passed = None;
        loop {
            let nearest = self.nearest(control, stage, |timeout| taken(context, timeout));
            let Some((deadline, reason)) = nearest else { return Poll::Pending };
            // The body's deadline only says that its window is full; the next look sees whether that was enough. The
            // others may have been put off meanwhile by what the app or the client took.
            let Some(next) = deadline.filter(|_| reason == EndReason::BodyTooSlow || passed != deadline)
            else {
                control.set_ended(reason);
                return Poll::Ready(reason);
            };
            ready!(timer.poll_deadline(context, next));
            passed = deadline;
        }
    }

    /// Returns what ends the waiting next, and when; no instant means now.
    fn nearest(
        &mut self,
        control: &ExchangeControl,
        stage: Stage,
        taken: impl FnOnce(Duration) -> Option<Instant>,
    ) -> Option<(Option<Instant>, EndReason)> {
        let idle = control.timeouts.idle().map(|timeout| {
            let since = *self.last_moved.get_or_insert_with(Instant::now);
            let taken = taken(timeout).unwrap_or(since).max(control.timeouts.app_took_at());
            (since.max(taken) + timeout, EndReason::Idle)
        });
        if stage.is_upgraded {
            return idle.map(|(deadline, reason)| (Some(deadline), reason));
        }
        let app_idle = control.timeouts.answer().filter(|_| idle.is_none()).map(|timeout| {
            let since = *self.quiet_since.get_or_insert_with(Instant::now);
            (since.max(control.timeouts.app_took_at()) + timeout, EndReason::AppIdle)
        });
        let left = stage.is_half_closed.then(|| {
            let since = *self.silent_since.get_or_insert_with(Instant::now);
            (since + HALF_CLOSED_PATIENCE, EndReason::ClientLeft)
        });
        let body = if stage.awaits_body && idle.is_none() && !control.timeouts.is_exempt_from_body_rate() {
            let Some(body) = self.rate.deadline(Instant::now()) else {
                return Some((None, EndReason::BodyTooSlow));
            };
            Some((body, EndReason::BodyTooSlow))
        } else {
            None
        };
        let response = control.timeouts.response_deadline(self.last_moved).filter(|_| idle.is_none());
        let response = response.map(|deadline| (deadline, EndReason::ResponseTimeout));
        let all = [left, body, idle, app_idle, response].into_iter().flatten();
        all.min_by_key(|(deadline, _)| *deadline).map(|(deadline, reason)| (Some(deadline), reason))
    }
}

/// The rate is averaged over this much waiting.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts a body's bytes against the time spent waiting for them. Time in which nobody asked for the body, because
/// the app takes it slowly, does not count against the client.
#[derive(Debug)]
struct BodyRate {
    /// Bytes that a window needs.
    needed: u64,
    bytes: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl BodyRate {
    /// `min_rate` is in bytes per second.
    const fn new(min_rate: u64) -> Self {
        Self {
            needed: min_rate.saturating_mul(WINDOW.as_secs()),
            bytes: 0,
            waited: Duration::ZERO,
            waiting_since: None,
        }
    }

    /// The waiting is over, `bytes` came.
    fn add(&mut self, bytes: u64, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Waits from `now` on: when to look again, or nothing when the body was too slow.
    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        if let Some(since) = self.waiting_since.replace(now) {
            self.waited += now.saturating_duration_since(since);
        }
        if self.waited >= WINDOW {
            if self.bytes < self.needed {
                return None;
            }
            self.waited = Duration::ZERO;
            self.bytes = 0;
        }
        Some(now + WINDOW.saturating_sub(self.waited))
    }
}

/// Fires for the deadline that is asked about, but touches the runtime's timer wheel (whose lock the workers share)
/// only when that deadline is nearer than all before it, or when it has fired. A connection under load so goes
/// through thousands of deadlines with a handful of timer operations.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    fires_at: Option<Instant>,
}

impl Timer {
    /// Ready once `deadline` has passed; otherwise the task is woken by then.
    pub(crate) fn poll_deadline(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        loop {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            match self.fires_at {
                Some(fires_at) if fires_at <= deadline => {}
                _ => {
                    sleep.as_mut().reset(deadline);
                    self.fires_at = Some(deadline);
                }
            }
            match sleep.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if self.fires_at.take() == Some(deadline) => return Poll::Ready(()),
                // It fired for an earlier deadline that is no longer of interest.
                Poll::Ready(()) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
