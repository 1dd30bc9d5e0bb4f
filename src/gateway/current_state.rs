//! The state that requests begin with now.

use std::sync::Arc;

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
