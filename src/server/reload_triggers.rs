//! When the configuration is read again: on SIGHUP, and, with `server.watch_config`, when its files change.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use tokio::signal::unix::Signal;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, warn};
use zeroize::Zeroizing;

use super::Reloader;
use crate::config::{self, Loaded};

/// How often the files are looked at. They must look the same twice, so that a half-written one is not read.
const INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of a file that are looked at.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// The SHA-256 of all files.
type Fingerprint = [u8; 32];

/// Reads the file again on each signal and, where the configuration says so, when it changes; for as long as it is polled.
pub async fn reload_when_told(path: PathBuf, reloader: Reloader, mut hangups: Signal) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watched = Watched::default();
    loop {
        tokio::select! {
            signal = hangups.recv() => {
                if signal.is_none() {
                    return;
                }
                load(&path, &reloader, false).await;
            }
            _ = ticks.tick() => {
                if !reloader.config().server.watch_config {
                    watched = Watched::default();
                } else if watched.has_changed(fingerprint(&path, &reloader).await) {
                    load(&path, &reloader, true).await;
                }
            }
        }
    }
}

/// What the files were like.
#[derive(Debug, Default)]
struct Watched {
    /// At the last look.
    last: Option<Fingerprint>,
    /// When they were last read.
    read: Option<Fingerprint>,
}

impl Watched {
    /// Whether they are to be read: they are different, and twice the same.
    fn has_changed(&mut self, now: Option<Fingerprint>) -> bool {
        let is_stable = now.is_some() && now == self.last;
        self.last = now;
        if !is_stable || now == self.read {
            return false;
        }
        self.read = now;
        true
    }
}

async fn load(path: &Path, reloader: &Reloader, only_if_changed: bool) {
    let file = path.to_owned();
    let loaded = match tokio::task::spawn_blocking(move || config::load(&file)).await {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(problems)) => return reloader.refuse_file(&problems),
        Err(_) => return error!("the configuration could not be read"),
    };
    let Loaded { config, warnings } = loaded;
    let is_same = reloader.config().outline.changes(&config.outline).is_empty();
    // Back to what it was after a bad one counts: the status is to say that all is well.
    if only_if_changed && is_same && reloader.state().reload_status().last_error.is_none() {
        return;
    }
    for warning in &warnings {
        warn!(key = warning.key, hint = warning.hint, "{}", warning.message);
    }
    // The refusal is in the log already.
    let _ = reloader.reload(config).await;
}

/// Of the configuration and the files that its secrets are in; `None`: unknown.
async fn fingerprint(path: &Path, reloader: &Reloader) -> Option<Fingerprint> {
    let mut files = vec![path.to_owned()];
    files.extend_from_slice(reloader.config().outline.secret_files());
    tokio::task::spawn_blocking(move || digest(&files)).await.ok()
}

fn digest(files: &[PathBuf]) -> Fingerprint {
    let mut context = Context::new(&SHA256);
    for file in files {
        // One that cannot be read is a change, too, which the log then tells.
        let mut text = Zeroizing::new(Vec::new());
        let read = File::open(file).and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut text));
        context.update(&read.map_or(u64::MAX, |length| length as u64).to_be_bytes());
        context.update(&text);
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_and_when_it_is_over() {
        let mut watched = Watched::default();
        let looks = [1, 1, 1, 2, 3, 3, 3, 1, 1].map(|look| watched.has_changed(Some([look; 32])));
        assert_eq!(looks, [false, true, false, false, false, true, false, false, true]);
        assert!(!watched.has_changed(None));
    }

    #[test]
    fn every_file_counts() {
        let directory = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| directory.path().join(name));
        let missing = digest(&files);
        std::fs::write(&files[0], "x").unwrap();
        std::fs::write(&files[1], "").unwrap();
        let there = digest(&files);
        std::fs::write(&files[0], "").unwrap();
        std::fs::write(&files[1], "x").unwrap();
        let moved = digest(&files);
        assert!(missing != there && there != moved && moved == digest(&files));
    }
}
