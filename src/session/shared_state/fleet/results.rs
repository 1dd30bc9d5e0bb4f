//! The results of refreshes that this replica has seen: its own and those of others. They are kept as they were sealed,
//! so they open only for a request with the old refresh token.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::engine::commands::{Assertion, Known, RecordState};
use crate::engine::names::Name;
use crate::session::session_key::SessionKey;

/// The time after which an entry counts as old, if there is no room for all. Entries in use are younger.
const IS_YOUNG: Duration = Duration::from_secs(60);

/// The memory that an entry takes beside its value, in bytes.
const OVERHEAD: usize = 256;

/// A result as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredResult {
    pub(crate) state: RecordState,
    /// Sealed. Empty if the state has no value.
    pub(crate) value: Vec<u8>,
    /// The message that tells other replicas of it. Empty if another replica has sent it.
    pub(crate) message: Vec<u8>,
    /// The refresh token that was given, if it is a new one.
    pub(crate) next: Option<SessionKey>,
    /// The time at which this replica forgets it.
    pub(crate) until: Duration,
    /// The time at which the engine forgets it.
    pub(crate) engine_until: Duration,
}

impl StoredResult {
    /// Returns what to write into the engine.
    pub(super) fn assertion(&self, names: Vec<Name>, nonce: String, now: Duration) -> Assertion {
        Assertion {
            names,
            state: self.state,
            value: self.value.clone(),
            nonce,
            lasts: self.engine_until.saturating_sub(now),
            message: self.message.clone(),
        }
    }

    fn size(&self) -> usize {
        OVERHEAD + self.value.len() + self.message.len()
    }
}

/// The results by name. They take a bounded number of bytes. If there is no room, the oldest are forgotten first: a
/// result matters most in the first seconds, and those that are kept for long wait for browsers that sleep.
#[derive(Debug)]
pub(crate) struct Results {
    most: usize,
    bytes: usize,
    entries: HashMap<Name, StoredResult>,
    expiries: BTreeSet<(Duration, Name)>,
    /// The order in which results make room, and the place of each in it.
    ages: BTreeSet<(Duration, Name)>,
    ages_by_name: HashMap<Name, Duration>,
    /// The results by the refresh token that they gave.
    by_next: HashMap<SessionKey, Name>,
}

