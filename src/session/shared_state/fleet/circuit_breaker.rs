//! Keeps logins from waiting for an engine that does not answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::commands::EngineError;

/// The time for which the engine is not asked.
const PAUSE: Duration = Duration::from_secs(1);

/// The number of failures after which the engine is not asked for a while. An answer that is not there in time counts
/// like all of them, because a login has waited for it.
const MOST_FAILURES: u32 = 3;

/// Says whether the engine may be asked.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// The time from which one attempt may be made. `None` while the engine answers.
    open_until: Option<Instant>,
}

impl CircuitBreaker {
    /// Tells whether the engine may be asked now. After a pause, it says so once, and the next pause begins.
    pub(super) fn may_ask(&self) -> bool {
        let (mut state, now) = (self.state(), Instant::now());
        let may_ask = state.open_until.is_none_or(|until| until <= now);
        if may_ask && state.open_until.is_some() {
            state.open_until = Some(now + PAUSE);
        }
        may_ask
    }

    /// Tells whether the engine has not answered lately.
    pub(super) fn is_open(&self) -> bool {
        self.state().open_until.is_some()
    }

    /// Records an answer.
    pub(super) fn answered(&self) {
        *self.state() = State::default();
    }

    /// Records a failure.
    pub(super) fn failed(&self, error: &EngineError) {
        let mut state = self.state();
        let weight = if let EngineError::NoAnswer(_) = error { MOST_FAILURES } else { 1 };
        state.failures = state.failures.saturating_add(weight);
        if state.failures >= MOST_FAILURES {
            state.open_until = Some(Instant::now() + PAUSE);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_opens_at_once_or_after_three_and_lets_one_attempt_through_each_second() {
        let breaker = CircuitBreaker::default();
        for _ in 0..2 {
            breaker.failed(&EngineError::Away);
        }
        assert!(breaker.may_ask() && breaker.may_ask());
        breaker.answered();
        for _ in 0..3 {
            assert!(breaker.may_ask());
            breaker.failed(&EngineError::Refused(String::from("OOM")));
        }
        assert!(!breaker.may_ask());
        advance(PAUSE).await;
        assert!(breaker.may_ask());
        assert!(!breaker.may_ask(), "one attempt");
        breaker.answered();
        assert!(breaker.may_ask() && !breaker.is_open());
        breaker.failed(&EngineError::NoAnswer(String::from("late")));
        assert!(!breaker.may_ask() && breaker.is_open());
    }
}
