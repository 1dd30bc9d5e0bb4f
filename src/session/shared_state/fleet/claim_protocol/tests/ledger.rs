//! The record of everything that happened, and the judgement: it knows the causes for which the design lets a refresh
//! token be presented twice, or a session be lost.

use std::collections::HashMap;

use super::history::{Millis, REPLICAS};
use super::provider::Token;
use super::replica::name;

pub(super) const CLAIM: Millis = 60_000;
pub(super) const REPLAY_WINDOW: Millis = 30_000;
pub(super) const DEAD_IS_KEPT: Millis = 5_000;
pub(super) const SETTLE: Millis = 3_000;
pub(super) const ANSWER_TIMEOUT: Millis = 20_000;
pub(super) const GRACE: Millis = 10_000;
const UNKNOWN_STAYS: Millis = 5_000;

/// The time that a replica needs to notice a new generation and to assert everything.
const ASSERTING: Millis = 1_000;

/// A process of a replica: the replica's place, and the number of its starts.
pub(super) type Process = (usize, u32);

/// A broken property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Property {
    /// A refresh token was presented twice without one of the causes.
    PresentedTwice,
    /// A refresh token was presented without a claim that holds.
    PresentedWithoutClaim,
    /// A session was lost without one of the causes.
    SessionLost,
    /// A request had another result than the provider's.
    OtherResult,
    /// A known result gave way to a weaker one.
    ResultWeakened,
    /// A request was refused, and its result could be known.
    RefusedThoughKnown,
    /// A browser got no tokens, long after all faults had ended.
    NoTokens,
    /// An outbox still had entries, long after all faults had ended.
    OutboxNotEmpty,
}

/// A broken property, with what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Violation {
    pub(super) property: Property,
    pub(super) at: Millis,
    pub(super) about: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?} after {} ms: {}", self.property, self.at, self.about)
    }
}

/// The end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Tokens,
    Dead,
    NotProcessed,
    Unknown,
}

/// A presentation of a refresh token.
#[derive(Debug)]
pub(super) struct Presentation {
    pub(super) token: Token,
    pub(super) process: Process,
    pub(super) nonce: String,
    pub(super) at: Millis,
    /// The engine has granted the claim at this time.
    pub(super) granted_at: Millis,
    pub(super) end: Option<(Millis, End)>,
    /// Its replica was silent, and another one took the claim over in the provider's grace period.
    pub(super) is_taken_over: bool,
    /// The result was written into the engine at this time.
    pub(super) written_at: Option<Millis>,
    /// A browser had the tokens, and the replica had no reason to doubt that the engine has them.
    pub(super) is_answered: bool,
    /// The processes that have the result.
    pub(super) holders: Vec<(Process, Millis)>,
    /// The changes of generation at which the engine had nothing about it.
    pub(super) losses: Vec<usize>,
}

/// A change of the engine's generation.
#[derive(Debug, Clone, Copy)]
struct Change {
    at: Millis,
    settled_at: Millis,
}

/// The record.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) presentations: Vec<Presentation>,
    changes: Vec<Change>,
    /// The times at which a replica could not reach the engine, or did not run.
    troubles: [Vec<(Millis, Millis)>; REPLICAS],
    freezes: [Vec<(Millis, Millis)>; REPLICAS],
    killed: HashMap<Process, Millis>,
    grants: HashMap<String, Millis>,
    has_grace: bool,
    /// Claims may be left over that nobody takes back.
    pub(super) may_have_orphans: bool,
    pub(super) violation: Option<Violation>,
}

impl Ledger {
    pub(super) fn new(has_grace: bool) -> Self {
        Self { has_grace, ..Self::default() }
    }

