//! Another process takes the listening sockets over, with connections that wait in them: nobody is turned away.
//!
//! The mechanism is that of Pingora: descriptors over a Unix socket (`SCM_RIGHTS`). Its code is not used: it is tied to
//! Pingora's own `Server`, leaves a socket that every user may connect to, and gives bare numbers that only `unsafe`
//! makes listeners of.
//!
//! The old process listens on the socket (`upgrade/offer.rs`). The new one connects and gets the listeners, and asks
//! what was revoked (`upgrade/inherit.rs`). Once it has begun to accept, it says so, and only then does the old one
//! stop: a new process that fails before changes nothing. From then on until the old one has ended, each tells the
//! other what is revoked (`upgrade/revocations.rs`).
//!
//! At every moment a process accepts. Where the two lose sight of each other, the new one looks whether a process is at
//! the socket. If so, that process serves, and the new one ends. If not, the new one is the only one left and goes on.

mod descriptors;
mod handover;
mod inherit;
mod offer;
mod protocol;
mod revocations;
mod socket;
#[cfg(test)]
mod tests;

pub(crate) use descriptors::{Listening, Purpose};
pub(crate) use handover::run;
pub(crate) use inherit::Successor;
pub use inherit::{AskError, Inherited, NotWanted};
pub(crate) use offer::Estate;
