//! The shared state of a fleet: any number of replicas with one engine.
//!
//! The engine is only a meeting point. The replicas' memory is the source: every result goes to every replica, and every
//! replica can put it back. A request with a valid JWT reads local tables only, whether the engine lives, is slow, or is
//! gone.
//!
//! - `operations` implements the trait over the state of this `replica`.
//! - `claim_protocol` and `results` are the protocol of claims. They are pure.
//! - `claiming` carries the protocol out for one refresh, and `publishing` records its result.
//! - `background` takes the engine's events. `outbox` does what the engine must be told, and `generation` tells a new
//!   engine everything.
//! - `message` and `sealed_tokens` are what replicas send each other.
//! - `report` counts and logs what becomes of claims.
//! - `look_up` tells `explain` what the fleet knows of a session, and `hearing` tells `doctor` who is there.
//! - `revocations`, `logins` and `activity` bring revocations, failed logins, turns of logins and the use of sessions to
//!   all replicas.
//! - `members` knows the other replicas, and `readiness` says whether this one may serve.

mod activity;
mod background;
mod circuit_breaker;
mod claim_protocol;
mod claiming;
mod generation;
mod hearing;
mod logins;
mod look_up;
mod members;
mod message;
mod operations;
mod outbox;
mod publishing;
mod readiness;
mod replica;
mod report;
mod results;
mod revocations;
mod sealed_tokens;

pub(crate) use hearing::{Heard, hear};
pub(crate) use look_up::{SessionRecord, look_up};
pub(crate) use members::Member;
pub(crate) use operations::{EngineLink, Fleet, FleetFacts, LocalTables};
