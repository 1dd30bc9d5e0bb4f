//! The list itself. Its parts are read without a lock. A revocation replaces one part.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::access::numbers::ProviderNumber;
use crate::access::revocations::entry::{Entry, Numbers, Part, add};
use crate::access::revocations::horizon::Horizons;
use crate::access::revocations::mark::{Mark, TokenMarks};
use crate::access::revocations::record::Record;
use crate::access::revocations::revocation::{EndedBy, Revocation};

/// The number of parts of the list. A revocation copies one of them.
pub(super) const PARTS: usize = 1024;

/// The largest number of prolonged entries that are remembered until somebody asks for them. Without other replicas
/// nobody asks.
const MAX_PROLONGED: usize = 1024;

/// The list.
pub struct Revocations {
    pub(super) parts: Box<[ArcSwap<Part>]>,
    count: AtomicUsize,
    /// Whoever changes the list holds this lock.
    writer: Mutex<Numbers>,
    horizons: Horizons,
    /// The marks of entries that were prolonged, for other replicas.
    prolonged: Mutex<Vec<Mark>>,
}

impl std::fmt::Debug for Revocations {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Revocations").field("count", &self.len()).finish_non_exhaustive()
    }
}

impl Default for Revocations {
    fn default() -> Self {
        let empty = Arc::new(Part::default());
        Self {
            parts: (0..PARTS).map(|_| ArcSwap::new(Arc::clone(&empty))).collect(),
            count: AtomicUsize::new(0),
            writer: Mutex::default(),
            horizons: Horizons::default(),
            prolonged: Mutex::default(),
        }
    }
}

impl Revocations {
    /// Revokes a JWT, or the JWTs of a session or subject that were issued at or before `issued_until` (Unix seconds).
    /// Returns the entry.
    pub(crate) fn add(
        &self,
        mark: Mark,
        issued_until: u64,
        ended_by: EndedBy,
        kept_until: u64,
        now: u64,
    ) -> Record {
        self.insert(mark, Entry::new(issued_until, ended_by, kept_until), now)
    }

    /// Revokes a session or a JWT until `kept_until` (Unix seconds).
    pub fn revoke(&self, mark: Mark, ended_by: EndedBy, kept_until: u64, now: u64) {
        self.add(mark, u64::MAX, ended_by, kept_until, now);
    }

    /// Revokes the JWTs of a session or subject that were issued at or before `issued_until` (Unix seconds).
    pub fn revoke_until(&self, mark: Mark, issued_until: u64, kept_until: u64, now: u64) {
        self.add(mark, issued_until, EndedBy::Revocation, kept_until, now);
    }

    /// Records a mark, and returns the entry. Returns `None` if the mark was recorded before. Then the caller must not
    /// act on it again.
    pub(crate) fn is_first(&self, mark: Mark, kept_until: u64, now: u64) -> Option<Record> {
        if self.entry(mark, now).is_some() {
            return None;
        }
        self.change(mark, now, |part, numbers| {
            if part.contains_key(&mark) {
                return None;
            }
            let mut entry = Entry::new(0, EndedBy::Revocation, kept_until);
            entry.version.revoked = numbers.next(now);
            Some(Record::new(mark, add(part, mark, entry)))
        })?
    }

    /// Records that a JWT of a provider was verified for the first time in this process.
    pub fn saw(&self, provider: ProviderNumber, marks: &TokenMarks, issued_at: Option<u64>, now: u64) {
        self.horizons.see(provider, issued_at, marks.usable_until, now);
    }

    /// Returns the time (Unix seconds) until which a new revocation must at least be kept. Until then, JWTs that it
    /// revokes may be in use.
    pub fn horizon(&self, provider: ProviderNumber, now: u64) -> u64 {
        self.horizons.of(provider, now)
    }

