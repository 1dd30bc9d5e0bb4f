//! The protocol of claims at one replica. It is pure: it takes the time and the engine's answers, and says what to do
//! next. `fleet.rs` carries that out. So a test can try the protocol with any course of events.
//!
//! A claim is a write-ahead intent, and not a lock: nobody presents a refresh token whose claim exists. Five rules keep
//! a refresh token from being presented twice:
//!
//! - **Settling.** A new primary of the engine may lack claims. It grants nothing for `settle`. The engine keeps this
//!   rule (`engine/scripts`).
//! - **Asserting again.** Meanwhile each replica writes again what it knows: its own claims, and all results that it
//!   has seen ([`ClaimProtocol::assertions`]).
//! - **The nonce.** If the answer to a claim is lost, the claim may have been granted. The one retry has the same nonce.
//!   A claim whose answer stays unknown is never used: it is taken back ([`ClaimProtocol::unanswered`]).
//! - **The generation.** A claim that was granted by a primary that has been replaced meanwhile is taken back: this
//!   replica had told the new primary everything before it knew of the claim.
//! - **The age.** A claim that is older than [`MAX_AGE`] when its answer comes is taken back, because it may have
//!   expired by the time at which the provider answers. The age is measured by a clock that never jumps, and that goes
//!   on while the machine sleeps.
//!
//! Times are durations since any fixed moment, by such a clock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::engine::commands::{Assertion, ClaimAnswer, Generation, Known, RecordState, Verdict};
use crate::engine::names::Name;
use crate::session::shared_state::fleet::results::{Results, StoredResult};

/// The longest time from the request for a claim until the refresh token is presented.
pub(super) const MAX_AGE: Duration = Duration::from_secs(1);

/// The time for which a claim stays if nothing is known of its refresh token's fate. Then the refresh token is presented
/// once more.
pub(super) const UNKNOWN_STAYS: Duration = Duration::from_secs(5);

/// The pause after which a claim that may have been granted late is taken back a second time.
const RELEASE_AGAIN: Duration = Duration::from_secs(1);

/// The time for which the release of a claim is tried. It is longer than a claim lasts, because an engine that was stopped
/// grants what it had received before.
const RELEASES_LAST: Duration = Duration::from_secs(600);

/// The largest number of entries of the outbox. If there are more, the oldest message or release is dropped. Without
/// those, a replica knows as much as after a restart, and a claim ends by itself.
const MAX_OUTBOX: usize = 65_536;

/// The time after a change of the generation in which messages of the old primary may still come.
const LATE_MESSAGES: Duration = Duration::from_secs(10);

/// The time for which an errand rests that the engine has refused.
const REFUSED_RESTS: Duration = Duration::from_secs(2);

/// The largest number of errands that are tried one after the other.
const MAX_DUE: usize = 256;

/// The times of the protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// The time for which a claim holds.
    pub(crate) claim: Duration,
}

/// The next step after the engine's answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Present the refresh token to the provider, then call [`ClaimProtocol::finished`],
    /// [`ClaimProtocol::not_processed`] or [`ClaimProtocol::unknown`].
    Present {
        /// An earlier call with this refresh token had no answer. So the provider may see it for the second time.
        is_second: bool,
    },
    /// Use this result.
    Use(Known),
    /// Somebody else has the claim, or the engine settles. Ask again when the result arrives, or after a while.
    Wait,
    /// Ask again at once, with a new claim.
    AskAgain,
    /// Refuse the refresh for now.
    Refuse,
}

/// A claim of this replica.
#[derive(Debug, Clone)]
struct Claim {
    names: Vec<Name>,
    nonce: String,
    asked_at: Duration,
    /// The engine was asked twice. So the first request may still come to it, even after the claim was taken back.
    is_repeated: bool,
    /// The call brought no answer. The claim stays until this time.
    unknown_until: Option<Duration>,
}

/// A change that the engine has to be told. It is tried again until it succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Take back the claim with this nonce.
    Release(Vec<Name>, String),
    /// Let the claim with this nonce end sooner.
    Shorten(Vec<Name>, String, Duration),
    /// Write a record.
    Assert(Assertion),
    /// Forget that a session is over, because it has begun again.
    ForgetEnd(Vec<Name>),
    /// Send a message to all replicas.
    Publish(Vec<u8>),
    /// Add an entry to the stream of revocations, and keep the stream's entries for this time.
    Revoke(Vec<u8>, Duration),
}

