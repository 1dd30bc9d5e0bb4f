//! Counts by outcome or reason.

use serde::Serialize;

use crate::telemetry::history::{Counted, LATELY, Recent};

/// Something that was counted.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Count {
    /// The kind of event. `None` means a request that did not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) what: Option<&'static str>,
    /// An outcome or a reason code.
    pub(super) name: String,
    /// The number in the last quarter of an hour.
    pub(super) lately: f64,
    pub(super) since_start: f64,
}

/// Returns what happened to sessions.
pub(super) fn sessions(recent: Recent<'_>) -> Vec<Count> {
    let kinds = [
        ("login", Counted::Logins),
        ("refresh", Counted::Refreshes),
        ("session ended", Counted::SessionsEnded),
        ("revocation", Counted::Revocations),
    ];
    kinds.into_iter().flat_map(|(what, counted)| counts(recent, Some(what), counted)).collect()
}

/// Returns one count for each name, the most frequent of the last quarter of an hour first.
pub(super) fn counts(recent: Recent<'_>, what: Option<&'static str>, counted: Counted) -> Vec<Count> {
    let count = |name: &str| Count {
        what,
        name: name.to_owned(),
        lately: recent.increase(counted, Some(name), LATELY),
        since_start: recent.total(counted, Some(name)),
    };
    let mut counts: Vec<_> = recent.names(counted).map(count).collect();
    let by = |count: &Count| (count.lately, count.since_start);
    counts.sort_by(|one, other| by(other).partial_cmp(&by(one)).unwrap_or(std::cmp::Ordering::Equal));
    counts
}
