//! The revocation list: sessions, JWTs and subjects that are refused before they expire.
//!
//! Every request with a session reads the list without a lock. The list is divided into parts. Each part is an
//! immutable map, and a revocation replaces the map. The list is in memory, and is bounded. If a part is full, the
//! entry that expires first is removed.

mod entry;
mod horizon;
mod list;
mod mark;
mod record;
mod replicas;
mod revocation;
#[cfg(test)]
mod tests;
mod transfer;

pub use list::Revocations;
pub use mark::{Mark, TokenMarks};
pub(crate) use record::Record;
pub use revocation::{EndedBy, Revocation};
pub(crate) use transfer::Passed;
