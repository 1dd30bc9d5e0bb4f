//! The background tasks of providers and upstreams. Each task runs as long as its owner belongs to the configuration in
//! use.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch as channel;
use tokio::task::AbortHandle;

use crate::gateway::State;

/// The running tasks.
pub(super) struct Background {
    /// Turns true when nothing is served any more.
    is_over: channel::Receiver<bool>,
    tasks: Mutex<HashMap<usize, Task>>,
}

struct Task {
    /// The owner of the task. As long as it is kept, no other value can have its address.
    _owner: Arc<dyn Any + Send + Sync>,
    handle: AbortHandle,
}

impl std::fmt::Debug for Background {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Background").finish_non_exhaustive()
    }
}

impl Background {
    /// Makes an empty set of tasks. `is_over` turns true when nothing is served any more.
    pub(super) fn new(is_over: channel::Receiver<bool>) -> Self {
        Self { is_over, tasks: Mutex::default() }
    }

    /// Starts the tasks of a state, and ends the tasks that only the previous state had.
    pub(super) fn follow(&self, state: &State) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut old = std::mem::take(&mut *tasks);
        let mut keep = |owner: Arc<dyn Any + Send + Sync>, start: &dyn Fn() -> AbortHandle| {
            let address = Arc::as_ptr(&owner).cast::<()>().addr();
            let task = old.remove(&address).unwrap_or_else(|| Task { _owner: owner, handle: start() });
            tasks.insert(address, task);
        };
        for provider in &state.providers {
            let run = || spawn(Arc::clone(provider).run(self.is_over.clone()));
            keep(provider.clone(), &run);
        }
        for app in &state.apps {
            let run = || {
                let (upstreams, is_over) = (Arc::clone(&app.upstreams), self.is_over.clone());
                spawn(async move { upstreams.run(is_over).await })
            };
            keep(app.upstreams.clone(), &run);
        }
        for task in old.into_values() {
            task.handle.abort();
        }
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    tokio::spawn(task).abort_handle()
}
