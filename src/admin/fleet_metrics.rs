//! The present values of a replica for `/metrics`.

use prometheus::Registry;

use crate::admin::gauges::{gauge, seconds};
use crate::admin::process::Process;
use crate::gateway::State;

/// Adds the values, if this process is a replica of a fleet.
pub(super) fn fill(registry: &Registry, state: &State, process: &Process) -> prometheus::Result<()> {
    let Some(fleet) = state.sessions.fleet() else { return Ok(()) };
    let facts = fleet.facts();
    for (name, help, value) in [
        (
            "portcullis_shared_state_outbox_entries",
            "Things that the engine has still to be told.",
            facts.outbox,
        ),
        (
            "portcullis_shared_state_results_bytes",
            "Memory for the results of refreshes.",
            facts.results_bytes,
        ),
        (
            "portcullis_shared_state_members",
            "Replicas that are heard now, with this one.",
            facts.members.len(),
        ),
        ("portcullis_shared_state_revocations", "Revocations that are known here.", facts.revocations),
    ] {
        gauge(registry, name, help, value)?;
    }
    seconds(
        registry,
        "portcullis_shared_state_revocations_staleness_seconds",
        "Time since this process last knew all revocations of the fleet.",
        facts.staleness.unwrap_or_else(|| process.uptime()),
    )
}