/// An errand in the outbox.
#[derive(Debug, Clone)]
struct Outgoing {
    number: u64,
    errand: Errand,
    /// It is not tried before this time.
    not_before: Duration,
    /// It is of no use after this time.
    until: Duration,
}

/// The state of the protocol at this replica.
#[derive(Debug)]
pub(crate) struct ClaimProtocol {
    times: Times,
    replica: String,
    /// The claims that the engine was asked for. Their refresh tokens have not been presented.
    asked: HashMap<Name, Claim>,
    /// The claims whose refresh tokens may have been presented.
    presented: HashMap<Name, Claim>,
    /// Refresh tokens whose presentation had no answer, and the time until which that is remembered.
    unknown: HashMap<Name, Duration>,
    pub(super) results: Results,
    outbox: VecDeque<Outgoing>,
    generation: Option<Generation>,
    /// The time at which the generation last changed.
    changed_at: Option<Duration>,
    /// The generations that were replaced, and the time until which that is remembered.
    replaced: Vec<(Generation, Duration)>,
    last_number: u64,
    /// The number of errands that were dropped, because there was no room.
    dropped: u64,
}

impl ClaimProtocol {
    /// Creates the protocol of the replica with this id. Results take at most `replay_cache` bytes.
    pub(crate) fn new(replica: &str, times: Times, replay_cache: usize) -> Self {
        Self {
            times,
            replica: replica.to_owned(),
            asked: HashMap::new(),
            presented: HashMap::new(),
            unknown: HashMap::new(),
            results: Results::new(replay_cache),
            outbox: VecDeque::new(),
            generation: None,
            changed_at: None,
            replaced: Vec::new(),
            last_number: 0,
            dropped: 0,
        }
    }

    /// Begins a claim, and returns its nonce. The caller must make sure that this replica claims a refresh token once at
    /// a time.
    pub(crate) fn begin(&mut self, names: &[Name], now: Duration) -> String {
        self.last_number += 1;
        let nonce = format!("{}-{}", self.replica, self.last_number);
        if let Some(name) = names.first() {
            let (names, nonce) = (names.to_vec(), nonce.clone());
            let claim = Claim { names, nonce, asked_at: now, is_repeated: false, unknown_until: None };
            self.asked.insert(*name, claim);
        }
        nonce
    }

    /// The engine has not answered, and is asked once more with the same nonce.
    pub(crate) fn repeats(&mut self, names: &[Name]) {
        if let Some(claim) = names.first().and_then(|name| self.asked.get_mut(name)) {
            claim.is_repeated = true;
        }
    }

    /// Takes the engine's answer to a claim. Its generation must have been noted before.
    pub(crate) fn answered(&mut self, names: &[Name], answer: ClaimAnswer, now: Duration) -> Next {
        let Some(name) = names.first().copied() else { return Next::Refuse };
        match answer.verdict {
            Verdict::Mine => {
                // The result may have come while the answer was on its way.
                if let Some(known) = self.results.get(names, now) {
                    self.take_back(name, now);
                    return Next::Use(known);
                }
                let Some(claim) = self.asked.remove(&name) else { return Next::Refuse };
                // The new primary may not have the claim, and was told everything before this replica had it.
                let is_of_replaced = self.generation.as_ref() != Some(&answer.generation);
                if is_of_replaced || now.saturating_sub(claim.asked_at) > MAX_AGE {
                    self.asked.insert(name, claim);
                    self.take_back(name, now);
                    return Next::AskAgain;
                }
                self.presented.insert(name, claim);
                Next::Present { is_second: self.unknown.remove(&name).is_some_and(|until| now < until) }
            }
            Verdict::Known(known) => {
                self.asked.remove(&name);
                Next::Use(known)
            }
            Verdict::Busy { .. } | Verdict::Settling(_) => {
                if let Some(claim) = self.asked.remove(&name).filter(|claim| claim.is_repeated) {
                    self.release(claim, now + RELEASE_AGAIN);
                }
                self.results.get(names, now).map_or(Next::Wait, Next::Use)
            }
            Verdict::TooFewNodes => {
                self.take_back(name, now);
                self.without_engine(names, now)
            }
        }
    }

