//! The list as one of several lists over a common stream. Each replica has a list, and adds the entries of the others.

use crate::access::revocations::entry::{Entry, add};
use crate::access::revocations::list::{PARTS, Revocations};
use crate::access::revocations::mark::Mark;
use crate::access::revocations::record::Record;
use crate::access::revocations::revocation::EndedBy;

impl Revocations {
    /// Adds a revocation if the mark `once` comes for the first time, and records the mark until `once_until`. Returns
    /// the new entries. There are none if the mark was recorded before.
    pub(crate) fn add_once(
        &self,
        (once, once_until): (Mark, u64),
        (mark, issued_until, ended_by, kept_until): (Mark, u64, EndedBy, u64),
        now: u64,
    ) -> Vec<Record> {
        let Some(first) = self.is_first(once, once_until, now) else { return Vec::new() };
        vec![self.add(mark, issued_until, ended_by, kept_until, now), first]
    }

    /// Adds the entries of other replicas. Doubles change nothing, and neither does another order.
    pub(crate) fn merge(&self, mut records: Vec<Record>, now: u64) {
        records.retain(|record| {
            let known = self.entry(record.mark, now);
            let is_new = known.is_none_or(|known| known.merged(record.entry) != known);
            is_new && now < record.entry.kept_until
        });
        // Each part of the list is replaced once, so that nobody sees a revocation without the admission after it.
        records.sort_by_key(|record| record.mark.part(PARTS));
        for records in records.chunk_by(|one, next| one.mark.part(PARTS) == next.mark.part(PARTS)) {
            let Some(first) = records.first() else { continue };
            self.change(first.mark, now, |part, numbers| {
                for Record { mark, entry, .. } in records {
                    numbers.see(entry.version.revoked);
                    add(part, *mark, *entry);
                }
            });
        }
    }

    /// Returns all entries in portions.
    pub(crate) fn all(&self, now: u64) -> impl Iterator<Item = Vec<Record>> {
        self.parts.iter().filter_map(move |part| {
            let part = part.load_full();
            let current = part.iter().filter(|(_, entry)| now < entry.kept_until);
            let records: Vec<_> =
                current.map(|(mark, entry): (&Mark, &Entry)| Record::new(*mark, *entry)).collect();
            (!records.is_empty()).then_some(records)
        })
    }

    /// Returns the entries that are kept for longer than before since the last call, because they refused a JWT that
    /// lives longer. If there were very many, some are left out.
    pub(crate) fn prolonged(&self, now: u64) -> Vec<Record> {
        let marks = self.take_prolonged();
        marks.into_iter().filter_map(|mark| Some(Record::new(mark, self.entry(mark, now)?))).collect()
    }
}