    /// Returns the revocation of a JWT. The revocation of its session takes precedence. For a JWT without `iat`, the
    /// time of its admission counts. If it was not admitted either, it counts as old. If the revocation would be
    /// removed before the JWT expires, it is kept for longer.
    pub fn of_token(&self, marks: &TokenMarks, issued_at: Option<u64>, now: u64) -> Option<Revocation> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let admitted_at = || self.entry(Mark::admission(marks.token), now).map(|entry| entry.issued_until);
        let issued_at = issued_at.or_else(admitted_at);
        let about = |mark| self.entry(mark, now).filter(|entry| entry.is_about(issued_at));
        let of_session = || marks.session.and_then(|mark| Some((mark, about(mark)?)));
        let of_subject = || Some((marks.subject, about(marks.subject)?));
        let of_token = || Some((marks.token, self.entry(marks.token, now)?));
        let (mark, entry, revocation) = of_session()
            .or_else(of_subject)
            .map(|(mark, entry)| (mark, entry, entry.of_session()))
            .or_else(|| of_token().map(|(mark, entry)| (mark, entry, Revocation::Token)))?;
        if entry.kept_until < marks.usable_until {
            self.prolong(mark, marks.usable_until, now);
        }
        Some(revocation)
    }

    fn prolong(&self, mark: Mark, kept_until: u64, now: u64) {
        self.change(mark, now, |part, _| {
            if let Some(entry) = part.get_mut(&mark) {
                entry.kept_until = entry.kept_until.max(kept_until);
            }
        });
        let mut prolonged = self.prolonged.lock().unwrap_or_else(PoisonError::into_inner);
        if prolonged.len() < MAX_PROLONGED {
            prolonged.push(mark);
        }
    }

    /// Returns the marks of the entries that were prolonged since the last call.
    pub(super) fn take_prolonged(&self) -> Vec<Mark> {
        std::mem::take(&mut *self.prolonged.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the revocation of a session.
    pub fn of_session(&self, session: Mark, now: u64) -> Option<Revocation> {
        self.entry(session, now).map(Entry::of_session)
    }

    /// Returns the revocation of a subject's session that began at `since` (Unix seconds). `since` is `None` if the
    /// start is not known.
    pub fn of_subject(&self, subject: Mark, since: Option<u64>, now: u64) -> Option<Revocation> {
        self.entry(subject, now).filter(|entry| entry.is_about(since)).map(Entry::of_session)
    }

    /// Returns the revocation of a new JWT's session. The session began, or existed already, at `since` (Unix seconds).
    /// If `since` is not known, the session counts as old. The `iat` of the new JWT says nothing about the start of the
    /// session.
    pub fn of_session_since(&self, marks: &TokenMarks, since: Option<u64>, now: u64) -> Option<Revocation> {
        let of_session =
            |mark| self.entry(mark, now).filter(|entry| entry.is_about(since)).map(Entry::of_session);
        marks.session.and_then(of_session).or_else(|| of_session(marks.subject))
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Tells whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn entry(&self, mark: Mark, now: u64) -> Option<Entry> {
        let part = self.parts.get(mark.part(PARTS))?.load();
        part.get(&mark).copied().filter(|entry| now < entry.kept_until)
    }

    /// Admits a JWT that a login has just brought, because its user has authenticated after the revocation. This is
    /// needed because times are whole seconds, and because some providers use a `sid` again after its end. JWTs that
    /// were issued before stay revoked. Other JWTs without `iat` stay revoked as well. Returns the entries that have
    /// changed.
    pub(crate) fn admit(&self, marks: &TokenMarks, issued_at: Option<u64>, now: u64) -> Vec<Record> {
        let mut changed = Vec::new();
        for mark in marks.session.into_iter().chain([marks.subject]) {
            let Some(entry) = self.entry(mark, now).filter(|entry| entry.is_about(issued_at)) else {
                continue;
            };
            let admitted = self.change(mark, now, |part, numbers| {
                let entry = part.get_mut(&mark)?;
                if entry.version.revoked == 0 {
                    entry.version.revoked = numbers.next(now);
                }
                entry.admit(issued_at.unwrap_or(now).saturating_sub(1));
                Some(Record::new(mark, *entry))
            });
            changed.extend(admitted.flatten());
            if issued_at.is_none() {
                // The admission is kept as long as the revocation, because an expired JWT still names its session.
                let admitted = Entry::new(now, EndedBy::Revocation, entry.kept_until);
                changed.push(self.insert(Mark::admission(marks.token), admitted, now));
            }
        }
        changed
    }

    fn insert(&self, mark: Mark, mut entry: Entry, now: u64) -> Record {
        let added = self.change(mark, now, |part, numbers| {
            entry.version.revoked = numbers.next(now);
            add(part, mark, entry)
        });
        Record::new(mark, added.unwrap_or(entry))
    }

    /// Replaces the part of the list that holds a mark by a changed part. Returns `None` if there is no such part.
    pub(super) fn change<T>(
        &self,
        mark: Mark,
        now: u64,
        change: impl FnOnce(&mut Part, &mut Numbers) -> T,
    ) -> Option<T> {
        let mut numbers = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = self.parts.get(mark.part(PARTS))?;
        let mut part: Part = slot
            .load()
            .iter()
            .filter(|(_, entry)| now < entry.kept_until)
            .map(|(mark, entry)| (*mark, *entry))
            .collect();
        let changed = change(&mut part, &mut numbers);
        // The entries are counted before they are visible, so that no reader takes a list with entries for an empty
        // list.
        self.count.fetch_add(part.len(), Ordering::AcqRel);
        let before = slot.swap(Arc::new(part));
        self.count.fetch_sub(before.len(), Ordering::AcqRel);
        Some(changed)
    }
}
