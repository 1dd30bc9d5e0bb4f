//! When the reads of one HTTP/2 stream fail, and with what.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pingora_core::{Error, ErrorType, Result};
use tokio::time::Instant;

use super::super::body_rate::BodyRate;
use super::super::timer::Timer;
use crate::connection::exchange_control::{ConnectionWatch, EndReason};

/// When a stream's reads fail.
pub(crate) struct Deadlines {
    pub(crate) watch: Arc<ConnectionWatch>,
    rate: BodyRate,
    timer: Timer,
    last_moved: Option<Instant>,
    /// Since when the app's answer has been waited for: nothing has come of it, nor of the body.
    quiet_since: Option<Instant>,
}

impl Deadlines {
    pub(crate) fn new(watch: Arc<ConnectionWatch>, body_min_rate: u64) -> Self {
        let rate = BodyRate::new(body_min_rate);
        Self { watch, rate, timer: Timer::default(), last_moved: None, quiet_since: None }
    }

    /// So much of the body has come.
    pub(crate) fn moved(&mut self, bytes: usize) {
        let now = Instant::now();
        self.last_moved = Some(now);
        self.quiet_since = None;
        self.rate.add(bytes as u64, now);
    }

    /// Something of the answer has gone out.
    pub(crate) fn wrote(&mut self) {
        self.quiet_since = None;
    }

    /// Ready with the failure when this has been waited for long enough.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, has_body: bool) -> Poll<Box<Error>> {
        self.watch.register(context.waker());
        if self.watch.ended().is_some() {
            return Poll::Ready(self.failure());
        }
        let mut passed = None;
        loop {
            let Some((deadline, reason)) = self.nearest(has_body) else { return Poll::Pending };
            // The body's deadline only says that its window is full; whether that was enough is seen next. The others may have been
            // put off meanwhile by what the app took.
            if let Some(next) = deadline.filter(|_| reason == EndReason::BodyTooSlow || passed != deadline) {
                ready!(self.timer.poll_deadline(context, next));
                passed = deadline;
                continue;
            }
            self.watch.set_ended(reason);
            return Poll::Ready(self.failure());
        }
    }

    /// What ends the waiting next, and when; no instant means now.
    fn nearest(&mut self, has_body: bool) -> Option<(Option<Instant>, EndReason)> {
        let response = self.watch.response_deadline(self.last_moved);
        let waited_for = match response {
            Some(deadline) => Some((deadline, EndReason::ResponseTimeout)),
            // The one ends where the other begins.
            None => self.watch.answer_timeout().map(|timeout| {
                let since = *self.quiet_since.get_or_insert_with(Instant::now);
                (since.max(self.watch.app_took_at()) + timeout, EndReason::AppIdle)
            }),
        };
        if has_body && !self.watch.is_exempt_from_body_rate() {
            let Some(body) = self.rate.deadline(Instant::now()) else {
                return Some((None, EndReason::BodyTooSlow));
            };
            if waited_for.is_none_or(|(deadline, _)| body < deadline) {
                return Some((Some(body), EndReason::BodyTooSlow));
            }
        }
        waited_for.map(|(deadline, reason)| (Some(deadline), reason))
    }

    /// What reads fail with.
    #[expect(clippy::unnecessary_box_returns, reason = "Pingora's results have it boxed")]
    pub(crate) fn failure(&self) -> Box<Error> {
        let kind = match self.watch.ended() {
            Some(EndReason::ResponseTimeout | EndReason::BodyTooSlow | EndReason::AppIdle) => {
                ErrorType::ReadTimedout
            }
            _ => ErrorType::ConnectionClosed,
        };
        Error::explain(kind, "the stream is ended").into_down()
    }

    /// What is cut off gets nothing more; other ends still have an answer.
    pub(crate) fn check_cut_off(&self) -> Result<()> {
        match self.watch.ended() {
            Some(reason) if reason.cuts_off() => Err(self.failure()),
            _ => Ok(()),
        }
    }
}
