//! The steps of a flight after the engine has answered.

use std::time::Duration;

use super::history::{Conduct, Millis};
use super::ledger::{ANSWER_TIMEOUT, DEAD_IS_KEPT, End, Property, REPLAY_WINDOW};
use super::link::Operation;
use super::provider::{Decision, Token};
use super::replica::{Flight, Outcome, PATIENCE, Purpose, Step, name, outcome};
use super::world::{Item, Told, World};
use crate::engine::commands::{Asserted, Assertion, ClaimAnswer, Known, RecordState, Verdict};
use crate::engine::names::Name;
use crate::session::shared_state::fleet::claim_protocol::Next;
use crate::session::shared_state::fleet::results::StoredResult;

/// The time of a call, each way.
const CALL: Millis = 20;

/// The pause after an errand that failed.
const ERRANDS: Millis = 500;

impl World {
    pub(super) fn claim_answered(&mut self, place: usize, token: Token, answer: ClaimAnswer) {
        let (mut time, takes_old_claims) = (self.time(), self.switches.takes_old_claims);
        let replica = &mut self.replicas[place];
        let Some(flight) = replica.flights.iter_mut().find(|flight| flight.token == token) else { return };
        if takes_old_claims && answer.verdict == Verdict::Mine {
            time = flight.claimed_at;
        }
        let next = replica.protocol.answered(&[name(token)], answer, time);
        self.follow(place, token, next);
        self.look_at_outbox(place);
    }

    fn follow(&mut self, place: usize, token: Token, next: Next) {
        let now = self.now;
        let replica = &mut self.replicas[place];
        let Some(flight) = replica.flights.iter_mut().find(|flight| flight.token == token) else { return };
        let is_late = flight.began_at + PATIENCE <= now;
        match next {
            Next::Present { .. } => self.present(place, token),
            Next::Use(known) => self.finish(place, token, outcome(&known)),
            Next::Wait => {
                flight.step = Step::Waiting;
                flight.asked += 1;
                let (process, pause) = (replica.process, (25 << flight.asked.min(3)).min(200));
                self.send(pause, Item::Ask { process, token });
            }
            Next::AskAgain if !is_late => self.begin_claim(place, token),
            Next::AskAgain | Next::Refuse => self.finish(place, token, Outcome::Refused),
        }
    }

    pub(super) fn present(&mut self, place: usize, token: Token) {
        let (now, process) = (self.now, self.replicas[place].process);
        let Some(flight) = self.replicas[place].flight(token) else { return };
        let presentation = self.ledger.presented(token, process, &flight.nonce, now);
        flight.step = Step::Presenting(presentation);
        let told = |answer| Item::Told { process, presentation, answer };
        self.send(ANSWER_TIMEOUT, told(Told::Nothing));
        let conduct = self.conduct.take().unwrap_or(Conduct::Slow { before: 0, after: 0 });
        match conduct {
            Conduct::Slow { before, .. } => self.send(CALL + before, Item::Present { presentation, conduct }),
            Conduct::AnswerLost => self.send(CALL, Item::Present { presentation, conduct }),
            Conduct::Busy => self.send(CALL, told(Told::Busy)),
            Conduct::RequestLost => {}
        }
    }

    /// The provider decides.
    pub(super) fn decide(&mut self, presentation: usize, conduct: Conduct) {
        let now = self.now;
        let this = &self.ledger.presentations[presentation];
        let process = this.process;
        let decision = self.provider.decide(this.token, now);
        if decision == Decision::Reuse {
            self.ledger.reused(presentation, now);
        }
        if let Conduct::Slow { after, .. } = conduct {
            let answer = match decision {
                Decision::Tokens(next) => Told::Tokens(next),
                Decision::Refused | Decision::Reuse => Told::Refused,
            };
            self.send(CALL + after, Item::Told { process, presentation, answer });
        }
    }

