//! Gathers the facts about the fleet that the status page shows.

use serde::Serialize;

use crate::session::{Fleet, FleetFacts, Member};
use crate::telemetry::history::{Counted, LATELY, Recent};

/// The number of characters of a generation that are shown. They are enough to compare two replicas.
const SHORT: usize = 8;

/// The facts about the fleet, as this replica knows it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SharedStateStatus {
    /// The id of this replica.
    pub(super) replica: String,
    pub(super) engine: EngineStatus,
    /// The replicas that are heard now. This one is among them.
    pub(super) members: Vec<MemberStatus>,
    /// The reason why this replica does not fit the others.
    pub(super) conflict: Option<String>,
    /// The number of things that the engine has still to be told.
    pub(super) outbox: usize,
    /// The time for which the first of them has waited.
    pub(super) outbox_waits_seconds: u64,
    /// The memory of the results of refreshes.
    pub(super) results_bytes: usize,
    /// The time since this replica last knew all revocations of the fleet. `None` if it never did.
    pub(super) revocations_staleness_seconds: Option<u64>,
    /// The number of revocations in the engine that were sealed with a key that is not known here.
    pub(super) unreadable_revocations: u64,
    /// The refresh tokens of the last quarter of an hour whose fate is unknown.
    pub(super) unknown_outcomes: f64,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct EngineStatus {
    pub(super) is_up: bool,
    pub(super) address: String,
    /// `redis` or `valkey`. Empty if the engine was never reached.
    pub(super) kind: String,
    pub(super) version: String,
    /// The first characters of its generation.
    pub(super) generation: Option<String>,
    pub(super) used_memory: u64,
    /// The limit of its memory. 0 if it has none.
    pub(super) max_memory: u64,
    /// The number of other nodes that copy the primary.
    pub(super) copies: u32,
    /// Tells what an operator must change.
    pub(super) complaint: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct MemberStatus {
    pub(super) host: String,
    pub(super) replica: String,
    pub(super) version: String,
    /// The time since its last message.
    pub(super) silent_seconds: f64,
    /// It is this process.
    pub(super) is_this: bool,
}

impl SharedStateStatus {
    pub(super) fn new(fleet: &Fleet, recent: Recent<'_>) -> Self {
        let facts = fleet.facts();
        let engine = EngineStatus::new(&facts);
        let FleetFacts {
            replica,
            outbox,
            outbox_waits,
            results_bytes,
            members,
            conflict,
            staleness,
            unreadable_revocations,
            ..
        } = facts;
        Self {
            engine,
            members: members.into_iter().map(|member| MemberStatus::new(member, &replica)).collect(),
            replica,
            conflict,
            outbox,
            outbox_waits_seconds: outbox_waits.as_secs(),
            results_bytes,
            revocations_staleness_seconds: staleness.map(|staleness| staleness.as_secs()),
            unreadable_revocations,
            unknown_outcomes: recent.increase(Counted::UnknownOutcomes, None, LATELY),
        }
    }
}

impl EngineStatus {
    fn new(FleetFacts { is_up, engine, generation, .. }: &FleetFacts) -> Self {
        Self {
            is_up: *is_up,
            address: engine.address.clone(),
            kind: engine.kind.clone(),
            version: engine.version.clone(),
            generation: generation.as_ref().map(|generation| generation.0.chars().take(SHORT).collect()),
            used_memory: engine.used_memory,
            max_memory: engine.maxmemory,
            copies: engine.connected_nodes,
            complaint: engine.complaint.clone(),
        }
    }
}

impl MemberStatus {
    fn new(Member { replica, host, version, silent_for }: Member, own: &str) -> Self {
        let is_this = replica == own;
        Self { host, replica, version, silent_seconds: silent_for.as_secs_f64(), is_this }
    }
}
