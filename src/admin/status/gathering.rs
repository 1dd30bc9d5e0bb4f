//! The status as it is now, with what somebody should look at.

use crate::admin::process::Process;
use crate::admin::status::facts::Status;
use crate::admin::status::findings;
use crate::gateway::State;

impl Status {
    /// Gathers everything as it is now.
    pub(crate) fn gather(state: &State, process: &Process) -> Self {
        let mut status = process.with_recent(|recent| Self::new(state, process, recent));
        status.findings = findings::find(&status);
        status
    }
}
