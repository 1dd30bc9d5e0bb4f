//! A replica: the steps by which the driver uses the protocol.

use std::time::Duration;

use super::history::{Fate, Millis, Part};
use super::ledger::{CLAIM, Process};
use super::link::{Answer, Operation};
use super::provider::Token;
use super::switches::Switches;
use super::world::{Item, World};
use crate::engine::commands::{Assertion, Known, RecordState};
use crate::engine::names::Name;
use crate::session::shared_state::fleet::claim_protocol::{ClaimProtocol, Times};

/// The time for which a request waits.
pub(super) const PATIENCE: Millis = 6_000;

/// A replica.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) process: Process,
    pub(super) protocol: ClaimProtocol,
    pub(super) flights: Vec<Flight>,
    /// The operations whose answers are awaited.
    pub(super) pending: Vec<(u64, Purpose)>,
    pub(super) cut_at: Millis,
    pub(super) cut_until: Millis,
    pub(super) frozen_until: Millis,
    pub(super) needs_generation: bool,
    pub(super) has_errand_on_its_way: bool,
    pub(super) will_look: bool,
    /// The fates of the next items.
    pub(super) fates: Vec<(Part, Fate)>,
}

/// The purpose of an operation.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    Claim(Token),
    /// To record the result of this presentation.
    Result(Assertion, usize),
    /// To assert again.
    Again(Assertion),
    Errand(u64),
    Beat,
}

/// The requests with one refresh token at one replica.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) token: Token,
    pub(super) step: Step,
    /// The nonce of the last claim.
    pub(super) nonce: String,
    pub(super) asked: u32,
    pub(super) began_at: Millis,
    pub(super) claimed_at: Duration,
    /// Requests with their browsers.
    pub(super) requests: Vec<(u64, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The engine was asked, for the first or second time.
    Claiming {
        tries: u32,
    },
    Waiting,
    Presenting(usize),
    Recording,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Tokens(Token),
    Dead,
    Refused,
}

/// Returns the name of a refresh token.
pub(super) fn name(token: Token) -> Name {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&token.family.to_be_bytes());
    bytes[4..8].copy_from_slice(&token.number.to_be_bytes());
    Name::from_bytes(bytes)
}

fn token(bytes: &[u8]) -> Token {
    let number = |at| u32::from_be_bytes(*bytes[at..].first_chunk().unwrap());
    Token { family: number(0), number: number(4) }
}

pub(super) fn outcome(known: &Known) -> Outcome {
    match known.state {
        RecordState::Tokens => Outcome::Tokens(token(&known.value)),
        _ => Outcome::Dead,
    }
}

impl Replica {
    pub(super) fn new(process: Process, switches: Switches) -> Self {
        let owner = format!("{}.{}", process.0, process.1);
        let claim = if switches.has_short_claims { 2_000 } else { CLAIM };
        let times = Times { claim: Duration::from_millis(claim) };
        Self {
            process,
            protocol: ClaimProtocol::new(&owner, times, 1 << 20),
            flights: Vec::new(),
            pending: Vec::new(),
            cut_at: 0,
            cut_until: 0,
            frozen_until: 0,
            needs_generation: false,
            has_errand_on_its_way: false,
            will_look: false,
            fates: Vec::new(),
        }
    }

    pub(super) fn owner(&self) -> String {
        format!("{}.{}", self.process.0, self.process.1)
    }

    pub(super) fn disturb(&mut self, part: Part, fate: Fate) {
        self.fates.push((part, fate));
    }

    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.protocol.outbox_len() == 0
    }

    pub(super) fn flight(&mut self, token: Token) -> Option<&mut Flight> {
        self.flights.iter_mut().find(|flight| flight.token == token)
    }
}

impl World {
    /// A replica's process is killed, and another one starts.
    pub(super) fn kill(&mut self, place: usize) {
        let replica = &self.replicas[place];
        let (process, owner) = (replica.process, replica.owner());
        self.ledger.may_have_orphans |= !replica.is_idle() || !replica.pending.is_empty();
        self.ledger.killed(process, self.now);
        self.engine.primary.has_gone(&owner);
        self.replicas[place] = Replica::new((place, process.1 + 1), self.switches);
        self.connect(place, 100);
    }

