//! A bounded table. Each entry has an expiry time of its own.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use tokio::time::Instant;

/// The table. If it holds more entries than its capacity, the entries that expire first are removed first.
#[derive(Debug)]
pub(super) struct Expiring<K, V> {
    capacity: usize,
    entries: HashMap<K, (V, Instant)>,
    /// The expiry time of each entry, in ascending order.
    expiries: BTreeSet<(Instant, K)>,
}

impl<K: Copy + Eq + Ord + Hash, V> Expiring<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, entries: HashMap::new(), expiries: BTreeSet::new() }
    }

    /// Returns the value of a key. It may have expired, unless [`Self::forget_expired`] was called just before.
    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.entries.get(&key).map(|(value, _)| value)
    }

    /// Inserts a value, and returns the previous one.
    pub(super) fn insert(&mut self, key: K, value: V, until: Instant) -> Option<V> {
        let before = self.remove(key);
        self.entries.insert(key, (value, until));
        self.expiries.insert((until, key));
        before
    }

    /// Returns the value of a key for changing it. See [`Self::get`].
    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.entries.get_mut(&key).map(|(value, _)| value)
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let (value, until) = self.entries.remove(&key)?;
        self.expiries.remove(&(until, key));
        Some(value)
    }

    pub(super) fn forget_expired(&mut self, now: Instant) {
        while let Some(&(until, key)) = self.expiries.first() {
            // The entries that expire first matter least: failures and made-up tokens are kept for seconds only.
            if now < until && self.expiries.len() <= self.capacity {
                break;
            }
            self.remove(key);
        }
    }

    /// Returns the number of entries, and the number of expiry times.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.entries.len(), self.expiries.len())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_replaced_or_removed_takes_no_place_from_others() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let mut table = Expiring::new(10);
        for number in 0..10 {
            // As an outcome: kept for long until it is delivered, and then for a while.
            table.insert(number, (), later(300));
            table.insert(number, (), later(30));
            table.insert(100 + number, (), later(300));
            table.remove(100 + number);
            table.forget_expired(now);
        }
        assert!((0..10).all(|number| table.get(number).is_some()));
        assert_eq!(table.sizes(), (10, 10));
        table.insert(10, (), later(31));
        table.forget_expired(now);
        assert_eq!(table.sizes(), (10, 10));
        assert!(table.get(10).is_some());
        table.forget_expired(later(31));
        assert_eq!(table.sizes(), (0, 0));
    }
}
