//! The revocation list: sessions, JWTs and subjects that are refused before they expire.
//!
//! Read on every request with a session, without a lock: the list is divided into parts, each an immutable map that a
//! revocation replaces. It lives in memory and is bounded; where it is full, what would go first goes first.

mod horizon;
mod list;
mod mark;
mod revocation;
#[cfg(test)]
mod tests;
mod transfer;

pub use list::Revocations;
pub use mark::{Mark, TokenMarks};
pub use revocation::{EndedBy, Revocation};
pub(crate) use transfer::{Passed, Record};
