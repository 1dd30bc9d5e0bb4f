//! Limits log lines that strangers can cause as often as they like. A few are written each second, and the rest are
//! counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time for which the lines of one kind are counted together.
const WINDOW: Duration = Duration::from_secs(1);

/// One kind of line.
#[derive(Debug)]
pub(crate) struct Seldom {
    most: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    began: Option<Instant>,
    written: u32,
    unlogged: u64,
}

impl Seldom {
    /// Makes a limit of `most` lines in a second.
    pub(crate) const fn new(most: u32) -> Self {
        Self { most, state: Mutex::new(State { began: None, written: 0, unlogged: 0 }) }
    }

    /// Returns `Some` if a line may be written. The inner value is the number of lines that were not written since the
    /// last one, or `None` if there were none.
    #[expect(
        clippy::option_option,
        reason = "the outer one is `may be written`, the inner one a field that is left out"
    )]
    pub(crate) fn turn(&self) -> Option<Option<u64>> {
        self.turn_at(Instant::now())
    }

    #[expect(clippy::option_option, reason = "as above")]
    fn turn_at(&self, now: Instant) -> Option<Option<u64>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.began.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW) {
            (state.began, state.written) = (Some(now), 0);
        }
        if state.written >= self.most {
            state.unlogged += 1;
            return None;
        }
        state.written += 1;
        Some(Some(std::mem::take(&mut state.unlogged)).filter(|&unlogged| unlogged > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_a_second_and_how_many_more() {
        let (seldom, start) = (Seldom::new(2), Instant::now());
        let turns = |millis: u64| seldom.turn_at(start + Duration::from_millis(millis));
        let seen = [0, 1, 2, 999, 1000, 1001, 1002, 5000, 5001, 9000].map(turns);
        let may = |unlogged: u64| Some((unlogged > 0).then_some(unlogged));
        assert_eq!(seen, [may(0), may(0), None, None, may(2), may(0), None, may(1), may(0), may(0)]);
    }
}