impl Results {
    /// Creates an empty table for at most this number of bytes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            bytes: 0,
            entries: HashMap::new(),
            expiries: BTreeSet::new(),
            ages: BTreeSet::new(),
            ages_by_name: HashMap::new(),
            by_next: HashMap::new(),
        }
    }

    /// Returns the result of a refresh token, by any of its names.
    pub(super) fn get(&self, names: &[Name], now: Duration) -> Option<Known> {
        names.iter().enumerate().find_map(|(key, name)| {
            let result = self.entries.get(name).filter(|result| now < result.until)?;
            Some(Known { state: result.state, key, value: result.value.clone() })
        })
    }

    /// Keeps a result. A weaker one gives way to a stronger one only.
    pub(super) fn insert(&mut self, name: Name, result: StoredResult, now: Duration) {
        self.forget_expired(now);
        if self.entries.get(&name).is_some_and(|known| known.state > result.state) {
            return;
        }
        self.remove(name);
        self.bytes += result.size();
        self.expiries.insert((result.until, name));
        if let Some(next) = result.next {
            self.by_next.insert(next, name);
        }
        let old_at = result.engine_until.min(now + IS_YOUNG);
        self.entries.insert(name, result);
        self.note_age(name, old_at);
        while self.bytes > self.most {
            let Some(&(_, oldest)) = self.ages.first() else { break };
            self.remove(oldest);
        }
    }

    /// Lets the result that gave this refresh token end by `until`, because its browser has it. Returns its name if this
    /// replica has sent the result itself.
    pub(super) fn shorten(&mut self, next: SessionKey, until: Duration) -> Option<Name> {
        let name = *self.by_next.get(&next)?;
        let old_at = self.ages_by_name.get(&name).copied();
        let mut result = self.remove(name)?;
        let is_own = !result.message.is_empty();
        result.until = result.until.min(until);
        result.engine_until = result.engine_until.min(until);
        self.bytes += result.size();
        self.expiries.insert((result.until, name));
        self.by_next.insert(next, name);
        self.entries.insert(name, result);
        self.note_age(name, old_at.unwrap_or(until));
        is_own.then_some(name)
    }

    /// Forgets that a session is over, because it has begun again.
    pub(super) fn forget_end(&mut self, names: &[Name]) {
        for name in names {
            if self.entries.get(name).is_some_and(|result| result.state != RecordState::Tokens) {
                self.remove(*name);
            }
        }
    }

    pub(super) fn forget_expired(&mut self, now: Duration) {
        while let Some(&(until, name)) = self.expiries.first() {
            if now < until {
                break;
            }
            self.remove(name);
        }
    }

    /// Returns all results as they are to be written into an engine that has lost them.
    pub(super) fn assertions(&self, now: Duration) -> Vec<Assertion> {
        let entries = self.entries.iter().filter(|(_, result)| now < result.engine_until);
        entries
            .map(|(name, result)| {
                let again = result.assertion(vec![*name], String::new(), now);
                // All replicas that live have it already.
                Assertion { message: Vec::new(), ..again }
            })
            .collect()
    }

    /// Returns the number of bytes in use.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn note_age(&mut self, name: Name, old_at: Duration) {
        self.ages.insert((old_at, name));
        self.ages_by_name.insert(name, old_at);
    }

    fn remove(&mut self, name: Name) -> Option<StoredResult> {
        let result = self.entries.remove(&name)?;
        self.bytes -= result.size();
        self.expiries.remove(&(result.until, name));
        if let Some(old_at) = self.ages_by_name.remove(&name) {
            self.ages.remove(&(old_at, name));
        }
        if let Some(next) = result.next
            && self.by_next.get(&next) == Some(&name)
        {
            self.by_next.remove(&next);
        }
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn name(number: u8) -> Name {
        Name::from_bytes([number; 16])
    }

    fn result(state: RecordState, size: usize, until: u64) -> StoredResult {
        let (value, message) = (vec![0; size], Vec::new());
        let until = seconds(until);
        StoredResult { state, value, message, next: None, until, engine_until: until }
    }

    #[test]
    fn it_takes_a_bounded_number_of_bytes_and_forgets_the_oldest_first() {
        let mut results = Results::new(3 * (OVERHEAD + 100));
        // Browsers that sleep: their results are kept for long.
        for number in 0..10 {
            let kept = result(RecordState::Tokens, 100, 86_400);
            results.insert(name(number), kept, seconds(u64::from(number)));
        }
        assert_eq!(results.bytes(), 3 * (OVERHEAD + 100));
        assert_eq!(results.get(&[name(6)], seconds(10)), None);
        assert!(results.get(&[name(0), name(7)], seconds(10)).is_some_and(|known| known.key == 1));
        // A result that is needed for some seconds more finds room, and keeps it.
        results.insert(name(20), result(RecordState::Tokens, 100, 130), seconds(100));
        results.insert(name(21), result(RecordState::Tokens, 100, 86_400), seconds(101));
        assert!(results.get(&[name(20)], seconds(101)).is_some());
        assert_eq!(results.get(&[name(20)], seconds(130)), None);
        results.forget_expired(seconds(90_000));
        assert_eq!((results.bytes(), results.expiries.len(), results.ages.len()), (0, 0, 0));
    }

    #[test]
    fn an_end_stays_until_the_session_begins_again() {
        let mut results = Results::new(10_000);
        results.insert(name(1), result(RecordState::Ended, 0, 10), seconds(0));
        results.insert(name(1), result(RecordState::Tokens, 100, 10), seconds(0));
        assert_eq!(results.get(&[name(1)], seconds(0)).unwrap().state, RecordState::Ended);
        results.forget_end(&[name(1)]);
        assert_eq!(results.get(&[name(1)], seconds(0)), None);
    }
}
