//! The server behind [`super::FakeEngine`]: the records, and the operations on them. It mirrors the scripts in
//! `engine/scripts/`. The differential test in `engine/tests` compares both.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::commands::{
    Asserted, Assertion, Bucket, ClaimAnswer, Claiming, Generation, Known, RecordState, Reserved, Settled,
    Verdict,
};
use crate::engine::names::Name;

/// The time for which a heartbeat is valid.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// The part of the grace period that is never used.
const MARGIN: Duration = Duration::from_secs(2);

/// The time after which reservations that were never settled are forgotten.
const ON_THE_WAY: Duration = Duration::from_secs(30);

/// Everything that the server keeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Data {
    records: HashMap<Name, Record>,
    buckets: HashMap<Name, Level>,
    turns: HashMap<Name, (String, Instant)>,
    firsts: HashMap<Generation, String>,
    stream: Vec<(Instant, Vec<u8>)>,
    /// The replicas that are gone, with the time of their last heartbeat.
    gone: HashMap<String, Instant>,
}

#[derive(Debug, Clone)]
struct Record {
    state: RecordState,
    value: Vec<u8>,
    nonce: String,
    owner: String,
    /// The time of the claim. `None` if the claim was asserted, so that its age is not known.
    claimed_at: Option<Instant>,
    until: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    empty_at: Instant,
    on_their_way: u32,
    way_until: Instant,
}

/// The primary.
#[derive(Debug, Clone)]
pub(crate) struct Primary {
    pub(crate) data: Data,
    pub(crate) number: u64,
    pub(crate) settled_at: Instant,
    /// The time that a test sets. If it sets none, the time is tokio's.
    pub(crate) time: Option<Instant>,
}

impl Primary {
    fn now(&self) -> Instant {
        self.time.unwrap_or_else(Instant::now)
    }

    /// Returns the nonce of the claim on a refresh token.
    pub(crate) fn claimant(&self, name: &Name) -> Option<&str> {
        let record = self.record(name).filter(|record| record.state == RecordState::Claimed)?;
        Some(&record.nonce)
    }

    pub(crate) fn generation(&self) -> Generation {
        Generation(format!("generation{}", self.number))
    }

    pub(super) fn settling(&self) -> Duration {
        self.settled_at.saturating_duration_since(self.now())
    }

    pub(crate) fn has_gone(&mut self, owner: &str) {
        let now = self.now();
        self.data.gone.entry(owner.to_owned()).or_insert(now);
    }

    pub(crate) fn has_come(&mut self, owner: &str) {
        self.data.gone.remove(owner);
    }

    fn is_alive(&self, owner: &str) -> bool {
        self.data.gone.get(owner).is_none_or(|since| self.now().saturating_duration_since(*since) < HEARTBEAT)
    }

    fn record(&self, name: &Name) -> Option<&Record> {
        self.data.records.get(name).filter(|record| record.until > self.now())
    }

    /// Returns the strongest record under these names.
    fn strongest(&self, names: &[Name]) -> Option<Known> {
        let mut strongest: Option<Known> = None;
        for (key, name) in names.iter().enumerate() {
            let Some(record) = self.record(name) else { continue };
            if strongest.as_ref().is_none_or(|known| record.state > known.state) {
                strongest = Some(Known { state: record.state, key, value: record.value.clone() });
            }
        }
        strongest
    }

    fn write(&mut self, names: &[Name], record: Record) {
        for name in names {
            self.data.records.remove(name);
        }
        if let Some(name) = names.first() {
            self.data.records.insert(*name, record);
        }
    }

    pub(crate) fn claim(&mut self, owner: &str, claiming: &Claiming) -> ClaimAnswer {
        let verdict = self.verdict(owner, claiming);
        ClaimAnswer { generation: self.generation(), verdict }
    }

    fn verdict(&mut self, owner: &str, claiming: &Claiming) -> Verdict {
        let Claiming { names, nonce, lasts, refresh_grace } = claiming;
        if let Some(known) = self.strongest(names).filter(|known| known.state > RecordState::Claimed) {
            return Verdict::Known(known);
        }
        if names.iter().filter_map(|name| self.record(name)).any(|record| record.nonce == *nonce) {
            return Verdict::Mine;
        }
        if !self.settling().is_zero() {
            return Verdict::Settling(self.settling());
        }
        for record in names.iter().filter_map(|name| self.record(name)) {
            let is_young = record
                .claimed_at
                .is_some_and(|at| self.now().saturating_duration_since(at) + MARGIN < *refresh_grace);
            if self.is_alive(&record.owner) || !is_young {
                return Verdict::Busy { owner: record.owner.clone() };
            }
        }
        let now = self.now();
        let record = Record {
            state: RecordState::Claimed,
            value: Vec::new(),
            nonce: nonce.clone(),
            owner: owner.to_owned(),
            claimed_at: Some(now),
            until: now + *lasts,
        };
        self.write(names, record);
        Verdict::Mine
    }

