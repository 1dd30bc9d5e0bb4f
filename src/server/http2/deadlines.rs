//! When the reads of one HTTP/2 stream fail, and with what.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pingora_core::{Error, ErrorType, Result};
use tokio::time::Instant;

use super::super::body_rate::BodyRate;
use super::super::timer::Timer;
use super::super::watch::{ConnectionWatch, EndReason};

/// When a stream's reads fail.
pub(super) struct Deadlines {
    pub(super) watch: Arc<ConnectionWatch>,
    rate: BodyRate,
    timer: Timer,
    last_moved: Option<Instant>,
}

impl Deadlines {
    pub(super) fn new(watch: Arc<ConnectionWatch>, body_min_rate: u64) -> Self {
        Self { watch, rate: BodyRate::new(body_min_rate), timer: Timer::default(), last_moved: None }
    }

    /// So much of the body has come.
    pub(super) fn moved(&mut self, bytes: usize) {
        let now = Instant::now();
        self.last_moved = Some(now);
        self.rate.add(bytes as u64, now);
    }

    /// Ready with the failure when this has been waited for long enough.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, has_body: bool) -> Poll<Box<Error>> {
        self.watch.register(context.waker());
        if self.watch.ended().is_some() {
            return Poll::Ready(self.failure());
        }
        loop {
            let Some((deadline, reason)) = self.nearest(has_body) else { return Poll::Pending };
            if let Some(deadline) = deadline {
                ready!(self.timer.poll_deadline(context, deadline));
                // The body's deadline only says that its window is full; whether that was enough is seen next.
                if reason == EndReason::BodyTooSlow {
                    continue;
                }
            }
            self.watch.set_ended(reason);
            return Poll::Ready(self.failure());
        }
    }

    /// What ends the waiting next, and when; no instant means now.
    fn nearest(&mut self, has_body: bool) -> Option<(Option<Instant>, EndReason)> {
        let response = self.watch.response_deadline(self.last_moved);
        if has_body && !self.watch.is_exempt_from_body_rate() {
            let Some(body) = self.rate.deadline(Instant::now()) else {
                return Some((None, EndReason::BodyTooSlow));
            };
            if response.is_none_or(|response| body < response) {
                return Some((Some(body), EndReason::BodyTooSlow));
            }
        }
        response.map(|deadline| (Some(deadline), EndReason::ResponseTimeout))
    }

    /// What reads fail with.
    #[expect(clippy::unnecessary_box_returns, reason = "Pingora's results have it boxed")]
    pub(super) fn failure(&self) -> Box<Error> {
        let kind = match self.watch.ended() {
            Some(EndReason::ResponseTimeout | EndReason::BodyTooSlow) => ErrorType::ReadTimedout,
            _ => ErrorType::ConnectionClosed,
        };
        Error::explain(kind, "the stream is ended").into_down()
    }

    /// What is cut off gets nothing more; other ends still have an answer.
    pub(super) fn check_cut_off(&self) -> Result<()> {
        match self.watch.ended() {
            Some(reason) if reason.cuts_off() => Err(self.failure()),
            _ => Ok(()),
        }
    }
}