    /// A browser's request comes to a replica.
    pub(super) fn arrive(&mut self, browser: usize, token: Token, place: usize) {
        let time = self.time();
        if self.replicas[place].frozen_until > self.now {
            let after = self.replicas[place].frozen_until - self.now;
            return self.send(after, Item::Arrive { browser, token, replica: place });
        }
        if let Some(known) = self.replicas[place].protocol.results.get(&[name(token)], time) {
            return self.answer(place, browser, token, outcome(&known));
        }
        let (request, process) = (self.number(), self.replicas[place].process);
        self.send(PATIENCE, Item::GiveUp { process, request });
        if let Some(flight) = self.replicas[place].flight(token) {
            flight.requests.push((request, browser));
            return;
        }
        self.replicas[place].flights.push(Flight {
            token,
            step: Step::Waiting,
            nonce: String::new(),
            asked: 0,
            began_at: self.now,
            claimed_at: time,
            requests: vec![(request, browser)],
        });
        self.begin_claim(place, token);
    }

    /// A request has waited for long enough. Its flight goes on.
    pub(super) fn give_up(&mut self, place: usize, request: u64) {
        for flight in &mut self.replicas[place].flights {
            if let Some(at) = flight.requests.iter().position(|(of, _)| *of == request) {
                let ((_, browser), token) = (flight.requests.remove(at), flight.token);
                if matches!(flight.step, Step::Claiming { .. } | Step::Waiting) {
                    self.answer(place, browser, token, Outcome::Refused);
                }
                return;
            }
        }
    }

    pub(super) fn begin_claim(&mut self, place: usize, token: Token) {
        let time = self.time();
        let replica = &mut self.replicas[place];
        let nonce = replica.protocol.begin(&[name(token)], time);
        let Some(flight) = replica.flight(token) else { return };
        (flight.step, flight.claimed_at, flight.nonce) = (Step::Claiming { tries: 1 }, time, nonce);
        self.send_claim(place, token);
    }

    pub(super) fn send_claim(&mut self, place: usize, token: Token) {
        let Some(nonce) = self.replicas[place].flight(token).map(|flight| flight.nonce.clone()) else {
            return;
        };
        let claiming = self.claiming(vec![name(token)], nonce);
        self.ask_engine(place, Operation::Claim(claiming), Purpose::Claim(token));
    }

    pub(super) fn ask_again(&mut self, place: usize, token: Token) {
        let now = self.now;
        let Some(flight) = self.replicas[place].flight(token) else { return };
        if flight.step == Step::Waiting {
            if now < flight.began_at + PATIENCE {
                self.begin_claim(place, token);
            } else {
                self.finish(place, token, Outcome::Refused);
            }
        }
    }

    pub(super) fn takes(&mut self, place: usize, request: u64) -> Option<Purpose> {
        let pending = &mut self.replicas[place].pending;
        let at = pending.iter().position(|(of, _)| *of == request)?;
        Some(pending.swap_remove(at).1)
    }

    /// The engine has answered.
    pub(super) fn reply(&mut self, place: usize, request: u64, answer: Answer) {
        if self.replicas[place].cut_until > self.now {
            return;
        }
        match (self.takes(place, request), answer) {
            (Some(Purpose::Claim(token)), Answer::Claim(answer)) => {
                self.note_generation(place, &answer.generation);
                self.claim_answered(place, token, answer);
            }
            (Some(Purpose::Result(assertion, presentation)), Answer::Assert(asserted)) => {
                self.recorded(place, presentation, &assertion, asserted);
            }
            (Some(Purpose::Errand(number)), _) => {
                self.replicas[place].protocol.done(&[number]);
                self.replicas[place].has_errand_on_its_way = false;
                self.look_at_outbox(place);
            }
            (Some(Purpose::Beat), Answer::Generation(generation)) => {
                self.note_generation(place, &generation);
                let is_old = generation != self.engine.primary.generation();
                self.replicas[place].needs_generation &= is_old;
                self.beat_later(place);
            }
            _ => {}
        }
    }
}
