//! The engine: the Redis or Valkey server through which replicas share state. This floor knows names and bytes. It
//! knows no sessions: `session/shared_state/fleet.rs` gives the bytes their meaning.
//!
//! - `commands` is the interface: the operations, each of which is atomic, and the events that the engine brings.
//! - `names` and `sealing` derive from the configured keys what the engine sees: it never gets a readable text.
//! - `redis_engine` is the client. `attendance` keeps its connections, `primary_search` finds the server, and
//!   `connection` opens connections. `heartbeat`, `messages` and `revocation_stream` bring the events.
//! - `examination` is for `doctor`.
//! - `scripts` has the operations as the engine carries them out, and `answers` reads what it answers.

mod answers;
mod attendance;
pub(crate) mod commands;
mod connection;
pub(crate) mod examination;
pub(crate) mod facts;
#[cfg(test)]
pub(crate) mod fake;
mod faults;
mod heartbeat;
mod keyspace;
mod messages;
pub(crate) mod names;
pub(crate) mod one_look;
mod primary;
mod primary_search;
pub(crate) mod redis_engine;
mod revocation_stream;
mod scripts;
pub(crate) mod sealing;
#[cfg(test)]
#[cfg(feature = "fleet-suite")]
mod tests;