    /// The engine has not answered, or its answer is of no use any more. The claim may have been granted, so it is taken
    /// back. It may also be granted later: a stopped engine carries out what it had received. So it is taken back twice.
    pub(crate) fn unanswered(&mut self, names: &[Name], now: Duration) -> Next {
        if let Some(mut claim) = names.first().and_then(|name| self.asked.remove(name)) {
            claim.is_repeated = true;
            self.release(claim, now);
        }
        self.without_engine(names, now)
    }

    /// The engine was not asked, because it is away.
    pub(crate) fn not_asked(&mut self, names: &[Name], now: Duration) -> Next {
        if let Some(name) = names.first() {
            self.asked.remove(name);
        }
        self.without_engine(names, now)
    }

    /// Returns the next step if the engine gives no claim. The result may have come from another replica meanwhile.
    fn without_engine(&self, names: &[Name], now: Duration) -> Next {
        self.results.get(names, now).map_or(Next::Refuse, Next::Use)
    }

    /// The replica that has claimed a refresh token is gone. It may have presented the refresh token.
    pub(crate) fn note_orphan(&mut self, name: Name, now: Duration) {
        self.unknown.insert(name, now + 2 * self.times.claim);
    }

    /// The provider has certainly not processed the refresh token, or it was not presented. The claim is taken back.
    pub(crate) fn not_processed(&mut self, name: Name, now: Duration) {
        if let Some(claim) = self.presented.remove(&name) {
            self.release(claim, now);
        }
    }

    /// The provider may have processed the refresh token. The claim stays for a while.
    pub(crate) fn unknown(&mut self, name: Name, now: Duration) {
        let Some(claim) = self.presented.get_mut(&name) else { return };
        claim.unknown_until = Some(now + UNKNOWN_STAYS);
        let errand = Errand::Shorten(claim.names.clone(), claim.nonce.clone(), UNKNOWN_STAYS);
        self.unknown.insert(name, now + self.times.claim);
        self.post(errand, now, now + UNKNOWN_STAYS);
    }

    /// The provider has given a result. It is recorded here, and returned as the assertion to send. If that fails, it
    /// is to be posted ([`Self::post_assertion`]).
    pub(crate) fn finished(&mut self, name: Name, result: StoredResult, now: Duration) -> Assertion {
        let claim = self.presented.remove(&name);
        let (names, nonce) =
            claim.map_or_else(|| (vec![name], String::new()), |claim| (claim.names, claim.nonce));
        let assertion = result.assertion(names, nonce, now);
        self.results.insert(name, result, now);
        assertion
    }

    /// Posts an assertion that could not be sent. A result is of use for as long as it is kept.
    pub(crate) fn post_assertion(&mut self, assertion: Assertion, now: Duration) {
        let until = now + assertion.lasts;
        self.post(Errand::Assert(assertion), now, until);
    }

    /// Posts an errand that is of use until `until`.
    pub(crate) fn post(&mut self, errand: Errand, not_before: Duration, until: Duration) {
        self.last_number += 1;
        if self.outbox.len() >= MAX_OUTBOX {
            self.drop_one();
        }
        self.outbox.push_back(Outgoing { number: self.last_number, errand, not_before, until });
    }

    /// Makes room for one errand.
    fn drop_one(&mut self) {
        let is_lesser = |outgoing: &Outgoing| {
            matches!(outgoing.errand, Errand::Publish(_) | Errand::Release(..) | Errand::Shorten(..))
        };
        let lesser = self.outbox.iter().position(is_lesser).unwrap_or(0);
        self.outbox.remove(lesser);
        self.dropped += 1;
    }

