//! Another process takes the listening sockets over, with connections that wait in them: nobody is turned away.
//!
//! The mechanism is Pingora's, descriptors over a Unix socket (`SCM_RIGHTS`); not its code, which is tied to its own `Server`,
//! leaves a socket that every user may connect to, and gives bare numbers that only `unsafe` makes listeners of.
//!
//! The old process listens on the socket (`upgrade/offer.rs`). The new one connects and gets the listeners, and asks what was revoked
//! (`upgrade/inherit.rs`). Once it has begun to accept, it says so, and only then does the old one stop: a new process that fails
//! before changes nothing. From then on until the old one has ended, each tells the other what is revoked
//! (`upgrade/revocations.rs`).
//!
//! At every moment somebody accepts. Where the two lose sight of each other, the new one looks whether somebody is at the socket: if so, that
//! one serves and it ends; if not, it is the only one left and goes on.

mod descriptors;
mod inherit;
mod offer;
mod revocations;
mod socket;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

pub(crate) use descriptors::{Listening, Purpose};
pub(crate) use inherit::Successor;
pub use inherit::{AskError, Inherited, NotWanted};
pub(crate) use offer::Estate;

use inherit::Handover;
use socket::Place;

use crate::access::revocations::Record;

/// Bytes of what a process says in words.
const MAX_WORDS: usize = 1024;

/// The old process can tell what was revoked, and the new one asks for it. Its number changes with the form of records.
const REVOCATIONS: &str = "revocations 1";

/// The old process takes what the new one revokes, in the same form.
const HEARS_REVOCATIONS: &str = "hear revocations 1";

/// The new process accepts connections.
const READY: &str = "ready";

/// Takes what is revoked in another process.
pub(crate) type Hear = Arc<dyn Fn(&[Record]) + Send + Sync>;

/// For the other process to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Lets the old process go, where there is one, and then offers what there is to the next. To the end, it and the one beside it tell each
/// other what is revoked.
pub(crate) async fn run(
    path: Option<PathBuf>,
    successor: Option<Successor>,
    estate: Estate,
) -> Result<(), NotWanted> {
    // Before the old process lets go, so that nobody finds the place empty for long.
    let place = path.map(|path| Place::prepare(&path, successor.is_some())).transpose();
    if let Some(successor) = successor {
        match successor.ready().await? {
            Handover::Done(old) => {
                info!("the process before has handed over");
                tokio::spawn(old.tell(Arc::clone(&estate.memory)));
            }
            Handover::Alone => warn!("the process before has ended without a word: this one goes on alone"),
        }
    }
    let offered = match place {
        Ok(None) => return Ok(()),
        Ok(Some(place)) => offer::offer(place, estate).await,
        Err(error) => Err(error),
    };
    if let Err(error) = offered {
        error!(%error, "no upgrade is possible: the socket cannot be used");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
