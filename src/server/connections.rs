//! The connections that live: how many at once, and how they end when the server does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::watch::{ConnectionWatch, EndReason};

/// How long a connection without a request is kept when the server stops.
const CLOSING_PAUSE: Duration = Duration::from_millis(500);

/// The connections that live now. Locked when one opens or closes, never for a request.
#[derive(Debug)]
pub(crate) struct Connections {
    live: Mutex<HashMap<u64, Arc<ConnectionWatch>>>,
    next_id: AtomicU64,
    max: AtomicUsize,
    none_left: Notify,
}

impl Connections {
    /// At most `max` at once, over all listeners.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        let max = AtomicUsize::new(max);
        Arc::new(Self { live: Mutex::default(), next_id: AtomicU64::new(0), max, none_left: Notify::new() })
    }

    /// Sets how many may live at once, for those that come.
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// How many live now.
    pub(crate) fn count(&self) -> usize {
        self.live().len()
    }

    /// Closes each after its next answer, and those that stay idle for [`CLOSING_PAUSE`] then. A client that is just sending
    /// a request on a connection, or has just opened it, so gets its answer.
    pub(crate) async fn close_gently(&self) {
        for watch in self.live().values() {
            watch.close_after_answer();
        }
        let _ = tokio::time::timeout(CLOSING_PAUSE, self.drained()).await;
        self.close_idle();
    }

    /// Closes the idle ones at once and the others after their answers.
    fn close_idle(&self) {
        for watch in self.live().values() {
            watch.close_when_idle();
        }
    }

    /// Fails the reads of all of them, which ends what they do.
    pub(crate) fn end_all(&self, reason: EndReason) {
        for watch in self.live().values() {
            watch.end(reason);
        }
    }

    /// Waits until none is left.
    pub(crate) async fn drained(&self) {
        loop {
            let none_left = self.none_left.notified();
            tokio::pin!(none_left);
            none_left.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            none_left.await;
        }
    }

    /// Counts a fresh one in, unless there are too many.
    pub(super) fn admit(self: &Arc<Self>, watch: &Arc<ConnectionWatch>) -> Option<Admitted> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut live = self.live();
        if live.len() >= self.max.load(Ordering::Relaxed) {
            return None;
        }
        live.insert(id, Arc::clone(watch));
        Some(Admitted { connections: Arc::clone(self), id })
    }

    fn live(&self) -> MutexGuard<'_, HashMap<u64, Arc<ConnectionWatch>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among the living, given up when dropped: also by a panic.
pub(super) struct Admitted {
    connections: Arc<Connections>,
    id: u64,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let is_last = {
            let mut live = self.connections.live();
            live.remove(&self.id);
            live.is_empty()
        };
        if is_last {
            self.connections.none_left.notify_waiters();
        }
    }
}