    pub(crate) fn assert(&mut self, owner: &str, assertion: &Assertion) -> Asserted {
        let Assertion { names, state, value, nonce, lasts, .. } = assertion;
        if let Some(known) = self.strongest(names).filter(|known| known.state >= *state) {
            if let Some(name) = names.get(known.key).filter(|_| known.state == RecordState::Claimed) {
                self.share_claim(name, nonce, *lasts);
            }
            return Asserted::Kept(known);
        }
        let record = Record {
            state: *state,
            value: value.clone(),
            nonce: nonce.clone(),
            owner: owner.to_owned(),
            claimed_at: None,
            until: self.now() + *lasts,
        };
        self.write(names, record);
        Asserted::Written
    }

    /// Two claims were asserted, so none of them can be taken back. The longer one counts.
    fn share_claim(&mut self, name: &Name, nonce: &str, lasts: Duration) {
        let until = self.now() + lasts;
        if let Some(record) = self.data.records.get_mut(name).filter(|record| record.nonce != nonce) {
            record.nonce.clear();
            record.claimed_at = None;
            record.until = record.until.max(until);
        }
    }

    pub(crate) fn release(&mut self, names: &[Name], nonce: &str) {
        for name in names {
            let is_meant = |record: &Record| record.state == RecordState::Claimed && record.nonce == nonce;
            if self.record(name).is_some_and(is_meant) {
                self.data.records.remove(name);
            }
        }
    }

    pub(crate) fn shorten(&mut self, names: &[Name], nonce: &str, lasts: Duration) {
        let now = self.now();
        for name in names {
            if let Some(record) = self.data.records.get_mut(name) {
                let is_claim = record.state == RecordState::Claimed && record.nonce == nonce;
                if nonce.is_empty() || is_claim {
                    record.until = record.until.min(now + lasts);
                }
            }
        }
    }

    pub(super) fn forget_end(&mut self, names: &[Name]) {
        use RecordState::{Dead, Ended, Replaced};
        for name in names {
            if self.record(name).is_some_and(|record| matches!(record.state, Dead | Replaced | Ended)) {
                self.data.records.remove(name);
            }
        }
    }

    pub(crate) fn look(&self, names: &[Name]) -> Option<Known> {
        self.strongest(names)
    }

    pub(super) fn add_revocations(&mut self, entries: &[Vec<u8>], kept: Duration) {
        let now = self.now();
        self.data.stream.retain(|(at, _)| *at + kept >= now);
        self.data.stream.extend(entries.iter().map(|entry| (now, entry.clone())));
    }

    pub(super) fn revocations(&self) -> Vec<Vec<u8>> {
        self.data.stream.iter().map(|(_, entry)| entry.clone()).collect()
    }

    pub(super) fn is_first_of_generation(&mut self, generation: &Generation, owner: &str) -> bool {
        self.data.firsts.entry(generation.clone()).or_insert_with(|| owner.to_owned()) == owner
    }

    fn level(&self, bucket: &Bucket) -> (Duration, u32) {
        let Some(level) = self.data.buckets.get(&bucket.name) else { return Default::default() };
        let now = self.now();
        let on_their_way = if level.way_until > now { level.on_their_way } else { 0 };
        (level.empty_at.saturating_duration_since(now), on_their_way)
    }

    pub(super) fn reserve(&mut self, buckets: &[Bucket]) -> Reserved {
        let brim = |bucket: &Bucket| bucket.leak * bucket.most.saturating_sub(1);
        let wait = |bucket: &Bucket| self.level(bucket).0.checked_sub(brim(bucket));
        let wait = buckets.iter().filter_map(wait).max().filter(|wait| !wait.is_zero());
        if let Some(wait) = wait {
            return Reserved::Failed(wait);
        }
        let is_full = |bucket: &Bucket| {
            let (level, on_their_way) = self.level(bucket);
            level + bucket.leak * on_their_way > brim(bucket)
        };
        if buckets.iter().any(is_full) {
            return Reserved::OnTheirWay;
        }
        for bucket in buckets {
            let (level, on_their_way) = self.level(bucket);
            let now = self.now();
            let level =
                Level { empty_at: now + level, on_their_way: on_their_way + 1, way_until: now + ON_THE_WAY };
            self.data.buckets.insert(bucket.name, level);
        }
        Reserved::Yes
    }

    pub(super) fn settle(&mut self, buckets: &[Bucket], settled: Settled) {
        let now = self.now();
        for (at, bucket) in buckets.iter().enumerate() {
            let (level, on_their_way) = self.level(bucket);
            let way_until = self.data.buckets.get(&bucket.name).map_or(now, |level| level.way_until);
            let empty_at = match settled {
                Settled::Failed => (now + level + bucket.leak).min(now + bucket.leak * bucket.most),
                Settled::Succeeded if at == 0 => now,
                Settled::Succeeded | Settled::Unknown => now + level,
            };
            let level = Level { empty_at, on_their_way: on_their_way.saturating_sub(1), way_until };
            self.data.buckets.insert(bucket.name, level);
        }
    }

    pub(super) fn take_turn(&mut self, name: &Name, owner: &str, lasts: Duration) -> bool {
        let now = self.now();
        if let Some((holder, _)) = self.data.turns.get(name).filter(|(_, until)| *until > now) {
            return holder == owner;
        }
        self.data.turns.insert(*name, (owner.to_owned(), now + lasts));
        true
    }

    pub(super) fn give_turn(&mut self, name: &Name, owner: &str) {
        if self.data.turns.get(name).is_some_and(|(holder, _)| holder == owner) {
            self.data.turns.remove(name);
        }
    }
}