    /// Returns the number of errands that were dropped since the last question.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Returns the first errands to try now, in their order. Errands that are of no use any more are forgotten.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<(u64, Errand)> {
        self.forget_old(now);
        self.outbox.retain(|outgoing| now < outgoing.until);
        let due = self.outbox.iter().filter(|outgoing| outgoing.not_before <= now);
        due.take(MAX_DUE).map(|outgoing| (outgoing.number, outgoing.errand.clone())).collect()
    }

    /// These errands have been done.
    pub(crate) fn done(&mut self, numbers: &[u64]) {
        let numbers: HashSet<_> = numbers.iter().copied().collect();
        self.outbox.retain(|outgoing| !numbers.contains(&outgoing.number));
    }

    /// The engine has refused these errands. They are tried again after a while, and others meanwhile.
    pub(crate) fn postpone(&mut self, numbers: &[u64], now: Duration) {
        for outgoing in self.outbox.iter_mut().filter(|outgoing| numbers.contains(&outgoing.number)) {
            outgoing.not_before = now + REFUSED_RESTS;
        }
    }

    /// Returns the number of errands in the outbox.
    pub(crate) fn outbox_len(&self) -> usize {
        self.outbox.len()
    }

    /// Returns the time for which the first errand of the outbox has been due.
    pub(crate) fn outbox_waits(&self, now: Duration) -> Duration {
        self.outbox.front().map_or(Duration::ZERO, |first| now.saturating_sub(first.not_before))
    }

    /// Records the generation that an answer of the engine had. Returns `true` if it is another one, so that everything
    /// has to be asserted again. The first one that is seen counts as well: this replica may know claims from before it
    /// had a connection.
    ///
    /// A generation that was replaced a while ago is none: its answer was late.
    pub(crate) fn is_new_generation(&mut self, generation: &Generation, now: Duration) -> bool {
        self.replaced.retain(|(_, until)| now < *until);
        let is_replaced = self.replaced.iter().any(|(replaced, _)| replaced == generation);
        if is_replaced || self.generation.as_ref() == Some(generation) {
            return false;
        }
        let before = self.generation.replace(generation.clone());
        self.changed_at = Some(now);
        self.replaced.extend(before.map(|before| (before, now + self.times.claim)));
        true
    }

    /// Returns the generation that was last seen.
    pub(crate) const fn generation(&self) -> Option<&Generation> {
        self.generation.as_ref()
    }

    /// Returns everything that an engine without memory must be told: the claims of this replica, and all results that
    /// it has seen.
    pub(crate) fn assertions(&mut self, now: Duration) -> Vec<Assertion> {
        self.forget_old(now);
        let of_claims = self.presented.values().map(|claim| Assertion {
            names: claim.names.clone(),
            state: RecordState::Claimed,
            value: Vec::new(),
            nonce: claim.nonce.clone(),
            lasts: claim.unknown_until.map_or(self.times.claim, |until| until.saturating_sub(now)),
            message: Vec::new(),
        });
        let mut all: Vec<_> = of_claims.collect();
        all.extend(self.results.assertions(now));
        all
    }

    /// A result has come from another replica.
    pub(crate) fn received(&mut self, name: Name, result: StoredResult, now: Duration) {
        // A message of the old primary may come after this replica has told the new one what it knew. Perhaps the sender
        // cannot tell it any more.
        let is_late = self.changed_at.is_some_and(|at| now < at + LATE_MESSAGES);
        if is_late && now < result.engine_until {
            let assertion = result.assertion(vec![name], String::new(), now);
            self.post_assertion(assertion, now);
        }
        self.results.insert(name, result, now);
    }

    fn forget_old(&mut self, now: Duration) {
        // A claim that long ago is over, whatever has become of its call.
        let is_over = |claim: &Claim| now >= claim.asked_at + self.times.claim;
        self.presented
            .retain(|_, claim| !is_over(claim) && claim.unknown_until.is_none_or(|until| now < until));
        // A machine that has slept may still get the answer, and then takes the claim back.
        self.asked.retain(|_, claim| now < claim.asked_at + RELEASES_LAST);
        self.unknown.retain(|_, until| now < *until);
        self.results.forget_expired(now);
    }

    /// Takes back a claim whose refresh token was not presented.
    fn take_back(&mut self, name: Name, now: Duration) {
        if let Some(claim) = self.asked.remove(&name) {
            self.release(claim, now);
        }
    }

    /// Posts the release of a claim. If a request for it may come to the engine later, posts it twice.
    fn release(&mut self, claim: Claim, now: Duration) {
        let until = now + RELEASES_LAST;
        if claim.is_repeated {
            self.post(Errand::Release(claim.names.clone(), claim.nonce.clone()), now + RELEASE_AGAIN, until);
        }
        self.post(Errand::Release(claim.names, claim.nonce), now, until);
    }
}

#[cfg(test)]
mod tests;
