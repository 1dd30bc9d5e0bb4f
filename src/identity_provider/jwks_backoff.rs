//! The back-off of JWKS fetches: the limit for fetches because of unknown keys, and the growing pauses after failures.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between two fetches that the provider's own token answers cause.
const TOKEN_ANSWER_COOLDOWN: Duration = Duration::from_secs(1);

/// The pause after the first failure in the background. It doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause between two attempts in the background while something is missing.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The reason to ask for a key that the key set lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownKeySource {
    /// A token from a browser. Anyone can send one, so `jwks_cooldown` limits these fetches.
    Request,
    /// A token that the provider itself has just sent. These fetches have their own limit: one a second.
    TokenAnswer,
}

/// The times at which the last fetches for unknown keys began.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LastFetches {
    for_request: Option<Instant>,
    for_token_answer: Option<Instant>,
}

impl LastFetches {
    /// Tells whether a fetch may begin now. If so, remembers that it begins. `cooldown` is the one of requests
    /// (`jwks_cooldown`).
    pub(super) fn permit(&mut self, source: UnknownKeySource, cooldown: Duration) -> bool {
        let (last, cooldown) = match source {
            UnknownKeySource::Request => (&mut self.for_request, cooldown),
            UnknownKeySource::TokenAnswer => (&mut self.for_token_answer, TOKEN_ANSWER_COOLDOWN),
        };
        if last.is_some_and(|last| last.elapsed() < cooldown) {
            return false;
        }
        *last = Some(Instant::now());
        true
    }
}

/// The growing pauses between attempts that fail.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    /// Returns the pause after one more failure.
    pub(super) fn after_failure(&mut self) -> Duration {
        let pause = self.0;
        self.0 = pause.saturating_mul(2).min(LONGEST_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_quarter_of_a_minute() {
        let mut pauses = Pauses::default();
        let seconds: Vec<f64> = (0..7).map(|_| pauses.after_failure().as_secs_f64()).collect();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]);
    }

    #[test]
    fn each_source_has_a_cooldown_of_its_own() {
        let mut last = LastFetches::default();
        let mut permit = |source| last.permit(source, Duration::from_secs(3600));
        assert!(permit(UnknownKeySource::Request) && !permit(UnknownKeySource::Request));
        assert!(permit(UnknownKeySource::TokenAnswer));
    }
}
