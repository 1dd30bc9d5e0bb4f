//! The record of a load: one outcome for each request.

use std::collections::BTreeMap;
use std::time::Instant;

/// The end of one request.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// When its answer was complete.
    pub(crate) came: Instant,
    /// The status; `None` if the connection ended without an answer, or there was none.
    pub(crate) status: Option<u16>,
    /// The session is over for the browser: 401, or cookies that were cleared.
    pub(crate) lost: bool,
    pub(crate) session: usize,
}

/// All outcomes so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcomes(pub(crate) Vec<Outcome>);

impl Outcomes {
    /// The number of requests for each status; 0 stands for no answer.
    pub(crate) fn statuses(&self) -> BTreeMap<u16, usize> {
        let mut statuses = BTreeMap::new();
        for outcome in &self.0 {
            *statuses.entry(outcome.status.unwrap_or(0)).or_default() += 1;
        }
        statuses
    }

    /// The number of sessions that were lost.
    pub(crate) fn lost(&self) -> usize {
        let mut lost: Vec<_> = self.0.iter().filter(|outcome| outcome.lost).map(|one| one.session).collect();
        lost.sort_unstable();
        lost.dedup();
        lost.len()
    }

    /// The number of sessions whose latest request was not served.
    pub(crate) fn stuck(&self) -> usize {
        let latest: BTreeMap<_, _> = self.0.iter().map(|one| (one.session, one.status)).collect();
        latest.values().filter(|status| **status != Some(200)).count()
    }

    /// The last time at which something other than 200 came.
    pub(crate) fn last_trouble(&self) -> Option<Instant> {
        let troubles = self.0.iter().filter(|outcome| outcome.status != Some(200));
        troubles.map(|outcome| outcome.came).max()
    }

    /// Fails the test if a session was lost, or another status came.
    #[track_caller]
    pub(crate) fn assert_only(&self, statuses: &[u16]) {
        let seen = self.statuses();
        assert_eq!(self.lost(), 0, "sessions were lost: {seen:?}");
        assert!(seen.keys().all(|status| statuses.contains(status)), "{seen:?}");
        assert!(seen.contains_key(&200), "{seen:?}");
    }
}
