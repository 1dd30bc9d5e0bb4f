//! The whole of an upgrade as one process sees it: first it takes another one's place, then it offers its own.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::{error, info, warn};

use crate::process::upgrade::inherit::{Handover, NotWanted, Successor};
use crate::process::upgrade::offer::{self, Estate};
use crate::process::upgrade::socket::Place;

/// Lets the old process go, where there is one, and then offers the estate to the next process. To the end, the two processes
/// tell each other what is revoked.
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
