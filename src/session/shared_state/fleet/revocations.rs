//! The revocations of a fleet. Each replica has a list of its own, which requests read. A stream in the engine brings
//! the entries of all replicas into all lists.
//!
//! A change is made in the local list at once. Then it goes to the engine as an errand of the outbox, so it arrives even
//! if the engine is away now. An entry of the stream holds records of the list, sealed for the fleet. The records of one
//! operation stay together. Entries may come twice and in any order, so the stream may be read from its start again at
//! any time, and a replica may add its whole list again. An entry leaves the list when its time is over, and never
//! because the stream lacks it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::access::revocations::{Mark, Record, TokenMarks};
use crate::access::session_tables::SessionTables;
use crate::engine::sealing::FleetKeys;
use crate::session::shared_state::fleet::claim_protocol::Errand;
use crate::session::shared_state::values::NewRevocation;
use crate::telemetry::metrics::shared_state::ENGINE_METRICS;

/// The purpose for which entries are sealed.
const PURPOSE: &str = "revocation";

/// The largest number of records in one entry of the stream.
const MAX_RECORDS: usize = 256;

/// The clocks of the machines may differ by this number of seconds. The stream keeps its entries for longer by it.
const CLOCK_DIFFERENCE: u64 = 60;

/// The number of seconds for which the stream keeps its entries if it is not known how long they count: 400 days, the
/// longest time for which revocations can be configured to be kept.
const LONGEST: u64 = 400 * 86_400;

/// The list of this replica, and its connection with the stream.
#[derive(Debug)]
pub(super) struct FleetRevocations {
    memory: Arc<SessionTables>,
    keys: Arc<FleetKeys>,
    /// The longest time for which an entry counts, as far as it is known, in seconds.
    longest: AtomicU64,
    /// The time at which the stream was last read to its end.
    caught_up_at: Mutex<Option<Instant>>,
}

impl FleetRevocations {
    /// Creates the connection between the local list and the stream. `lifetime` is the configured time for which
    /// revocations are kept at least, in seconds.
    pub(super) fn new(memory: Arc<SessionTables>, keys: Arc<FleetKeys>, lifetime: u64) -> Self {
        let longest = AtomicU64::new(lifetime.min(LONGEST));
        Self { memory, keys, longest, caught_up_at: Mutex::default() }
    }

    /// Adds a revocation to the local list. Returns the errand that tells the others.
    pub(super) fn revoke(&self, revocation: NewRevocation, now: u64) -> Option<Errand> {
        let NewRevocation { mark, issued_until, by, kept_until } = revocation;
        let record = self.memory.revocations.add(mark, issued_until, by, kept_until, now);
        self.errand(&[record], now)
    }

    /// Adds a revocation to the local list if the mark `once` comes for the first time. Returns `false` if it does not.
    pub(super) fn revoke_once(
        &self,
        (once, once_until): (Mark, u64),
        revocation: NewRevocation,
        now: u64,
    ) -> (bool, Option<Errand>) {
        let NewRevocation { mark, issued_until, by, kept_until } = revocation;
        let revocation = (mark, issued_until, by, kept_until);
        let records = self.memory.revocations.add_once((once, once_until), revocation, now);
        (!records.is_empty(), self.errand(&records, now))
    }

    /// Admits a JWT that a login has just brought. Returns the errand that tells the others. There is none if nothing was
    /// revoked.
    pub(super) fn admit(&self, marks: &TokenMarks, issued_at: Option<u64>, now: u64) -> Option<Errand> {
        self.errand(&self.memory.revocations.admit(marks, issued_at, now), now)
    }

    /// Returns the errands about entries that are kept for longer than before, because they have refused a JWT that lives
    /// longer. The background task asks for them regularly.
    pub(super) fn prolonged(&self, now: u64) -> Vec<Errand> {
        let records = self.memory.revocations.prolonged(now);
        records.chunks(MAX_RECORDS).filter_map(|records| self.errand(records, now)).collect()
    }

    /// Takes entries of the stream into the local list. Returns the number of entries that do not open. They are ignored.
    pub(super) fn received(&self, entries: &[Vec<u8>], now: u64) -> usize {
        let (mut records, mut unreadable) = (Vec::new(), 0);
        for entry in entries {
            match self.keys.open_message(PURPOSE, entry).and_then(|bytes| Record::read_all(&bytes)) {
                Some(read) => records.extend(read),
                None => unreadable += 1,
            }
        }
        self.note_lives(&records, now);
        self.memory.revocations.merge(records, now);
        ENGINE_METRICS.unreadable("revocations", unreadable);
        usize::try_from(unreadable).unwrap_or(usize::MAX)
    }

    /// Returns the errands that write the whole list into the stream, because an engine of a new generation may lack it.
    pub(super) fn all(&self, now: u64) -> impl Iterator<Item = Errand> {
        let mut parts = self.memory.revocations.all(now);
        std::iter::from_fn(move || {
            // Some parts make one entry.
            let mut records = parts.next()?;
            while records.len() < MAX_RECORDS
                && let Some(more) = parts.next()
            {
                records.extend(more);
            }
            Some(records)
        })
        .flat_map(move |records| {
            let errands: Vec<_> =
                records.chunks(MAX_RECORDS).filter_map(|records| self.errand(records, now)).collect();
            errands
        })
    }

    /// Records that the stream has been read to its end.
    pub(super) fn caught_up(&self) {
        *self.caught_up_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns the time since the stream was last read to its end. Returns `None` if it never was.
    pub(super) fn staleness(&self) -> Option<Duration> {
        let at = *self.caught_up_at.lock().unwrap_or_else(PoisonError::into_inner);
        at.map(|at| at.elapsed())
    }

    /// Returns the number of entries of the stream that did not open, since the start.
    #[expect(clippy::unused_self, reason = "all replicas of a process count together")]
    pub(super) fn unreadable(&self) -> u64 {
        ENGINE_METRICS.unreadable_until_now("revocations")
    }

    /// Returns the number of entries in the list.
    pub(super) fn len(&self) -> usize {
        self.memory.revocations.len()
    }

    fn errand(&self, records: &[Record], now: u64) -> Option<Errand> {
        if records.is_empty() {
            return None;
        }
        self.note_lives(records, now);
        let sealed = self.keys.seal_message(PURPOSE, &Record::write_all(records))?;
        Some(Errand::Revoke(sealed, self.kept()))
    }

    /// Notes how long records count, so that this replica removes none of them from the stream too soon.
    fn note_lives(&self, records: &[Record], now: u64) {
        let longest = records.iter().map(|record| record.kept_until().saturating_sub(now)).max();
        self.longest.fetch_max(longest.unwrap_or_default().min(LONGEST), Ordering::Relaxed);
    }

    /// Returns the time for which the stream keeps its entries. Until the stream has been read, they might all count for
    /// the longest time.
    fn kept(&self) -> Duration {
        let is_known = self.staleness().is_some();
        let longest = if is_known { self.longest.load(Ordering::Relaxed) } else { LONGEST };
        Duration::from_secs(longest + CLOCK_DIFFERENCE)
    }
}

#[cfg(test)]
mod tests;
