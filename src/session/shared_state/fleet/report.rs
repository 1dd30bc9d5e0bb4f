//! Counts what becomes of claims, and writes the log lines about it. Requests cause these lines, so few are written in a
//! second.

use tracing::{error, warn};

use crate::engine::commands::{ClaimAnswer, EngineError, Verdict};
use crate::telemetry::metrics::fleet::{ClaimOutcome, FLEET_METRICS};
use crate::telemetry::rate_limited_log::Seldom;

static REFUSED: Seldom = Seldom::new(1);
static UNREADABLE: Seldom = Seldom::new(1);
static REFUSED_ERRANDS: Seldom = Seldom::new(1);
static DROPPED_ERRANDS: Seldom = Seldom::new(1);
static UNREADABLE_REVOCATIONS: Seldom = Seldom::new(1);

/// Counts an answer to a claim.
pub(super) fn claimed(answer: &Result<ClaimAnswer, EngineError>) -> ClaimOutcome {
    let outcome = match answer {
        Ok(answer) => match answer.verdict {
            Verdict::Mine => ClaimOutcome::Mine,
            Verdict::Known(_) => ClaimOutcome::Known,
            Verdict::Busy { .. } => ClaimOutcome::Busy,
            Verdict::Settling(_) => ClaimOutcome::Settling,
            Verdict::TooFewNodes => ClaimOutcome::TooFewNodes,
        },
        Err(EngineError::Away) => ClaimOutcome::Away,
        Err(EngineError::NoAnswer(_)) => ClaimOutcome::NoAnswer,
        Err(EngineError::Refused(_)) => ClaimOutcome::Refused,
    };
    FLEET_METRICS.claimed(outcome);
    outcome
}

/// Counts a refresh that is refused because of the shared state.
pub(super) fn refused(reason: ClaimOutcome) {
    FLEET_METRICS.refused(reason);
    if let Some(unlogged) = REFUSED.turn() {
        let reason = reason.as_str();
        warn!(reason, unlogged, "refresh refused: the shared state grants no claim, and cookies are kept");
    }
}

/// Counts a result that does not open.
pub(super) fn unreadable() {
    FLEET_METRICS.refused(ClaimOutcome::Unreadable);
    if let Some(unlogged) = UNREADABLE.turn() {
        error!(
            unlogged,
            "a result in the engine does not open: it was not sealed for this refresh token, or not with this key"
        );
    }
}

/// Logs that the engine refuses what it is told.
pub(super) fn refused_errand(reason: &str) {
    if let Some(unlogged) = REFUSED_ERRANDS.turn() {
        warn!(reason, unlogged, "the engine refuses what this replica tells it: it is told again later");
    }
}

/// Logs that the outbox had no room, if that is so.
pub(super) fn dropped_errands(errands: u64) {
    if errands > 0
        && let Some(unlogged) = DROPPED_ERRANDS.turn()
    {
        warn!(errands, unlogged, "the outbox is full: the engine and other replicas are not told everything");
    }
}

/// Logs that revocations in the engine do not open, if there are any.
pub(super) fn unreadable_revocations(entries: usize) {
    if entries > 0
        && let Some(unlogged) = UNREADABLE_REVOCATIONS.turn()
    {
        error!(
            entries,
            unlogged,
            "revocations in the engine do not open: they were sealed with a key that is not known here"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::commands::{Generation, Known, RecordState};

    #[test]
    fn each_answer_has_its_outcome() {
        let known = Known { state: RecordState::Dead, key: 0, value: Vec::new() };
        let verdicts = [
            (Verdict::Mine, "mine"),
            (Verdict::Known(known), "known"),
            (Verdict::Busy { owner: String::from("0011") }, "busy"),
            (Verdict::Settling(Duration::from_secs(1)), "settling"),
            (Verdict::TooFewNodes, "too_few_nodes"),
        ];
        for (verdict, expected) in verdicts {
            let generation = Generation(String::from("1"));
            assert_eq!(claimed(&Ok(ClaimAnswer { generation, verdict })).as_str(), expected);
        }
        let errors = [
            (EngineError::Away, "away"),
            (EngineError::NoAnswer(String::new()), "no_answer"),
            (EngineError::Refused(String::new()), "refused"),
        ];
        for (error, expected) in errors {
            assert_eq!(claimed(&Err(error)).as_str(), expected);
        }
    }
}
