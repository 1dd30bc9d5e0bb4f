//! Gathers the present status and its findings.

use crate::admin::process::Process;
use crate::admin::status::facts::Status;
use crate::admin::status::findings;
use crate::gateway::State;

impl Status {
    /// Gathers all facts and findings of this moment.
    pub(crate) fn gather(state: &State, process: &Process) -> Self {
        let mut status = process.with_recent(|recent| Self::new(state, process, recent));
        status.findings = findings::find(&status);
        status
    }
}
