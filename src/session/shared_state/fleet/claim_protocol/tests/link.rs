//! The way between a replica and the engine. Each request and each answer may be lost or late.

use std::time::Duration;

use super::history::{Fate, Millis, Part};
use super::ledger::{CLAIM, GRACE, Process};
use super::replica::{Purpose, name};
use super::world::{Item, World};
use crate::engine::commands::{Asserted, Assertion, ClaimAnswer, Claiming, Generation, Verdict};
use crate::engine::names::Name;
use crate::session::shared_state::fleet::claim_protocol::Errand;

/// The time for which a replica waits for an answer.
const COMMAND_TIMEOUT: Millis = 250;

/// The time after which a replica knows that it has no connection.
const NOTICED: Millis = 300;

/// The time from one heartbeat to the next.
const BEAT: Millis = 500;

/// An operation of the engine.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Claim(Claiming),
    Assert(Assertion),
    Release(Vec<Name>, String),
    Shorten(Vec<Name>, String, Duration),
    Beat,
}

/// The engine's answer.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Claim(ClaimAnswer),
    Assert(Asserted),
    Done,
    Generation(Generation),
}

impl World {
    /// Sends an operation to the engine.
    pub(super) fn ask_engine(&mut self, place: usize, operation: Operation, purpose: Purpose) {
        let (request, process) = (self.number(), self.replicas[place].process);
        self.replicas[place].pending.push((request, purpose));
        let (is_cut, cut_at) = (self.replicas[place].cut_until > self.now, self.replicas[place].cut_at);
        let is_away = is_cut && cut_at + NOTICED < self.now
            || self.engine.is_down && self.engine.down_at + NOTICED < self.now;
        let after = if is_away { 1 } else { COMMAND_TIMEOUT };
        self.send(after, Item::TimeOut { process, request, is_away });
        if is_cut || self.engine.is_down {
            return;
        }
        let late = match self.fate(place, Part::Request) {
            Some(Fate::Lost) => return,
            Some(Fate::Late(late)) => late,
            None => 0,
        };
        // Until then, the claim has been taken back twice.
        self.ledger.may_have_orphans |= late > 1_000;
        self.send(1 + late, Item::Execute { process, request, operation });
    }

    /// The engine carries out an operation.
    pub(super) fn execute(&mut self, process: Process, request: u64, operation: Operation) {
        if self.engine.is_down {
            return;
        }
        let owner = format!("{}.{}", process.0, process.1);
        let answer = match operation {
            Operation::Claim(claiming) => Answer::Claim(self.claim(&owner, &claiming)),
            Operation::Assert(assertion) => Answer::Assert(self.assert(&owner, &assertion)),
            Operation::Release(names, nonce) => {
                self.engine.primary.release(&names, &nonce);
                Answer::Done
            }
            Operation::Shorten(names, nonce, lasts) => {
                self.engine.primary.shorten(&names, &nonce, lasts);
                Answer::Done
            }
            Operation::Beat => Answer::Generation(self.engine.primary.generation()),
        };
        if !self.is_current(process) {
            return;
        }
        let late = match self.fate(process.0, Part::Answer) {
            Some(Fate::Lost) => return,
            Some(Fate::Late(late)) => late,
            None => 0,
        };
        self.send(1 + late, Item::Reply { process, request, answer });
    }

    fn claim(&mut self, owner: &str, claiming: &Claiming) -> ClaimAnswer {
        let before = self.engine.primary.claimant(&claiming.names[0]).map(str::to_owned);
        let mut answer = self.engine.primary.claim(owner, claiming);
        if self.switches.grants_to_anybody && matches!(answer.verdict, Verdict::Busy { .. }) {
            answer.verdict = Verdict::Mine;
        }
        if answer.verdict == Verdict::Mine {
            self.ledger.granted(&claiming.nonce, self.now);
            if let Some(before) = before.filter(|before| *before != claiming.nonce) {
                self.ledger.taken_over(&before, self.now);
            }
            if self.waits_for_copy && self.engine.copy.is_some() {
                answer.verdict = Verdict::TooFewNodes;
            }
        }
        answer
    }

    fn assert(&mut self, owner: &str, assertion: &Assertion) -> Asserted {
        let asserted = self.engine.primary.assert(owner, assertion);
        // A claim that two replicas have asserted is not taken back.
        self.ledger.may_have_orphans |= self.engine.primary.claimant(&assertion.names[0]) == Some("");
        for presentation in &mut self.ledger.presentations {
            let is_meant = assertion.names == [name(presentation.token)] && !assertion.value.is_empty();
            if is_meant && asserted == Asserted::Written {
                presentation.written_at = Some(self.now);
            }
        }
        if asserted == Asserted::Written && !assertion.message.is_empty() {
            self.publish(&assertion.message);
        }
        asserted
    }

