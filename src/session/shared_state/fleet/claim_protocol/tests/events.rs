//! The events of a history, and its end.

use std::time::Duration;

use super::history::{BROWSERS, Event, Memory, Millis, REPLICAS};
use super::ledger::{Property, SETTLE};
use super::replica::{Replica, name};
use super::world::{Item, World};
use crate::engine::fake::server::Data;

/// The age after which the data of the copy are of no use.
const MOST_LAG: Millis = 10_000;

/// The seconds after the last fault within which each browser has tokens, if no claim was left over. A provider's
/// answer may take twenty of them.
const SOON: usize = 35;

/// The seconds after which a claim that was left over is over, too.
const MOST_SECONDS: usize = 100;

impl World {
    /// An event happens.
    pub(super) fn happen(&mut self, event: &Event) {
        match *event {
            Event::Pass(lasts) => self.pass(lasts),
            Event::Requests { browser, number, spread, is_old_tab } => {
                let mut token = self.browsers[browser].token;
                token.number -= u32::from(is_old_tab && token.number > 0);
                for place in 0..number {
                    let replica = spread / REPLICAS.pow(place) % REPLICAS;
                    self.send(u64::from(place) % 3, Item::Arrive { browser, token, replica });
                }
            }
            Event::AnswerMissed { browser } => self.browsers[browser].misses_next = true,
            Event::Disturb { replica, part, fate } => self.replicas[replica].disturb(part, fate),
            Event::Provider(conduct) => self.conduct = Some(conduct),
            Event::Cut { replica, lasts } => self.cut(replica, lasts),
            Event::Freeze { replica, lasts } => {
                let until = &mut self.replicas[replica].frozen_until;
                *until = (*until).max(self.now + lasts);
                self.ledger.frozen(replica, self.now, self.now + lasts);
            }
            Event::Kill { replica } => self.kill(replica),
            Event::Stop(lasts) => {
                self.engine.stopped_until = self.engine.stopped_until.max(self.now + lasts);
                self.ledger.trouble_all(self.now, self.now + lasts);
            }
            Event::Down { lasts, data } => {
                if !self.engine.is_down {
                    (self.engine.is_down, self.engine.down_at) = (true, self.now);
                    self.engine.stopped_until = 0;
                    // What it has received is lost with it.
                    self.queue.retain(|_, item| !matches!(**item, Item::Execute { .. }));
                    self.ledger.trouble_all(self.now, self.now + lasts);
                    self.send(lasts, Item::EngineBack { data });
                }
            }
            Event::CopyLags => self.engine.copy = Some((self.now, self.engine.primary.data.clone())),
        }
    }

    /// The engine comes back, with another generation.
    pub(super) fn engine_back(&mut self, data: Memory) {
        if !self.engine.is_down {
            return;
        }
        self.engine.is_down = false;
        let copy = self.engine.copy.take().filter(|(at, _)| self.now < at + MOST_LAG);
        match (data, copy) {
            (Memory::Nothing, _) => self.engine.primary.data = Data::default(),
            (Memory::Copy, Some((_, data))) => {
                self.engine.primary.data = data;
                self.ledger.may_have_orphans = true;
            }
            _ => {}
        }
        let settle = if self.switches.has_no_settling { 0 } else { SETTLE };
        let primary = &mut self.engine.primary;
        primary.number += 1;
        primary.settled_at = self.started + Duration::from_millis(self.now + settle);
        self.ledger.changed(self.now, |presentation| {
            let name = name(presentation.token);
            let is_claimed = primary.claimant(&name) == Some(&presentation.nonce);
            let has_result = primary.look(&[name]).is_some_and(|known| !known.value.is_empty());
            (is_claimed || has_result, has_result)
        });
        self.all_connect();
    }

    /// All replicas ask for the generation, one after the other.
    pub(super) fn all_connect(&mut self) {
        for place in 0..REPLICAS {
            self.connect(place, 100 + 150 * place as Millis);
        }
    }

    /// All faults end, and each browser gets tokens.
    pub(super) fn end(&mut self) {
        self.engine.stopped_until = 0;
        self.engine.copy = None;
        self.conduct = None;
        self.engine_back(Memory::All);
        // Everything that was late comes now, except the provider's answers.
        for (key, item) in std::mem::take(&mut self.queue) {
            let is_late = matches!(*item, Item::Execute { .. } | Item::Hear { .. } | Item::Arrive { .. });
            let at = if is_late || self.held.contains(&key.2) { key.0.min(self.now + 1) } else { key.0 };
            self.queue.insert((at, key.1, key.2), item);
        }
        for place in 0..REPLICAS {
            self.replicas[place].frozen_until = 0;
            self.replicas[place].fates.clear();
            self.reconnect(place);
        }
        self.browsers
            .iter_mut()
            .for_each(|browser| (browser.is_served, browser.misses_next) = (false, false));
        for second in 0..MOST_SECONDS {
            if second > SOON && !self.ledger.may_have_orphans {
                break;
            }
            self.pass(1_000);
            let is_empty = self.replicas.iter().all(Replica::is_idle);
            if self.ledger.violation.is_some() || is_empty && self.browsers.iter().all(|b| b.is_served) {
                return;
            }
            for browser in 0..BROWSERS {
                if !self.browsers[browser].is_served {
                    let token = self.browsers[browser].token;
                    let replica = (second + browser) % REPLICAS;
                    self.send(0, Item::Arrive { browser, token, replica });
                }
            }
        }
        self.judge_end();
    }

    fn judge_end(&mut self) {
        let unserved = self.browsers.iter().find(|browser| !browser.is_served).map(|browser| browser.token);
        if let Some(token) = unserved {
            self.ledger.violated(Property::NoTokens, self.now, || format!("{token:?}"));
        }
        if let Some(place) = (0..REPLICAS).find(|place| self.replicas[*place].protocol.outbox_len() > 0) {
            let about = || format!("replica {place}: {:?}", self.replicas[place].protocol);
            self.ledger.violated(Property::OutboxNotEmpty, self.now, about);
        }
    }
}
