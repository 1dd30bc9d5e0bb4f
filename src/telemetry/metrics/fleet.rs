//! The metrics of a replica. They are registered at their first use, so a process without `[shared_state]` has none.

use std::sync::LazyLock;

use prometheus::{IntCounter, IntCounterVec, Opts};

use crate::telemetry::metrics::METRICS;
use crate::telemetry::metrics::registration::registered;

/// The answer of the engine to a claim, or the reason why there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimOutcome {
    /// This replica may present the refresh token.
    Mine,
    /// The engine knows the result.
    Known,
    /// Another replica has the claim.
    Busy,
    /// The engine is new, and grants nothing yet.
    Settling,
    /// Too few nodes have a copy of the claim.
    TooFewNodes,
    /// There is no connection to the engine.
    Away,
    /// The engine did not answer in time.
    NoAnswer,
    /// The engine refused the command.
    Refused,
    /// The result in the engine was not sealed for this refresh token.
    Unreadable,
}

impl ClaimOutcome {
    /// The outcomes of a question to the engine.
    const OF_CLAIMS: [Self; 8] = [
        Self::Mine,
        Self::Known,
        Self::Busy,
        Self::Settling,
        Self::TooFewNodes,
        Self::Away,
        Self::NoAnswer,
        Self::Refused,
    ];

    /// The outcomes for which a refresh may be refused.
    const OF_REFUSALS: [Self; 7] = [
        Self::Busy,
        Self::Settling,
        Self::TooFewNodes,
        Self::Away,
        Self::NoAnswer,
        Self::Refused,
        Self::Unreadable,
    ];

    /// Returns the stable text of the label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Mine => "mine",
            Self::Known => "known",
            Self::Busy => "busy",
            Self::Settling => "settling",
            Self::TooFewNodes => "too_few_nodes",
            Self::Away => "away",
            Self::NoAnswer => "no_answer",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The place where a result was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResultFrom {
    /// The memory of this replica.
    Local,
    /// The engine.
    Engine,
}

impl ResultFrom {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Engine => "engine",
        }
    }
}

/// The metrics of a replica.
pub(crate) struct FleetMetrics {
    claims: IntCounterVec,
    refused: IntCounterVec,
    replayed: IntCounterVec,
    /// The records that a new engine was told again.
    pub(crate) reasserted: IntCounter,
    /// The refresh tokens whose presentation brought no answer.
    pub(crate) unknown_outcomes: IntCounter,
    /// The refresh tokens that were presented once more after that.
    pub(crate) second_presentations: IntCounter,
}

/// The metrics of this process as a replica.
pub(crate) static FLEET_METRICS: LazyLock<FleetMetrics> = LazyLock::new(FleetMetrics::new);

impl FleetMetrics {
    fn new() -> Self {
        let registry = &METRICS.registry;
        let vector = |name: &str, help: &str, label: &str, values: &[&str]| {
            let metric = registered(registry, IntCounterVec::new(Opts::new(name, help), &[label]));
            // A series that begins with its first event hides this event from `increase()`.
            for value in values {
                let _ = metric.with_label_values(&[value]);
            }
            metric
        };
        let counter = |name: &str, help: &str| registered(registry, IntCounter::new(name, help));
        Self {
            claims: vector(
                "portcullis_shared_state_claims_total",
                "Questions to the engine about a refresh, by their answer.",
                "outcome",
                &ClaimOutcome::OF_CLAIMS.map(ClaimOutcome::as_str),
            ),
            refused: vector(
                "portcullis_shared_state_refused_total",
                "Refreshes that were refused because of the shared state, by reason.",
                "reason",
                &ClaimOutcome::OF_REFUSALS.map(ClaimOutcome::as_str),
            ),
            replayed: vector(
                "portcullis_shared_state_replayed_total",
                "Refreshes that were answered with a known result, by where it was found.",
                "from",
                &[ResultFrom::Local, ResultFrom::Engine].map(ResultFrom::as_str),
            ),
            reasserted: counter(
                "portcullis_shared_state_reasserted_total",
                "Records that a new engine was told again.",
            ),
            unknown_outcomes: counter(
                "portcullis_shared_state_unknown_outcomes_total",
                "Refresh tokens that were presented, and whose fate is unknown.",
            ),
            second_presentations: counter(
                "portcullis_shared_state_second_presentations_total",
                "Refresh tokens that were presented again, because the first call had no answer.",
            ),
        }
    }

    /// Counts a question to the engine.
    pub(crate) fn claimed(&self, outcome: ClaimOutcome) {
        self.claims.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Counts a refresh that is refused.
    pub(crate) fn refused(&self, reason: ClaimOutcome) {
        self.refused.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts a refresh that is answered with a known result.
    pub(crate) fn replayed(&self, from: ResultFrom) {
        self.replayed.with_label_values(&[from.as_str()]).inc();
    }
}