    pub(super) fn violated(&mut self, property: Property, at: Millis, about: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { property, at, about: about() });
        }
    }

    pub(super) fn trouble(&mut self, replica: usize, from: Millis, to: Millis) {
        self.troubles[replica].push((from, to));
    }

    pub(super) fn trouble_all(&mut self, from: Millis, to: Millis) {
        self.troubles.iter_mut().for_each(|troubles| troubles.push((from, to)));
    }

    pub(super) fn frozen(&mut self, replica: usize, from: Millis, to: Millis) {
        self.freezes[replica].push((from, to));
        self.trouble(replica, from, to);
    }

    pub(super) fn killed(&mut self, process: Process, at: Millis) {
        self.killed.insert(process, at);
    }

    pub(super) fn granted(&mut self, nonce: &str, at: Millis) {
        self.grants.entry(nonce.to_owned()).or_insert(at);
    }

    /// Records a change of generation. `has` tells whether the engine still knows of a presentation, and
    /// whether it knows the result.
    pub(super) fn changed(&mut self, now: Millis, has: impl Fn(&Presentation) -> (bool, bool)) {
        let change = self.changes.len();
        self.changes.push(Change { at: now, settled_at: now + SETTLE });
        for presentation in &mut self.presentations {
            let (is_known, has_result) = has(presentation);
            if !has_result {
                presentation.written_at = None;
            }
            if now < presentation.granted_at + CLAIM && !is_known {
                presentation.losses.push(change);
            }
        }
    }

    /// A process has the result of a refresh token, or would have it.
    pub(super) fn holds(&mut self, process: Process, of: &[u8], now: Millis) {
        for presentation in self.presentations.iter_mut().filter(|p| name(p.token).bytes() == of) {
            presentation.holders.push((process, now));
        }
    }

    pub(super) fn is_alive(&self, process: Process, at: Millis) -> bool {
        self.killed.get(&process).is_none_or(|killed| at < *killed)
    }

    pub(super) fn is_troubled(&self, replica: usize, from: Millis, to: Millis) -> bool {
        self.troubles[replica].iter().any(|trouble| trouble.0 <= to && from <= trouble.1)
    }

    pub(super) fn has_changed_since(&self, at: Millis) -> bool {
        self.changes.last().is_some_and(|change| at <= change.at)
    }

    /// Records a presentation, and judges it. Returns its number.
    pub(super) fn presented(&mut self, token: Token, process: Process, nonce: &str, now: Millis) -> usize {
        let granted_at = self.grants.get(nonce).copied();
        if granted_at.is_none_or(|at| at + CLAIM <= now) {
            let about = || format!("{token:?} by {process:?}, granted at {granted_at:?}");
            self.violated(Property::PresentedWithoutClaim, now, about);
        }
        // One that was let after others stands for them.
        let last = self.presentations.iter().rfind(|p| p.token == token);
        let last = last.filter(|last| !self.lets_another(last, now));
        if let Some(earlier) = last {
            let about = format!("{token:?} by {process:?}, and before: {earlier:?}");
            self.violated(Property::PresentedTwice, now, || about);
        }
        self.presentations.push(Presentation {
            token,
            process,
            nonce: nonce.to_owned(),
            at: now,
            granted_at: granted_at.unwrap_or(now),
            end: None,
            is_taken_over: false,
            written_at: None,
            is_answered: false,
            holders: Vec::new(),
            losses: Vec::new(),
        });
        self.presentations.len() - 1
    }

    /// Tells whether the token of a presentation may be presented again now.
    fn lets_another(&self, earlier: &Presentation, now: Millis) -> bool {
        // A token whose claim was taken over has two results, which are the same. The first one counts.
        let same = self.presentations.iter().filter(|p| p.token == earlier.token);
        let is_past =
            |p: &Presentation| matches!(p.end, Some((at, End::Tokens)) if at + REPLAY_WINDOW <= now);
        let is_any_past = same.into_iter().any(is_past);
        let is_over = match earlier.end {
            Some((_, End::NotProcessed)) => true,
            Some((at, End::Unknown)) => at + UNKNOWN_STAYS <= now,
            Some((_, End::Tokens)) | None => false,
            Some((at, End::Dead)) => at + DEAD_IS_KEPT <= now,
        };
        is_over
            || is_any_past
            || earlier.is_taken_over
            || earlier.granted_at + CLAIM <= now
            || self.is_lost(earlier)
    }

    /// Tells whether the engine has lost a presentation, and no replica that knows of it could assert it in time.
    fn is_lost(&self, presentation: &Presentation) -> bool {
        presentation.losses.iter().any(|change| {
            let settled_at = self.changes[*change].settled_at;
            let could = |process: Process| {
                self.is_alive(process, settled_at)
                    && !self.is_troubled(process.0, settled_at - ASSERTING, settled_at)
            };
            let could_holder =
                |(process, since): &(Process, Millis)| since + ASSERTING <= settled_at && could(*process);
            !could(presentation.process) && !presentation.holders.iter().any(could_holder)
        })
    }

    /// Another replica takes the claim with this nonce over. That is right in the grace period if its replica is silent.
    pub(super) fn taken_over(&mut self, nonce: &str, now: Millis) {
        let Some(at) = self.presentations.iter().position(|p| p.nonce == nonce) else { return };
        let this = &self.presentations[at];
        let is_silent =
            !self.is_alive(this.process, now) || self.is_troubled(this.process.0, now - ASSERTING, now);
        self.presentations[at].is_taken_over = self.has_grace && is_silent && now < this.granted_at + GRACE;
    }

    /// Judges a login that the provider has ended because the token of this presentation came back.
    pub(super) fn reused(&mut self, presentation: usize, now: Millis) {
        let this = &self.presentations[presentation];
        let same = |p: &&Presentation| p.token == this.token;
        let is_excused = self.presentations.iter().filter(same).any(|p| {
            let is_killed = !self.is_alive(p.process, now) && p.written_at.is_none() && !p.is_answered;
            let freezes = &self.freezes[p.process.0];
            let is_frozen = freezes.iter().any(|f| f.0 <= p.granted_at + CLAIM && p.at <= f.1);
            let is_past = matches!(p.end, Some((at, End::Tokens)) if at + REPLAY_WINDOW <= this.at);
            let is_unknown = matches!(p.end, Some((_, End::Unknown)));
            is_unknown || is_killed || is_frozen || is_past || self.is_lost(p) || p.is_taken_over
        });
        if !is_excused {
            let token = this.token;
            let all: Vec<_> = self.presentations.iter().filter(|p| p.token == token).collect();
            let about = format!("{all:?}");
            self.violated(Property::SessionLost, now, || about);
        }
    }
}
