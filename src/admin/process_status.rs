//! The part of its life that a process tells its admin listener: its reloads, and that it stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

/// The reloads of a process, as its admin listener shows them.
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

/// The reloads of a process, and that it stops.
#[derive(Debug, Default)]
pub(crate) struct ProcessStatus {
    reload: ArcSwap<ReloadStatus>,
    stopping: AtomicBool,
}

impl ProcessStatus {
    /// A process with its first configuration, which was loaded at `now` (Unix seconds).
    pub(crate) fn new(now: u64) -> Self {
        let reload = ReloadStatus { generation: 1, loaded_at: now, ..ReloadStatus::default() };
        Self { reload: ArcSwap::from_pointee(reload), stopping: AtomicBool::new(false) }
    }

    /// The reloads until now.
    pub(crate) fn reload(&self) -> Arc<ReloadStatus> {
        self.reload.load_full()
    }

    /// Takes note of a reload.
    pub(crate) fn set_reload(&self, reload: ReloadStatus) {
        self.reload.store(Arc::new(reload));
    }

    /// From now on it is not ready.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Returns true once it stops.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
