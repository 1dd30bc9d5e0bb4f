//! The causes of a reload: SIGHUP, and, with `server.watch_config`, a change of the configuration's files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, warn};

use crate::config::{self, Files, Loaded};
use crate::process::reload::Reloader;

/// The time between two looks at the files. Two looks must find the same contents, so that a half-written file is not
/// read.
const INTERVAL: Duration = Duration::from_secs(1);

/// Reads the file again on each signal. With `server.watch_config`, also reads it again when it has changed. It runs as
/// long as it is polled.
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

/// The files of the configuration.
#[derive(Debug)]
struct Watched {
    /// The files as they were read for the last configuration, even if that was refused. For example, a configuration
    /// is refused because a file is missing. When the file exists, the configuration is read again.
    read: Files,
    /// The files at the last look.
    last: Option<Files>,
}

impl Watched {
    /// Returns true if the files have to be read again: they differ from those that were read, and two looks found the
    /// same contents.
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

/// Reads the configuration, and uses it if it is valid. Returns the files from which it was read, if they are known.
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
    // After a refused configuration, a return to the old one also counts as a reload. The status then shows no error.
    if only_if_changed && is_same && reloader.status().last_error.is_none() {
        return files;
    }
    for warning in &warnings {
        warn!(key = warning.key, hint = warning.hint, "{}", warning.message);
    }
    // The log already has the refusal.
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
        // The files contain no valid configuration. The list of files is known all the same.
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
