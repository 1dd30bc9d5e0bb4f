//! The facts that a process passes to its admin listener: its reloads, and whether it is stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

/// The reloads of a process, as its admin listener shows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReloadStatus {
    /// The number of configurations that were loaded, including the first one.
    pub generation: u64,
    /// The time when the present configuration was loaded, in Unix seconds.
    pub loaded_at: u64,
    /// The reason why the last reload was refused. `None` means that it was not refused. It never contains a secret.
    pub last_error: Option<String>,
    /// The number of reloads that were refused since the start.
    pub refused: u64,
    /// The keys whose new values the process uses only after a restart.
    pub needs_restart: Vec<String>,
}

/// The reloads of a process, and whether it is stopping.
#[derive(Debug, Default)]
pub(crate) struct ProcessStatus {
    reload: ArcSwap<ReloadStatus>,
    stopping: AtomicBool,
}

impl ProcessStatus {
    /// Makes the status of a process whose first configuration was loaded at `now` (Unix seconds).
    pub(crate) fn new(now: u64) -> Self {
        let reload = ReloadStatus { generation: 1, loaded_at: now, ..ReloadStatus::default() };
        Self { reload: ArcSwap::from_pointee(reload), stopping: AtomicBool::new(false) }
    }

    /// Returns the state of the reloads.
    pub(crate) fn reload(&self) -> Arc<ReloadStatus> {
        self.reload.load_full()
    }

    /// Stores the outcome of a reload.
    pub(crate) fn set_reload(&self, reload: ReloadStatus) {
        self.reload.store(Arc::new(reload));
    }

    /// Makes the process not ready from now on.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Returns true if the process is stopping.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
