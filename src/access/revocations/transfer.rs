//! Transfers the list to another process that replaces this one: first the whole list, then its changes.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::access::revocations::entry::{Entry, Part, add};
use crate::access::revocations::list::{PARTS, Revocations};
use crate::access::revocations::mark::Mark;
use crate::access::revocations::record::Record;

/// The entries of a list that have been transferred.
#[derive(Debug)]
pub(crate) struct Passed {
    parts: Vec<Arc<Part>>,
}

impl Default for Passed {
    /// Returns a value without any entry.
    fn default() -> Self {
        let empty = Arc::new(Part::default());
        Self { parts: (0..PARTS).map(|_| Arc::clone(&empty)).collect() }
    }
}

impl Passed {
    /// Treats all current entries of a list as transferred.
    pub(crate) fn all(list: &Revocations) -> Self {
        Self { parts: list.parts.iter().map(ArcSwap::load_full).collect() }
    }

    /// Returns the new and changed entries, in portions. They count as transferred from then on. Removed entries are
    /// not transferred, because they expire in the other process as well.
    pub(crate) fn changes(&mut self, list: &Revocations) -> impl Iterator<Item = Vec<Record>> {
        let parts = self.parts.iter_mut().zip(&list.parts);
        parts.filter_map(|(passed, part)| {
            let part = part.load_full();
            if Arc::ptr_eq(passed, &part) {
                return None;
            }
            let record = |(mark, entry): (&Mark, &Entry)| {
                let before = passed.get(mark);
                let before_issued = before.map(|before| before.issued_until);
                let is_changed =
                    before.is_none_or(|before| before.without_version() != entry.without_version());
                is_changed.then_some(Record {
                    before: before_issued,
                    ..Record::new(*mark, entry.without_version())
                })
            };
            let records: Vec<_> = part.iter().filter_map(record).collect();
            *passed = part;
            (!records.is_empty()).then_some(records)
        })
    }
}

impl Revocations {
    /// Adds entries that another process has transferred.
    pub(crate) fn take(&self, records: &[Record], now: u64) {
        for records in records.chunk_by(|one, next| one.mark.part(PARTS) == next.mark.part(PARTS)) {
            if let Some(first) = records.first() {
                self.change(first.mark, now, |part, numbers| {
                    for record in records {
                        put(*record, part, numbers.next(now));
                    }
                });
            }
        }
    }
}

/// Adds an entry that the process before or after this one has transferred. It has no version.
fn put(record: Record, part: &mut Part, number: u64) {
    let Record { mark, mut entry, before } = record;
    match part.get_mut(&mark) {
        Some(known) if before == Some(known.issued_until) => {
            // This process has not changed the entry since. If a login has narrowed it there, it is narrowed here, too.
            entry.kept_until = entry.kept_until.max(known.kept_until);
            entry.version = known.version;
            if entry.issued_until < known.issued_until {
                entry.version.admitted = entry.version.revoked;
            }
            *known = entry;
        }
        known => {
            // If a login was admitted here, a wider entry counts as a later revocation.
            if known
                .is_some_and(|known| known.issued_until < entry.issued_until && known.version.admitted > 0)
            {
                entry.version.revoked = number;
            }
            add(part, mark, entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::numbers::testing::PROVIDER;
    use crate::access::revocations::EndedBy;
    use crate::access::revocations::{Revocation, TokenMarks};

    const NOW: u64 = 1_800_000_000;
    const SESSION: Option<Revocation> = Some(Revocation::Session(EndedBy::Revocation));

    fn pass(from: &Revocations, passed: &mut Passed, to: &Revocations) -> usize {
        let mut count = 0;
        for records in passed.changes(from) {
            let mut bytes = Vec::new();
            for record in &records {
                record.write(&mut bytes);
            }
            let read: Vec<_> = bytes
                .chunks(Record::SIZE)
                .map(|bytes| Record::read(bytes.first_chunk().unwrap()).unwrap())
                .collect();
            assert_eq!(read, records);
            to.take(&read, NOW);
            count += read.len();
        }
        count
    }

    #[test]
    fn all_of_it_comes_along_and_then_only_what_changes() {
        let (old, new) = (Revocations::default(), Revocations::default());
        let mut passed = Passed::default();
        assert_eq!(pass(&old, &mut passed, &new), 0);
        for number in 0..5000 {
            let ended_by = if number % 2 == 1 { EndedBy::AnotherLogin } else { EndedBy::Revocation };
            old.revoke(Mark::session(PROVIDER, &number.to_string()), ended_by, NOW + 60, NOW);
        }
        assert_eq!(pass(&old, &mut passed, &new), 5000);
        assert_eq!(new.len(), 5000);
        assert_eq!(new.of_session(Mark::session(PROVIDER, "4"), NOW + 59), SESSION);
        assert_eq!(new.of_session(Mark::session(PROVIDER, "4"), NOW + 60), None);
        let told = Some(Revocation::Session(EndedBy::AnotherLogin));
        assert_eq!(new.of_session(Mark::session(PROVIDER, "5"), NOW), told);
        assert_eq!(pass(&old, &mut passed, &new), 0);
        old.revoke_until(Mark::subject(PROVIDER, "alice"), NOW - 5, NOW + 60, NOW);
        assert_eq!(pass(&old, &mut passed, &new), 1);
        assert_eq!(new.of_subject(Mark::subject(PROVIDER, "alice"), Some(NOW - 5), NOW), SESSION);
        assert_eq!(new.of_subject(Mark::subject(PROVIDER, "alice"), Some(NOW - 4), NOW), None);
    }

    #[test]
    fn a_login_there_is_admitted_here_unless_it_was_revoked_here_since() {
        let (old, new) = (Revocations::default(), Revocations::default());
        let mut passed = Passed::default();
        let marks = |sub: &str| TokenMarks {
            session: None,
            token: Mark::token_id(PROVIDER, "t"),
            subject: Mark::subject(PROVIDER, sub),
            usable_until: 0,
        };
        for sub in ["alice", "bob"] {
            old.revoke_until(Mark::subject(PROVIDER, sub), NOW + 5, NOW + 60, NOW);
        }
        pass(&old, &mut passed, &new);
        new.revoke_until(Mark::subject(PROVIDER, "bob"), NOW + 9, NOW + 60, NOW);
        for sub in ["alice", "bob"] {
            old.admit(&marks(sub), Some(NOW), NOW);
        }
        assert_eq!(pass(&old, &mut passed, &new), 2);
        assert_eq!(new.of_token(&marks("alice"), Some(NOW), NOW), None);
        assert_eq!(new.of_token(&marks("alice"), Some(NOW - 1), NOW), SESSION);
        assert_eq!(new.of_token(&marks("bob"), Some(NOW), NOW), SESSION);
    }
}
