//! Says whether this replica may take requests. A replica joins the fleet first: it reaches the engine, lets it settle,
//! reads all revocations, and hears who else is there.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use crate::session::shared_state::fleet::members::HEARS_ALL;

/// The time for which a replica waits for an engine that is away. Then it serves without it: a request with a valid JWT
/// needs no engine.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reached {
    /// It has not answered.
    Never,
    /// It has refused this replica, for this reason.
    Refused(String),
    /// It answers. It grants nothing until the first time, and messages have come since the second one.
    Since { settled_at: Duration, heard_since: Duration },
}

/// The way of a replica into the fleet.
#[derive(Debug)]
pub(super) struct Readiness {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    started_at: Duration,
    reached: Reached,
    has_revocations: bool,
    /// Once a replica serves, it goes on, whatever becomes of the engine.
    is_ready: bool,
}

impl Readiness {
    /// Begins at the start of this process.
    pub(super) fn new(started_at: Duration) -> Self {
        let (reached, has_revocations, is_ready) = (Reached::Never, false, false);
        Self { state: Mutex::new(State { started_at, reached, has_revocations, is_ready }) }
    }

    /// Records what is known of the engine.
    pub(super) fn reached(&self, reached: Reached) {
        self.state().reached = reached;
    }

    /// Records that all revocations have been read.
    pub(super) fn has_revocations(&self) {
        self.state().has_revocations = true;
    }

    /// Records that a task has failed. This replica serves no more.
    pub(super) fn fail(&self) {
        let mut state = self.state();
        state.is_ready = false;
        state.reached = Reached::Refused(String::from("a task of this process has failed"));
    }

    /// Returns the reason why this replica may not serve yet. `conflict` is the reason why it cannot join the others.
    pub(super) fn check(&self, now: Duration, conflict: Option<String>) -> Result<(), String> {
        let mut state = self.state();
        if state.is_ready {
            return Ok(());
        }
        let reason = match &state.reached {
            Reached::Refused(reason) => {
                Some(format!("the shared state's engine refuses this replica: {reason}"))
            }
            Reached::Never if now < state.started_at + PATIENCE => {
                Some(String::from("the shared state's engine has not been reached yet"))
            }
            Reached::Never => {
                warn!(
                    "the shared state's engine is away: this replica serves without it, and revocations of others are not known"
                );
                None
            }
            Reached::Since { settled_at, .. } if now < *settled_at => Some(String::from(
                "the shared state's engine is new, and the replicas tell it what they know",
            )),
            Reached::Since { heard_since, .. } if now < *heard_since + HEARS_ALL => {
                Some(String::from("the other replicas are not known yet"))
            }
            Reached::Since { .. } if !state.has_revocations => {
                Some(String::from("the revocations have not been read yet"))
            }
            Reached::Since { .. } => conflict,
        };
        if let Some(reason) = reason {
            return Err(reason);
        }
        info!("joined the fleet");
        state.is_ready = true;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn milliseconds(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_replica_joins_step_by_step_and_then_stays() {
        let readiness = Readiness::new(milliseconds(0));
        let reason = |now, conflict: Option<&str>| {
            readiness.check(milliseconds(now), conflict.map(str::to_owned)).err().unwrap_or_default()
        };
        assert!(reason(100, None).contains("not been reached"));
        let (settled_at, heard_since) = (milliseconds(3000), milliseconds(2500));
        readiness.reached(Reached::Since { settled_at, heard_since });
        assert!(reason(2999, None).contains("is new"));
        assert!(reason(3000, None).contains("other replicas"));
        assert!(reason(3700, None).contains("revocations"));
        readiness.has_revocations();
        assert_eq!(reason(3700, Some("another key")), "another key");
        assert_eq!(reason(3700, None), "");
        readiness.reached(Reached::Never);
        assert_eq!(reason(4000, Some("another key")), "", "it stays");
    }

    #[test]
    fn an_engine_that_is_away_is_waited_for_and_one_that_refuses_is_never_joined() {
        let away = Readiness::new(milliseconds(0));
        assert!(away.check(milliseconds(4999), None).is_err());
        assert!(away.check(milliseconds(5000), None).is_ok());
        let refused = Readiness::new(milliseconds(0));
        refused.reached(Reached::Refused(String::from("WRONGPASS")));
        assert!(refused.check(milliseconds(60_000), None).unwrap_err().contains("WRONGPASS"));
    }
}
