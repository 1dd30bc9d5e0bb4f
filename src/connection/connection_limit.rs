//! The connections that are open: how many there may be at once, which of them make room for another one, and how they
//! end when the server stops.
//!
//! Only connections that wait for their next request make room. The one that has waited longest goes first. A
//! connection with a request under way makes no room, and neither does one that was just opened.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::connection::exchange_control::ExchangeControl;
use crate::connection::exchange_end::EndReason;
use crate::telemetry::metrics::METRICS;

/// The time for which a connection without a request is kept when the server stops.
const CLOSING_PAUSE: Duration = Duration::from_millis(500);

/// The time to wait until a connection that was told to make room has closed.
const ROOM_PATIENCE: Duration = Duration::from_millis(100);

/// The connections that have waited longest are found together. Otherwise each new connection would cost a look at all
/// of them.
const CANDIDATES: usize = 64;

/// If no connection waits, none is searched for again within this time. Otherwise a flood of new connections would cost
/// a search each.
const SEARCH_PAUSE: Duration = Duration::from_millis(20);

/// The connections that are open now. The lock is taken when one opens or closes, never for a request.
#[derive(Debug)]
pub(crate) struct Connections {
    live: Mutex<Live>,
    next_id: AtomicU64,
    max: AtomicUsize,
    /// The number of connections that have ended.
    departures: AtomicU64,
    /// Notified when a connection has ended.
    departed: Notify,
}

#[derive(Debug, Default)]
struct Live {
    all: HashMap<u64, Entry>,
    /// The number of connections that were told to make room and are still open.
    leaving: usize,
    /// The connections that have waited longest, as far as known: the instant when the waiting began, and the id. The
    /// longest is last. A connection that has had a request since then no longer counts.
    candidates: Vec<(u64, u64)>,
    searched_in_vain: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    control: Arc<ExchangeControl>,
    makes_room: bool,
}

impl Live {
    /// Closes the connection that has waited longest. Returns false if none waits.
    fn make_room(&mut self) -> bool {
        loop {
            while let Some((since, id)) = self.candidates.pop() {
                if let Some(entry) = self.all.get_mut(&id)
                    && !entry.makes_room
                    && entry.control.waiting_since() == Some(since)
                {
                    entry.makes_room = true;
                    self.leaving += 1;
                    entry.control.close_when_idle();
                    METRICS.process.idle_connections_closed.inc();
                    return true;
                }
            }
            if !self.search() {
                return false;
            }
        }
    }

    /// Searches for connections that wait. Returns true if there are any.
    fn search(&mut self) -> bool {
        let now = Instant::now();
        if self.searched_in_vain.is_some_and(|at| now.saturating_duration_since(at) < SEARCH_PAUSE) {
            return false;
        }
        let waiting = self.all.iter().filter(|(_, entry)| !entry.makes_room);
        let waiting = waiting.filter_map(|(id, entry)| Some((entry.control.waiting_since()?, *id)));
        let mut waiting: Vec<_> = waiting.collect();
        if waiting.len() > CANDIDATES {
            waiting.select_nth_unstable(CANDIDATES);
            waiting.truncate(CANDIDATES);
        }
        waiting.sort_unstable_by(|one, other| other.cmp(one));
        self.searched_in_vain = waiting.is_empty().then_some(now);
        self.candidates = waiting;
        !self.candidates.is_empty()
    }
}

/// The place of a connection that was told to close.
#[derive(Debug)]
#[must_use = "it is there a moment later"]
pub(crate) struct Place {
    connections: Arc<Connections>,
    departures: u64,
}

impl Place {
    /// Waits until the place is free, for at most [`ROOM_PATIENCE`].
    pub(crate) async fn wait(self) {
        let there = async {
            loop {
                let departed = self.connections.departed.notified();
                tokio::pin!(departed);
                departed.as_mut().enable();
                if self.connections.departures.load(Ordering::Acquire) != self.departures {
                    return;
                }
                departed.await;
            }
        };
        let _then_as_it_is = timeout(ROOM_PATIENCE, there).await;
    }
}

impl Connections {
    /// Allows at most `max` connections at once, over all listeners.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            live: Mutex::default(),
            next_id: AtomicU64::new(0),
            max: AtomicUsize::new(max),
            departures: AtomicU64::new(0),
            departed: Notify::new(),
        })
    }

    /// Sets how many connections may be open at once. It does not close those that are open.
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Returns how many connections are open now.
    pub(crate) fn count(&self) -> usize {
        self.live().all.len()
    }

    /// Closes each connection after its next answer. Closes those that are still idle after [`CLOSING_PAUSE`]. So a
    /// client that is sending a request, or has just opened its connection, gets its answer.
    pub(crate) async fn close_gently(&self) {
        for entry in self.live().all.values() {
            entry.control.close_after_answer();
        }
        let _ = tokio::time::timeout(CLOSING_PAUSE, self.drained()).await;
        self.close_idle();
    }

    /// Closes the idle connections at once and the others after their answers.
    fn close_idle(&self) {
        for entry in self.live().all.values() {
            entry.control.close_when_idle();
        }
    }

    /// Fails the reads of all connections, which ends their exchanges.
    pub(crate) fn end_all(&self, reason: EndReason) {
        for entry in self.live().all.values() {
            entry.control.end(reason);
        }
    }

    /// Waits until no connection is left.
    pub(crate) async fn drained(&self) {
        loop {
            let departed = self.departed.notified();
            tokio::pin!(departed);
            departed.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            departed.await;
        }
    }

    /// Admits a new connection. If the maximum is reached, closes one that waits for its next request. If none waits,
    /// returns `None`: the new connection is turned away.
    pub(crate) fn admit(self: &Arc<Self>, control: &Arc<ExchangeControl>) -> Option<Admitted> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let max = self.max.load(Ordering::Relaxed);
        let mut live = self.live();
        // Connections that were told to close no longer count, but they are still open. There must not be too many of
        // them.
        let is_full = live.all.len() - live.leaving >= max;
        if is_full && (live.leaving > max / 8 || !live.make_room()) {
            return None;
        }
        live.all.insert(id, Entry { control: Arc::clone(control), makes_room: false });
        Some(Admitted { connections: Arc::clone(self), id })
    }

    /// Closes the connection that has waited longest for its next request, to free its descriptor. Returns `None` if
    /// none waits.
    pub(crate) fn make_room(self: &Arc<Self>) -> Option<Place> {
        let departures = self.departures.load(Ordering::Acquire);
        let is_made = self.live().make_room();
        is_made.then(|| Place { connections: Arc::clone(self), departures })
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among the open ones. Dropping it frees the place, also after a panic.
pub(crate) struct Admitted {
    connections: Arc<Connections>,
    id: u64,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        {
            let mut live = self.connections.live();
            if live.all.remove(&self.id).is_some_and(|entry| entry.makes_room) {
                live.leaving -= 1;
            }
        }
        self.connections.departures.fetch_add(1, Ordering::AcqRel);
        self.connections.departed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
