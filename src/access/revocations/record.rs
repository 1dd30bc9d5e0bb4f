//! The bytes in which an entry of the list goes to another process.

use crate::access::revocations::entry::{Entry, Version};
use crate::access::revocations::mark::Mark;
use crate::access::revocations::revocation::EndedBy;

/// An entry of the list, as it is written to another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(super) mark: Mark,
    pub(super) entry: Entry,
    /// The value of [`Entry::issued_until`] that was transferred before, during an upgrade.
    pub(super) before: Option<u64>,
}

const BY_ANOTHER_LOGIN: u8 = 1;
const HAS_BEFORE: u8 = 2;

impl Record {
    pub(super) const fn new(mark: Mark, entry: Entry) -> Self {
        Self { mark, entry, before: None }
    }

    /// The size of a record in bytes.
    pub(crate) const SIZE: usize = 16 + 3 * 8 + 1;

    /// The size of a record with its version in bytes.
    const SIZE_WITH_VERSION: usize = Self::SIZE + 2 * 8;

    /// Appends the record: the mark, three times in Unix seconds (big endian), and a byte of flags.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        let Self { mark, entry, before } = self;
        to.extend_from_slice(&mark.bytes());
        for time in [entry.issued_until, entry.kept_until, before.unwrap_or_default()] {
            to.extend_from_slice(&time.to_be_bytes());
        }
        let ended_by = if entry.ended_by == EndedBy::AnotherLogin { BY_ANOTHER_LOGIN } else { 0 };
        to.push(ended_by | if before.is_some() { HAS_BEFORE } else { 0 });
    }

    /// Reads a record that [`Self::write`] has written.
    pub(crate) fn read(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        let (mark, rest) = bytes.split_first_chunk::<16>()?;
        let (issued_until, rest) = rest.split_first_chunk::<8>()?;
        let (kept_until, rest) = rest.split_first_chunk::<8>()?;
        let (before, rest) = rest.split_first_chunk::<8>()?;
        let &[holds] = rest else { return None };
        let [issued_until, kept_until, before] =
            [issued_until, kept_until, before].map(|time| u64::from_be_bytes(*time));
        let ended_by =
            if holds & BY_ANOTHER_LOGIN != 0 { EndedBy::AnotherLogin } else { EndedBy::Revocation };
        Some(Self {
            mark: Mark::from_bytes(*mark),
            entry: Entry::new(issued_until, ended_by, kept_until),
            before: (holds & HAS_BEFORE != 0).then_some(before),
        })
    }

    /// Returns the time (Unix seconds) at which the entry is removed.
    pub(crate) const fn kept_until(&self) -> u64 {
        self.entry.kept_until
    }

    /// Writes records with their versions, for other replicas.
    pub(crate) fn write_all(records: &[Self]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(records.len() * Self::SIZE_WITH_VERSION);
        for record in records {
            record.write(&mut bytes);
            let Version { revoked, admitted } = record.entry.version;
            bytes.extend_from_slice(&revoked.to_be_bytes());
            bytes.extend_from_slice(&admitted.to_be_bytes());
        }
        bytes
    }

    /// Reads records that [`Self::write_all`] has written.
    pub(crate) fn read_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let (records, rest) = bytes.as_chunks::<{ Self::SIZE_WITH_VERSION }>();
        let read = |bytes: &[u8; Self::SIZE_WITH_VERSION]| {
            let (record, version) = bytes.split_first_chunk()?;
            let (revoked, admitted) = version.split_first_chunk()?;
            let admitted = u64::from_be_bytes(*admitted.first_chunk()?);
            let mut record = Self::read(record)?;
            record.entry.version = Version { revoked: u64::from_be_bytes(*revoked), admitted };
            Some(record)
        };
        if rest.is_empty() { records.iter().map(read).collect() } else { None }
    }
}
