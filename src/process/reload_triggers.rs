//! When the configuration is read again: on SIGHUP, and, with `server.watch_config`, when its files change.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, warn};

use crate::config::{self, Files, Loaded};
use crate::process::reload::Reloader;

/// How often the files are looked at. They must look the same twice, so that a half-written one is not read.
const INTERVAL: Duration = Duration::from_secs(1);

/// Reads the file again on each signal and, where the configuration says so, when it changes; for as long as it is polled.
pub async fn reload_when_told(path: PathBuf, reloader: Reloader, mut hangups: Signal) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watched = Watched { read: reloader.config().outline.files().clone(), last: None };
    loop {
        tokio::select! {
            signal = hangups.recv() => {
                if signal.is_none() {
                    return;
                }
                watched.read = load(&path, &reloader, false).await.unwrap_or(watched.read);
            }
            _ = ticks.tick() => {
                if reloader.config().server.watch_config && watched.have_changed().await {
                    watched.read = load(&path, &reloader, true).await.unwrap_or(watched.read);
                }
            }
        }
    }
}

/// The files that the configuration is in.
#[derive(Debug)]
struct Watched {
    /// As they were read, whether or not that was of use. So one that was refused since a file was missing is taken up
    /// once that is there.
    read: Files,
    /// As they were at the last look.
    last: Option<Files>,
}

impl Watched {
    /// Whether they are to be read: they are different, and twice the same.
    async fn have_changed(&mut self) -> bool {
        let read = self.read.clone();
        match tokio::task::spawn_blocking(move || read.now()).await {
            Ok(now) => self.see(now),
            Err(_) => false,
        }
    }

    fn see(&mut self, now: Files) -> bool {
        let is_stable = self.last.as_ref() == Some(&now);
        let is_different = now != self.read;
        self.last = Some(now);
        is_stable && is_different
    }
}

/// Reads all of it, and takes it if it is good. What it was read from, unless that is not known.
async fn load(path: &Path, reloader: &Reloader, only_if_changed: bool) -> Option<Files> {
    let file = path.to_owned();
    let loaded = match tokio::task::spawn_blocking(move || config::load(&file)).await {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(refused)) => {
            reloader.refuse_file(&refused);
            return Some(refused.files);
        }
        Err(_) => {
            error!("the configuration could not be read");
            return None;
        }
    };
    let Loaded { config, warnings } = loaded;
    let files = Some(config.outline.files().clone());
    let is_same = reloader.config().outline.changes(&config.outline).is_empty();
    // Back to what it was after a bad one counts: the status is to say that all is well.
    if only_if_changed && is_same && reloader.status().last_error.is_none() {
        return files;
    }
    for warning in &warnings {
        warn!(key = warning.key, hint = warning.hint, "{}", warning.message);
    }
    // The refusal is in the log already.
    let _ = reloader.reload(config).await;
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_and_when_it_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gateway.toml");
        // None of these is a configuration: what it was to be read from is known all the same.
        let files = |text: &str| {
            std::fs::write(&path, text).unwrap();
            config::load(&path).unwrap_err().files
        };
        let mut watched = Watched { read: files("1"), last: None };
        let looks = ["1", "2", "3", "3", "3", "1", "1"].map(|text| {
            let now = files(text);
            let have_changed = watched.see(now.clone());
            if have_changed {
                watched.read = now;
            }
            have_changed
        });
        assert_eq!(looks, [false, false, false, true, false, false, true]);
    }
}
