//! The deadlines of a client's exchange, over HTTP/1.x and HTTP/2: one type for both.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::connection::exchange_control::ExchangeControl;
use crate::connection::exchange_end::EndReason;

/// The time for which nothing may go to a client that has closed its writing side. After it, the client is taken to
/// have left. Only a write can show whether it has.
const HALF_CLOSED_PATIENCE: Duration = Duration::from_secs(5);

/// The progress of an exchange, as far as its deadlines need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    /// More of the request's body is still to come, and the client does not wait for `100 Continue`.
    pub(crate) awaits_body: bool,
    /// The client has closed its writing side after a complete request.
    pub(crate) is_half_closed: bool,
    /// The connection has become a WebSocket.
    pub(crate) is_upgraded: bool,
}

/// The deadlines of one exchange.
#[derive(Debug)]
pub(crate) struct Deadlines {
    rate: BodyRate,
    /// When a body byte last came. With an idle time-out: when any byte last came or went.
    last_moved: Option<Instant>,
    /// The instant since which the gateway has waited for the app's answer, without any progress of the answer or the
    /// body.
    quiet_since: Option<Instant>,
    /// If the client has closed its writing side: the instant since which nothing has gone to it.
    silent_since: Option<Instant>,
}

impl Deadlines {
    /// Begins an exchange whose body must come in at `min_rate` bytes per second.
    pub(crate) const fn new(min_rate: u64) -> Self {
        Self { rate: BodyRate::new(min_rate), last_moved: None, quiet_since: None, silent_since: None }
    }

    /// Notes that this many bytes of the body have come.
    pub(crate) fn body_came(&mut self, bytes: usize) {
        let now = Instant::now();
        self.last_moved = Some(now);
        self.quiet_since = None;
        self.rate.add(bytes as u64, now);
    }

    /// Notes that a part of the answer has gone out. With `puts_off_idle`, an idle time-out begins again.
    pub(crate) fn wrote(&mut self, puts_off_idle: bool) {
        self.quiet_since = None;
        self.silent_since = None;
        if puts_off_idle {
            self.last_moved = Some(Instant::now());
        }
    }

    /// Is ready with the reason once the exchange has been ended, or a deadline has passed, which ends it. `taken`
    /// returns when the client was last seen to take something of what was written.
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
            // The body's deadline only says that its window is over. The next turn of the loop sees whether enough has
            // come. The other deadlines may have moved, because the app or the client has taken something.
            let Some(next) = deadline.filter(|_| reason == EndReason::BodyTooSlow || passed != deadline)
            else {
                control.set_ended(reason);
                return Poll::Ready(reason);
            };
            ready!(timer.poll_deadline(context, next));
            passed = deadline;
        }
    }

    /// Returns the deadline that comes first, and its reason. No instant means now.
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

/// The rate is averaged over this much time of waiting.
const WINDOW: Duration = Duration::from_secs(10);

/// Compares the bytes of a body with the time spent waiting for them. If the app takes the body slowly, nobody asks the
/// client for more: that time does not count against the client.
#[derive(Debug)]
struct BodyRate {
    /// The number of bytes that must come in a window.
    needed: u64,
    bytes: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl BodyRate {
    /// Takes `min_rate` in bytes per second.
    const fn new(min_rate: u64) -> Self {
        Self {
            needed: min_rate.saturating_mul(WINDOW.as_secs()),
            bytes: 0,
            waited: Duration::ZERO,
            waiting_since: None,
        }
    }

    /// Notes that the waiting is over, and that `bytes` came.
    fn add(&mut self, bytes: u64, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Begins to wait at `now`, and returns when to look again. Returns `None` if the body was too slow.
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

/// Fires at the deadline that it is asked about. It touches the runtime's timer wheel (whose lock the workers share)
/// only if that deadline is earlier than all before it, or if the timer has fired. So a connection under load passes
/// thousands of deadlines with a handful of timer operations.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    fires_at: Option<Instant>,
}

impl Timer {
    /// Is ready once `deadline` has passed. Otherwise the task is woken by then.
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
                // The timer fired for an earlier deadline that no longer matters.
                Poll::Ready(()) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
