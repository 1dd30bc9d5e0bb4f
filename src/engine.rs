//! The engine: the Redis or Valkey server through which replicas share state. This floor knows names and bytes. It
//! knows no sessions: `session/shared_state/fleet.rs` gives the bytes their meaning.
//!
//! - `commands` is the interface: the operations, each of which is atomic, and the events that the engine brings.
//! - `names` and `sealing` derive from the configured keys what the engine sees: it never gets a readable text.

pub(crate) mod commands;
pub(crate) mod names;
pub(crate) mod sealing;
