//! Lets another process take over the listening sockets, with the connections that wait in them. No connection is
//! refused.
//!
//! The mechanism is that of Pingora: descriptors over a Unix socket (`SCM_RIGHTS`). Pingora's own code is not used for
//! three reasons. It is tied to Pingora's own `Server`. Every user may connect to its socket. It returns plain numbers,
//! which only `unsafe` code can turn into listeners.
//!
//! The old process listens on the socket (`upgrade/offer.rs`). The new process connects, gets the listeners, and asks
//! for the revocations (`upgrade/inherit.rs`). When the new process accepts connections, it says so, and the old
//! process stops accepting. If the new process fails before that, nothing changes. From then on until the old process
//! has ended, the two send each other their revocations (`upgrade/revocations.rs`).
//!
//! At every moment, at least one process accepts connections. If the connection between the two breaks, the new process
//! looks for a process at the socket. If there is one, that process serves, and the new one ends. If there is none, the
//! new process goes on alone.

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