    fn publish(&mut self, message: &[u8]) {
        for place in 0..self.replicas.len() {
            if self.replicas[place].cut_until > self.now {
                continue;
            }
            let late = match self.fate(place, Part::Message) {
                Some(Fate::Lost) => continue,
                Some(Fate::Late(late)) => late,
                None => 0,
            };
            let process = self.replicas[place].process;
            if self.switches.sends_no_messages {
                self.ledger.holds(process, &message[..16], self.now);
                continue;
            }
            self.send(1 + late, Item::Hear { process, message: message.to_vec() });
        }
    }

    /// Makes the request for a claim.
    pub(super) fn claiming(&self, names: Vec<Name>, nonce: String) -> Claiming {
        let grace = match self.switches.takes_over_from_silent {
            true => CLAIM,
            false if self.has_grace => GRACE,
            false => 0,
        };
        let lasts = if self.switches.has_short_claims { 2_000 } else { CLAIM };
        let (lasts, refresh_grace) = (Duration::from_millis(lasts), Duration::from_millis(grace));
        Claiming { names, nonce, lasts, refresh_grace }
    }

    /// A replica loses its connection.
    pub(super) fn cut(&mut self, place: usize, lasts: Millis) {
        let replica = &mut self.replicas[place];
        replica.cut_at = self.now;
        replica.cut_until = replica.cut_until.max(self.now + lasts);
        let (process, owner) = (replica.process, replica.owner());
        self.engine.primary.has_gone(&owner);
        self.ledger.trouble(place, self.now, self.now + lasts);
        self.send(lasts, Item::Reconnect { process });
    }

    pub(super) fn reconnect(&mut self, place: usize) {
        self.replicas[place].cut_until = 0;
        self.connect(place, 1);
    }

    /// A replica whose connection is there asks for the generation soon.
    pub(super) fn connect(&mut self, place: usize, after: Millis) {
        let replica = &mut self.replicas[place];
        if replica.cut_until <= self.now {
            replica.needs_generation = true;
            let (process, owner) = (replica.process, replica.owner());
            self.engine.primary.has_come(&owner);
            self.send(after, Item::Beat { process });
            self.look_later(place, after);
        }
    }

    pub(super) fn beat(&mut self, place: usize) {
        if self.replicas[place].needs_generation {
            self.ask_engine(place, Operation::Beat, Purpose::Beat);
        }
    }

    /// The next heartbeat comes after a while.
    pub(super) fn beat_later(&mut self, place: usize) {
        let process = self.replicas[place].process;
        self.send(BEAT, Item::Beat { process });
    }

    /// Notes the generation that an answer had, and asserts everything to a new one.
    pub(super) fn note_generation(&mut self, place: usize, generation: &Generation) {
        let time = self.time();
        let replica = &mut self.replicas[place];
        if !replica.protocol.is_new_generation(generation, time) || self.switches.asserts_nothing_again {
            return;
        }
        let mut assertions = replica.protocol.assertions(time);
        assertions.sort_by(|one, other| (&one.names, one.state).cmp(&(&other.names, other.state)));
        for assertion in assertions {
            self.ask_engine(place, Operation::Assert(assertion.clone()), Purpose::Again(assertion));
        }
    }

    /// Sends the next errand of the outbox. One is on its way at a time.
    pub(super) fn look_at_outbox(&mut self, place: usize) {
        let time = self.time();
        let replica = &mut self.replicas[place];
        if replica.has_errand_on_its_way {
            return;
        }
        for (number, errand) in replica.protocol.due(time) {
            let is_dropped = match errand {
                Errand::Release(..) => self.switches.takes_nothing_back,
                Errand::Assert(_) => self.switches.forgets_failed_assertions,
                _ => false,
            };
            if is_dropped {
                replica.protocol.done(&[number]);
                continue;
            }
            let operation = match errand {
                Errand::Release(names, nonce) => Operation::Release(names, nonce),
                Errand::Shorten(names, nonce, lasts) => Operation::Shorten(names, nonce, lasts),
                Errand::Assert(assertion) => Operation::Assert(assertion),
                Errand::ForgetEnd(_) | Errand::Publish(_) | Errand::Revoke(..) => {
                    unreachable!("the model posts none")
                }
            };
            if replica.cut_until <= self.now {
                replica.has_errand_on_its_way = true;
                self.ask_engine(place, operation, Purpose::Errand(number));
                return;
            }
            break;
        }
        if replica.protocol.outbox_len() > 0 {
            self.look_later(place, COMMAND_TIMEOUT);
        }
    }

    /// Looks at the outbox after a while.
    pub(super) fn look_later(&mut self, place: usize, after: Millis) {
        let replica = &mut self.replicas[place];
        if !std::mem::replace(&mut replica.will_look, true) {
            let process = replica.process;
            self.send(after, Item::LookAtOutbox { process });
        }
    }
}