    /// The provider has answered, or has not answered in time.
    pub(super) fn told(&mut self, place: usize, presentation: usize, answer: Told) {
        let (now, time) = (self.now, self.time());
        let replica = &mut self.replicas[place];
        let is_meant = |flight: &&Flight| flight.step == Step::Presenting(presentation);
        let Some(token) = replica.flights.iter().find(is_meant).map(|flight| flight.token) else { return };
        let (state, next, end, lasts) = match answer {
            Told::Tokens(next) => (RecordState::Tokens, next, End::Tokens, REPLAY_WINDOW),
            Told::Refused => (RecordState::Dead, token, End::Dead, DEAD_IS_KEPT),
            Told::Busy | Told::Nothing => {
                let is_known = answer == Told::Busy;
                if is_known || self.switches.forgets_unknown {
                    replica.protocol.not_processed(name(token), time);
                } else {
                    replica.protocol.unknown(name(token), time);
                }
                self.ledger.may_have_orphans |= !is_known;
                let end = if is_known { End::NotProcessed } else { End::Unknown };
                self.ledger.presentations[presentation].end = Some((now, end));
                self.look_at_outbox(place);
                return self.finish(place, token, Outcome::Refused);
            }
        };
        let value = name(next).bytes().to_vec();
        let message = [name(token).bytes().as_slice(), state.word().as_bytes(), b" ", &value].concat();
        let until = time + Duration::from_millis(lasts);
        let result = StoredResult { state, value, message, next: None, until, engine_until: until };
        self.ledger.presentations[presentation].end = Some((now, end));
        let assertion = self.replicas[place].protocol.finished(name(token), result, time);
        if let Some(flight) = self.replicas[place].flight(token) {
            flight.step = Step::Recording;
        }
        self.ask_engine(
            place,
            Operation::Assert(assertion.clone()),
            Purpose::Result(assertion, presentation),
        );
    }

    /// The engine has the result of a presentation, or a stronger one.
    pub(super) fn recorded(
        &mut self,
        place: usize,
        presentation: usize,
        assertion: &Assertion,
        asserted: Asserted,
    ) {
        let token = self.ledger.presentations[presentation].token;
        let mut outcome_now = own_outcome(assertion);
        if let Asserted::Kept(known) = asserted {
            outcome_now = outcome(&known);
            self.keep(place, name(token), known.state, &known.value);
        }
        self.ledger.presentations[presentation].is_answered |= matches!(outcome_now, Outcome::Tokens(_));
        self.finish(place, token, outcome_now);
    }

    /// A message has come.
    pub(super) fn hear(&mut self, place: usize, message: &[u8]) {
        if self.replicas[place].cut_until > self.now {
            return;
        }
        let (bytes, rest) = message.split_at(16);
        let (word, value) = rest.split_at(rest.len() - 17);
        let state = RecordState::of_word(std::str::from_utf8(word).unwrap()).unwrap();
        let name = Name::from_bytes(bytes.try_into().unwrap());
        self.keep(place, name, state, &value[1..]);
    }

    /// Keeps a result of another replica, and uses it.
    fn keep(&mut self, place: usize, of: Name, state: RecordState, value: &[u8]) {
        let (now, time) = (self.now, self.time());
        let replica = &mut self.replicas[place];
        let before = replica.protocol.results.get(&[of], time);
        let lasts = if state == RecordState::Dead { DEAD_IS_KEPT } else { REPLAY_WINDOW };
        let until = time + Duration::from_millis(lasts);
        let (value, message) = (value.to_vec(), Vec::new());
        let result = StoredResult { state, value, message, next: None, until, engine_until: until };
        replica.protocol.received(of, result, time);
        self.look_at_outbox(place);
        let replica = &mut self.replicas[place];
        let Some(after) = replica.protocol.results.get(&[of], time) else { return };
        let process = replica.process;
        let waiting = replica.flights.iter().find(|flight| name(flight.token) == of);
        let waiting = waiting.filter(|flight| flight.step == Step::Waiting).map(|flight| flight.token);
        self.ledger.holds(process, of.bytes(), now);
        if before.is_some_and(|before| before.state > after.state) {
            self.ledger.violated(Property::ResultWeakened, now, || format!("{of:?}"));
        }
        if let Some(token) = waiting {
            self.finish(place, token, outcome(&after));
        }
    }

