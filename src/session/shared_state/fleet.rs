//! The shared state of a fleet: any number of replicas with one engine.
//!
//! The engine is only a meeting point. The replicas' memory is the source: every result goes to every replica, and every
//! replica can put it back. A request with a valid JWT reads local tables only, whether the engine lives, is slow, or is
//! gone.
//!
//! - `operations` implements the trait over the state of this `replica`.
//! - `claim_protocol` and `results` are the protocol of claims. They are pure.
//! - `claiming` carries the protocol out for one refresh.
//! - `background` takes the engine's events. `outbox` does what the engine must be told, and `generation` tells a new
//!   engine everything.
//! - `message` and `sealed_tokens` are what replicas send each other.
//! - `members` knows the other replicas, and `readiness` says whether this one may serve.

#![expect(dead_code, reason = "it is being built")]

mod background;
mod circuit_breaker;
mod claim_protocol;
mod claiming;
mod generation;
mod logins;
mod members;
mod message;
mod operations;
mod outbox;
mod readiness;
mod replica;
mod results;
mod revocations;
mod sealed_tokens;

pub(crate) use members::Member;
pub(crate) use operations::{EngineLink, Fleet, FleetFacts, LocalTables};
