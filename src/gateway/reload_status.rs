//! How the configuration of the process came to be what it is.

use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

/// How the configuration came to be what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReloadStatus {
    /// 1 for the configuration of the start; each one that was loaded since adds one.
    pub generation: u64,
    /// When the present configuration was loaded, in Unix seconds.
    pub loaded_at: u64,
    /// Why the last reload was refused; `None`: it was not. Never a secret.
    pub last_error: Option<String>,
    /// Reloads that were refused since the start.
    pub refused: u64,
    /// Keys that differ from what the process runs with until it is started anew.
    pub needs_restart: Vec<String>,
}

/// What all states of a process tell of it.
#[derive(Debug, Default)]
pub(crate) struct ProcessStatus {
    pub(super) reload: ArcSwap<ReloadStatus>,
    stopping: AtomicBool,
}

impl ProcessStatus {
    /// From now on it is not ready.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
