//! An entry of the list, and the rules by which two entries of one mark become one.

use std::collections::HashMap;

use crate::access::revocations::mark::Mark;
use crate::access::revocations::revocation::{EndedBy, Revocation};

/// The largest number of entries of one part of the list. The whole list has about a million entries, and takes some
/// 100 MiB.
pub(super) const MAX_PER_PART: usize = 1024;

/// A part of the list.
pub(super) type Part = HashMap<Mark, Entry>;

/// An entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// The latest revoked `iat` (Unix seconds). JWTs that were issued later are not revoked.
    pub(super) issued_until: u64,
    pub(super) ended_by: EndedBy,
    /// The time (Unix seconds) at which the entry is removed.
    pub(super) kept_until: u64,
    pub(super) version: Version,
}

/// The history of an entry, as far as it matters if replicas have changed it independently. Revocations have numbers. A
/// number is greater than all numbers that the replica has seen before ([`Numbers`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Version {
    /// The number of the latest revocation. It is 0 if it is not known.
    pub(super) revoked: u64,
    /// The number of the latest revocation that was known when a login was admitted. It is 0 if none was admitted.
    pub(super) admitted: u64,
}

/// The source of the numbers of revocations. It is a Lamport clock that also follows the time, so that a number is
/// greater than older numbers of another replica even if this one has not seen them.
#[derive(Debug, Default)]
pub(super) struct Numbers(u64);

impl Numbers {
    /// Returns the next number, at `now` (Unix seconds).
    pub(super) fn next(&mut self, now: u64) -> u64 {
        self.0 = self.0.saturating_add(1).max(now << 20);
        self.0
    }

    /// Records a number of another replica.
    pub(super) fn see(&mut self, number: u64) {
        self.0 = self.0.max(number);
    }
}

impl Entry {
    /// Creates the entry of a revocation. It has no number yet.
    pub(super) const fn new(issued_until: u64, ended_by: EndedBy, kept_until: u64) -> Self {
        Self { issued_until, ended_by, kept_until, version: Version { revoked: 0, admitted: 0 } }
    }

    /// Tells whether the entry revokes a JWT with this `iat`. A JWT without `iat` counts as old.
    pub(super) fn is_about(&self, issued_at: Option<u64>) -> bool {
        issued_at.is_none_or(|at| at <= self.issued_until)
    }

    /// Returns the revocation of a session.
    pub(super) const fn of_session(self) -> Revocation {
        Revocation::Session(self.ended_by)
    }

    /// Returns the entry as another process of the same replica gets it.
    pub(super) fn without_version(self) -> Self {
        Self { version: Version::default(), ..self }
    }

    /// Lets JWTs be used that were issued after `issued_until`, because a login was admitted.
    pub(super) fn admit(&mut self, issued_until: u64) {
        self.issued_until = self.issued_until.min(issued_until);
        self.version.admitted = self.version.revoked;
    }

    /// Returns one entry for two entries of one mark. The order of the two does not matter, and neither do doubles.
    ///
    /// An admission applies to all revocations that were known to the replica that admitted the login. If one of the
    /// entries has a later revocation, the wider entry counts.
    pub(super) fn merged(self, other: Self) -> Self {
        let is_newer = self.version.admitted >= other.version.admitted;
        let (newer, older) = if is_newer { (self, other) } else { (other, self) };
        let admitted = newer.version.admitted;
        let wider = newer.issued_until.max(older.issued_until);
        let issued_until = if older.version.admitted == admitted {
            // Both may have admitted logins since the same revocation.
            let is_narrowed = |entry: Self| admitted > 0 && entry.version.revoked == admitted;
            let both = is_narrowed(newer) && is_narrowed(older);
            if both { newer.issued_until.min(older.issued_until) } else { wider }
        } else if older.version.revoked > admitted {
            wider
        } else {
            newer.issued_until
        };
        Self {
            issued_until,
            ended_by: self.ended_by.max(other.ended_by),
            kept_until: self.kept_until.max(other.kept_until),
            version: Version { revoked: newer.version.revoked.max(older.version.revoked), admitted },
        }
    }
}

/// Adds an entry to a part. If the part is full, the entry that expires first makes room. Returns the entry as it is now.
pub(super) fn add(part: &mut Part, mark: Mark, entry: Entry) -> Entry {
    let known = part.get(&mark).copied();
    if known.is_none()
        && part.len() >= MAX_PER_PART
        && let Some(first) = part.iter().min_by_key(|(_, entry)| entry.kept_until).map(|(mark, _)| *mark)
    {
        part.remove(&first);
    }
    let entry = known.map_or(entry, |known| known.merged(entry));
    part.insert(mark, entry);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn entry(issued_until: u64, revoked: u64, admitted: u64) -> Entry {
        let version = Version { revoked, admitted };
        Entry { version, ..Entry::new(issued_until, EndedBy::Revocation, NOW) }
    }

    #[test]
    fn two_entries_become_one_in_any_order_and_doubles_change_nothing() {
        for (what, one, other, merged) in [
            ("two revocations: the wider", entry(5, 1, 0), entry(9, 2, 0), entry(9, 2, 0)),
            ("the narrower one is later", entry(5, 2, 0), entry(9, 1, 0), entry(9, 2, 0)),
            ("an admission", entry(9, 1, 0), entry(4, 1, 1), entry(4, 1, 1)),
            ("the revocation comes again", entry(4, 1, 1), entry(9, 1, 0), entry(4, 1, 1)),
            ("revoked elsewhere since", entry(9, 2, 0), entry(4, 1, 1), entry(9, 2, 1)),
            ("revoked again, as widely", entry(u64::MAX, 2, 0), entry(4, 1, 1), entry(u64::MAX, 2, 1)),
            ("two admissions", entry(4, 1, 1), entry(3, 1, 1), entry(3, 1, 1)),
            ("both, and revoked since", entry(8, 2, 1), entry(3, 1, 1), entry(8, 2, 1)),
            ("a later admission", entry(8, 2, 1), entry(5, 2, 2), entry(5, 2, 2)),
            ("no numbers", entry(5, 0, 0), entry(9, 0, 0), entry(9, 0, 0)),
            ("handed over, and its revocation", entry(5, 0, 0), entry(4, 1, 1), entry(4, 1, 1)),
        ] {
            assert_eq!(one.merged(other), merged, "{what}");
            assert_eq!(other.merged(one), merged, "{what}");
            for again in [one, other, merged] {
                assert_eq!(merged.merged(again), merged, "{what}");
            }
        }
    }

    #[test]
    fn a_number_is_greater_than_all_before_and_follows_the_time() {
        let mut numbers = Numbers::default();
        let first = numbers.next(NOW);
        assert!(numbers.next(NOW) > first);
        numbers.see(first + 1000);
        assert!(numbers.next(NOW) > first + 1000);
        assert!(Numbers::default().next(NOW + 1) > first + 1000);
    }
}
