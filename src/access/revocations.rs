//! The revocation list: sessions, JWTs and subjects that are refused before they expire.
//!
//! Read on every request with a session, without a lock: the list is divided into parts, each an immutable map that a
//! revocation replaces. It lives in memory and is bounded; where it is full, what would go first goes first.

mod horizon;
mod transfer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context, SHA256};

use horizon::Horizons;
pub(crate) use transfer::{Passed, Record};

/// Parts of the list. A revocation copies one of them.
const PARTS: usize = 1024;

/// Entries of one part: about a million in all, some 64 MiB.
const MAX_PER_PART: usize = 1024;

/// The name of something that can be revoked, without the thing itself: 128 bits of a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark([u8; 16]);

impl Mark {
    /// The provider's session: claim `sid` (OpenID Connect Back-Channel Logout 1.0 section 2.1).
    pub fn session(provider: usize, sid: &str) -> Self {
        Self::new(b"sid", provider, sid.as_bytes())
    }

    /// One JWT, by its claim `jti` (RFC 7519 section 4.1.7).
    pub fn token_id(provider: usize, jti: &str) -> Self {
        Self::new(b"jti", provider, jti.as_bytes())
    }

    /// One JWT, by its own text.
    pub fn token(provider: usize, jwt: &str) -> Self {
        Self::new(b"jwt", provider, jwt.as_bytes())
    }

    /// One JWT without `jti`, by what is signed. Its signature may have another form that is as good: ECDSA has two of each.
    pub fn unnamed_token(provider: usize, jwt: &str) -> Self {
        let signed = jwt.rsplit_once('.').map_or(jwt, |(signed, _)| signed);
        Self::new(b"signed", provider, signed.as_bytes())
    }

    /// A subject: claim `sub` (RFC 7519 section 4.1.2).
    pub fn subject(provider: usize, sub: &str) -> Self {
        Self::new(b"sub", provider, sub.as_bytes())
    }

    /// A session of this gateway, by the random id that is sealed with its refresh token.
    pub fn sealed_session(provider: usize, id: &[u8]) -> Self {
        Self::new(b"seal", provider, id)
    }

    /// A logout token, by what is signed. Not by its `jti`: one that a provider gives twice must not hide a logout.
    pub fn logout_token(provider: usize, token: &str) -> Self {
        let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
        Self::new(b"logout token", provider, signed.as_bytes())
    }

    /// That one JWT was admitted.
    fn admission(token: Self) -> Self {
        Self::new(b"admission", 0, &token.0)
    }

    fn new(kind: &[u8], provider: usize, value: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(kind);
        context.update(&[0]);
        context.update(&(provider as u64).to_be_bytes());
        context.update(value);
        Self::from_digest(context.finish().as_ref())
    }

    fn from_digest(digest: &[u8]) -> Self {
        Self(digest.first_chunk().copied().unwrap_or_default())
    }

    /// A mark that was kept elsewhere.
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The mark, to be kept elsewhere.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    fn part(self) -> usize {
        let [first, second, ..] = self.0;
        usize::from(u16::from_be_bytes([first, second])) % PARTS
    }
}

/// All names under which a JWT can be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenMarks {
    /// Its session, where it names one.
    pub session: Option<Mark>,
    /// Itself: by `jti`, or else by what is signed.
    pub token: Mark,
    /// Its subject.
    pub subject: Mark,
    /// From then on (Unix seconds) it cannot be used anyway: so long its revocation is kept.
    pub usable_until: u64,
}

impl TokenMarks {
    /// Whether two JWTs may be of one session: of one subject, and of one `sid` where both have one.
    pub fn is_same_session(&self, other: &Self) -> bool {
        let sessions = self.session.zip(other.session);
        self.subject == other.subject && sessions.is_none_or(|(one, other)| one == other)
    }
}

/// What a revocation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// The whole session: its refresh token gives no further JWT.
    Session {
        /// Another login in the same browser took its place: the browser's cookies may be the new ones by now.
        is_replaced: bool,
    },
    /// This JWT alone.
    Token,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// JWTs issued later are not meant.
    issued_until: u64,
    is_replaced: bool,
    /// Unix seconds; then the entry goes.
    kept_until: u64,
}

impl Entry {
    /// Whether it is about what was issued then. What does not say so is taken for old.
    fn is_about(&self, issued_at: Option<u64>) -> bool {
        issued_at.is_none_or(|at| at <= self.issued_until)
    }

    const fn of_session(self) -> Revocation {
        Revocation::Session { is_replaced: self.is_replaced }
    }
}

type Part = HashMap<Mark, Entry>;

/// The list.
pub struct Revocations {
    parts: Box<[ArcSwap<Part>]>,
    count: AtomicUsize,
    writer: Mutex<()>,
    horizons: Horizons,
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
            writer: Mutex::new(()),
            horizons: Horizons::default(),
        }
    }
}

impl Revocations {
    /// Revokes a session or a JWT until `kept_until` (Unix seconds). `is_replaced`: see [`Revocation::Session`].
    pub fn revoke(&self, mark: Mark, is_replaced: bool, kept_until: u64, now: u64) {
        self.insert(mark, Entry { issued_until: u64::MAX, is_replaced, kept_until }, now);
    }