    /// The engine has not answered in time.
    pub(super) fn time_out(&mut self, place: usize, request: u64, is_away: bool) {
        let time = self.time();
        match self.takes(place, request) {
            Some(Purpose::Claim(token)) => self.claim_timed_out(place, token, is_away),
            Some(Purpose::Result(assertion, presentation)) => {
                let token = self.ledger.presentations[presentation].token;
                self.finish(place, token, own_outcome(&assertion));
                self.replicas[place].protocol.post_assertion(assertion, time);
            }
            Some(Purpose::Again(assertion)) => {
                self.replicas[place].protocol.post_assertion(assertion, time);
            }
            Some(Purpose::Errand(_)) => {
                self.replicas[place].has_errand_on_its_way = false;
                return self.look_later(place, ERRANDS);
            }
            Some(Purpose::Beat) => return self.beat_later(place),
            None => return,
        }
        self.look_later(place, 1);
    }

    fn claim_timed_out(&mut self, place: usize, token: Token, is_away: bool) {
        let time = self.time();
        let repeats_with_other_nonce = self.switches.repeats_with_other_nonce;
        let Some(flight) = self.replicas[place].flight(token) else { return };
        match flight.step {
            Step::Claiming { tries: 1 } if is_away && !self.switches.presents_without_engine => {
                let next = self.replicas[place].protocol.not_asked(&[name(token)], time);
                self.follow(place, token, next);
            }
            Step::Claiming { tries: 1 } if repeats_with_other_nonce => {
                self.begin_claim(place, token);
                let Some(flight) = self.replicas[place].flight(token) else { return };
                flight.step = Step::Claiming { tries: 2 };
            }
            Step::Claiming { tries: 1 } => {
                flight.step = Step::Claiming { tries: 2 };
                self.replicas[place].protocol.repeats(&[name(token)]);
                self.send_claim(place, token);
            }
            _ if self.switches.presents_without_engine => self.present(place, token),
            _ => {
                let next = self.replicas[place].protocol.unanswered(&[name(token)], time);
                self.follow(place, token, next);
            }
        }
    }

    /// Ends a flight.
    pub(super) fn finish(&mut self, place: usize, token: Token, outcome: Outcome) {
        let flights = &mut self.replicas[place].flights;
        let Some(at) = flights.iter().position(|flight| flight.token == token) else { return };
        for (_, browser) in flights.swap_remove(at).requests {
            self.answer(place, browser, token, outcome);
        }
    }

    /// Answers a browser.
    pub(super) fn answer(&mut self, place: usize, browser: usize, token: Token, outcome: Outcome) {
        let (now, is_over) = (self.now, self.provider.is_over(token));
        let this = &mut self.browsers[browser];
        match outcome {
            Outcome::Tokens(next) => {
                if next != token.next() {
                    self.ledger.violated(Property::OtherResult, now, || format!("{token:?} has {next:?}"));
                }
                if std::mem::take(&mut this.misses_next) || this.token.family != next.family {
                    return;
                }
                this.is_served |= this.token.number <= next.number;
                this.token.number = this.token.number.max(next.number);
            }
            Outcome::Dead if !is_over => {
                self.ledger.violated(Property::OtherResult, now, || format!("{token:?} is not refused"));
            }
            Outcome::Dead if this.token.family == token.family => {
                this.token = self.provider.log_in();
                this.is_served = true;
            }
            Outcome::Dead => {}
            Outcome::Refused => self.judge_refusal(place, token),
        }
    }

    /// Judges a request that was refused, although its result could be known.
    fn judge_refusal(&mut self, place: usize, token: Token) {
        let (now, process, ledger) = (self.now, self.replicas[place].process, &self.ledger);
        let (since, lately) = (now - 3_000, now - 1_000);
        let is_quiet = !ledger.has_changed_since(since) && !ledger.is_troubled(place, since, now);
        let could_be_known = ledger.presentations.iter().any(|p| {
            let is_in_window =
                matches!(p.end, Some((at, End::Tokens)) if at < since && lately + 2_000 < at + REPLAY_WINDOW);
            let can_tell = ledger.is_alive(p.process, now) && !ledger.is_troubled(p.process.0, since, now);
            let is_written = p.written_at.is_some_and(|at| at < lately);
            let is_known = p.holders.iter().any(|(holder, at)| *holder == process && *at < lately);
            p.token == token && is_in_window && (can_tell || is_written || is_known)
        });
        if is_quiet && could_be_known {
            self.ledger.violated(Property::RefusedThoughKnown, now, || format!("{token:?} by {place}"));
        }
    }
}

fn own_outcome(assertion: &Assertion) -> Outcome {
    outcome(&Known { state: assertion.state, key: 0, value: assertion.value.clone() })
}
