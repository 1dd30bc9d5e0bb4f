//! The upgrade from the view of one process. It first takes the place of the old process, and then offers its own
//! listeners.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::{error, info, warn};

use crate::process::upgrade::inherit::{Handover, NotWanted, Successor};
use crate::process::upgrade::offer::{self, Estate};
use crate::process::upgrade::socket::Place;

/// Takes over from the old process, if there is one, and then offers the estate to the next process. Until the old
/// process has ended, the two processes send each other their revocations.
pub(crate) async fn run(
    path: Option<PathBuf>,
    successor: Option<Successor>,
    estate: Estate,
) -> Result<(), NotWanted> {
    // The socket is prepared before the old process stops accepting, so that the path is without a socket only for a
    // short time.
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