    /// Revokes what was issued to a subject, or of a session, at or before `issued_until` (Unix seconds).
    pub fn revoke_until(&self, mark: Mark, issued_until: u64, kept_until: u64, now: u64) {
        self.insert(mark, Entry { issued_until, is_replaced: false, kept_until }, now);
    }

    /// Notes that something comes for the first time; `false`: it was noted before, and is to have no effect again.
    pub fn is_first(&self, mark: Mark, kept_until: u64, now: u64) -> bool {
        let is_first = self.entry(mark, now).is_none();
        if is_first {
            self.insert(mark, Entry { issued_until: 0, is_replaced: false, kept_until }, now);
        }
        is_first
    }

    /// A JWT of a provider was verified, for the first time here.
    pub fn saw(&self, provider: usize, marks: &TokenMarks, issued_at: Option<u64>, now: u64) {
        self.horizons.see(provider, issued_at, marks.usable_until, now);
    }

    /// The least time (Unix seconds) until which a revocation at a provider has to be kept: before it, JWTs may be about that
    /// it is meant for.
    pub fn horizon(&self, provider: usize, now: u64) -> u64 {
        self.horizons.of(provider, now)
    }

    /// Whether a JWT is revoked, and with it its session. One that does not say when it was issued is taken for old, unless
    /// it was admitted: then that is its time. A revocation that would be forgotten before the JWT expires is kept for longer.
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
        self.change(mark, now, |part| {
            if let Some(entry) = part.get_mut(&mark) {
                entry.kept_until = entry.kept_until.max(kept_until);
            }
        });
    }

    /// Whether a session is revoked.
    pub fn of_session(&self, session: Mark, now: u64) -> Option<Revocation> {
        self.entry(session, now).map(Entry::of_session)
    }

    /// Whether what a subject began at `since` (Unix seconds; `None`: unknown) is revoked.
    pub fn of_subject(&self, subject: Mark, since: Option<u64>, now: u64) -> Option<Revocation> {
        self.entry(subject, now).filter(|entry| entry.is_about(since)).map(Entry::of_session)
    }

    /// Whether the session of a new JWT is revoked, which began, or was there, at `since` (Unix seconds). Where nothing tells
    /// since when there is a session, it is taken for an old one: the JWT itself is as new as can be.
    pub fn of_session_since(&self, marks: &TokenMarks, since: Option<u64>, now: u64) -> Option<Revocation> {
        let of_session =
            |mark| self.entry(mark, now).filter(|entry| entry.is_about(since)).map(Entry::of_session);
        marks.session.and_then(of_session).or_else(|| of_session(marks.subject))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, mark: Mark, now: u64) -> Option<Entry> {
        let part = self.parts.get(mark.part())?.load();
        part.get(&mark).copied().filter(|entry| now < entry.kept_until)
    }

    /// Lets a JWT pass that a login has just brought: its user has shown who they are since the revocation. For times that
    /// are whole seconds, and providers that go on with a `sid` after its end. What was issued before stays revoked. So does a
    /// JWT that does not say when it was issued, but for this very one.
    pub fn admit(&self, marks: &TokenMarks, issued_at: Option<u64>, now: u64) {
        for mark in marks.session.into_iter().chain([marks.subject]) {
            let Some(entry) = self.entry(mark, now).filter(|entry| entry.is_about(issued_at)) else {
                continue;
            };
            self.change(mark, now, |part| {
                if let Some(entry) = part.get_mut(&mark) {
                    entry.issued_until = entry.issued_until.min(issued_at.unwrap_or(now).saturating_sub(1));
                }
            });
            if issued_at.is_none() {
                // As long as the revocation: also an expired JWT says whose session it was.
                let admitted = Entry { issued_until: now, is_replaced: false, kept_until: entry.kept_until };
                self.insert(Mark::admission(marks.token), admitted, now);
            }
        }
    }

    fn insert(&self, mark: Mark, entry: Entry, now: u64) {
        self.change(mark, now, |part| add(part, mark, entry));
    }

    /// Replaces the part of a mark by a changed one.
    fn change(&self, mark: Mark, now: u64, change: impl FnOnce(&mut Part)) {
        let _writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = self.parts.get(mark.part()) else { return };
        let mut part: Part = slot
            .load()
            .iter()
            .filter(|(_, entry)| now < entry.kept_until)
            .map(|(mark, entry)| (*mark, *entry))
            .collect();
        change(&mut part);
        // Counted before it is there, so that no reader takes a list with something in it for an empty one.
        self.count.fetch_add(part.len(), Ordering::AcqRel);
        let before = slot.swap(Arc::new(part));
        self.count.fetch_sub(before.len(), Ordering::AcqRel);
    }
}

fn add(part: &mut Part, mark: Mark, mut entry: Entry) {
    if let Some(known) = part.get(&mark) {
        // The wider one of both holds.
        entry.issued_until = entry.issued_until.max(known.issued_until);
        entry.kept_until = entry.kept_until.max(known.kept_until);
        entry.is_replaced |= known.is_replaced;
    } else if part.len() >= MAX_PER_PART
        && let Some(first) = part.iter().min_by_key(|(_, entry)| entry.kept_until).map(|(mark, _)| *mark)
    {
        part.remove(&first);
    }
    part.insert(mark, entry);
}

#[cfg(test)]
mod tests;
