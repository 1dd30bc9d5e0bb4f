//! The state that requests begin with now, and how it came to be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use crate::gateway::state::State;

/// The state for new requests. A request keeps the one that it began with.
#[derive(Debug)]
pub struct CurrentState(ArcSwap<State>);

impl CurrentState {
    /// Begins with this one.
    pub fn new(state: Arc<State>) -> Self {
        Self(ArcSwap::new(state))
    }

    /// The state now: no lock.
    pub fn load(&self) -> Arc<State> {
        self.0.load_full()
    }

    /// Replaces it at once for all requests that come.
    pub(crate) fn store(&self, state: Arc<State>) {
        self.0.store(state);
    }
}

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
