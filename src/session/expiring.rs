//! A bounded table whose entries are each kept until an instant.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

use tokio::time::Instant;

/// The table; beyond its capacity the first to go make room.
#[derive(Debug)]
pub(super) struct Expiring<K, V> {
    capacity: usize,
    entries: HashMap<K, (V, Instant)>,
    /// When entries may go, the first at the top. An entry that was replaced stands here more than once.
    expiries: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Copy + Eq + Ord + Hash, V> Expiring<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, entries: HashMap::new(), expiries: BinaryHeap::new() }
    }

    /// A value that is still kept, if [`Self::forget_expired`] has thrown out the others.
    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.entries.get(&key).map(|(value, _)| value)
    }

    /// Returns the value before.
    pub(super) fn insert(&mut self, key: K, value: V, until: Instant) -> Option<V> {
        self.expiries.push(Reverse((until, key)));
        self.entries.insert(key, (value, until)).map(|(before, _)| before)
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        self.entries.remove(&key).map(|(value, _)| value)
    }

    pub(super) fn forget_expired(&mut self, now: Instant) {
        while let Some(&Reverse((until, key))) = self.expiries.peek() {
            // The first to go say the least: failures and made-up tokens are kept for seconds only.
            if now < until && self.expiries.len() <= self.capacity {
                break;
            }
            self.expiries.pop();
            // An entry that was replaced since stands in the heap again, further down.
            if self.entries.get(&key).is_some_and(|(_, kept)| *kept <= until) {
                self.entries.remove(&key);
            }
        }
    }

    /// Of the table, and of the queue beside it.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.entries.len(), self.expiries.len())
    }
}
