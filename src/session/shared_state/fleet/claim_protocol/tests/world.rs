//! The world of a history: the time, everything that is on its way, the engine, the provider and the browsers.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::history::{BROWSERS, Conduct, Fate, History, Memory, Millis, Part, REPLICAS};
use super::ledger::{GRACE, Ledger, Process, Violation};
use super::link::{Answer, Operation};
use super::provider::{Provider, Token};
use super::replica::Replica;
use super::switches::Switches;
use crate::engine::fake::server::{Data, Primary};

/// Something that is on its way.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// A request of a browser.
    Arrive { browser: usize, token: Token, replica: usize },
    /// A request has waited for long enough.
    GiveUp { process: Process, request: u64 },
    /// An operation comes to the engine.
    Execute { process: Process, request: u64, operation: Operation },
    /// The engine's answer comes to a replica.
    Reply { process: Process, request: u64, answer: Answer },
    /// The engine's answer has not come.
    TimeOut { process: Process, request: u64, is_away: bool },
    /// A message comes to a replica.
    Hear { process: Process, message: Vec<u8> },
    /// A flight asks again.
    Ask { process: Process, token: Token },
    /// A replica looks at its outbox.
    LookAtOutbox { process: Process },
    /// A replica asks for the generation.
    Beat { process: Process },
    /// A replica's connection comes back.
    Reconnect { process: Process },
    /// The engine comes back.
    EngineBack { data: Memory },
    /// A refresh token comes to the provider.
    Present { presentation: usize, conduct: Conduct },
    /// The provider's answer comes to a replica.
    Told { process: Process, presentation: usize, answer: Told },
}

/// The outcome of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Tokens(Token),
    Refused,
    Busy,
    /// No answer has come in time.
    Nothing,
}

/// The engine and the network around it.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) primary: Primary,
    /// The data of a copy that lags, and the time at which it got the last ones.
    pub(super) copy: Option<(Millis, Data)>,
    pub(super) stopped_until: Millis,
    pub(super) is_down: bool,
    pub(super) down_at: Millis,
}

/// A browser.
#[derive(Debug)]
pub(super) struct Browser {
    pub(super) token: Token,
    pub(super) misses_next: bool,
    /// It has had tokens since all faults have ended.
    pub(super) is_served: bool,
}

/// The world.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Millis,
    pub(super) started: Instant,
    last_number: u64,
    pub(super) queue: BTreeMap<(Millis, u8, u64), Box<Item>>,
    /// The numbers of items that wait for something that is stopped.
    pub(super) held: HashSet<u64>,
    pub(super) engine: Engine,
    pub(super) provider: Provider,
    pub(super) conduct: Option<Conduct>,
    pub(super) replicas: Vec<Replica>,
    pub(super) browsers: Vec<Browser>,
    pub(super) ledger: Ledger,
    pub(super) switches: Switches,
    pub(super) has_grace: bool,
    pub(super) waits_for_copy: bool,
}

impl World {
    pub(super) fn new(history: &History, switches: Switches) -> Self {
        let started = Instant::now();
        let has_grace = history.has_grace && !switches.takes_over_from_silent;
        let mut provider = Provider::new(if has_grace { GRACE } else { 0 });
        let browser = |_| Browser { token: provider.log_in(), misses_next: false, is_served: false };
        let browsers = (0..BROWSERS).map(browser).collect();
        let primary = Primary { data: Data::default(), number: 1, settled_at: started, time: Some(started) };
        let mut world = Self {
            now: 1_000_000,
            started,
            last_number: 0,
            queue: BTreeMap::new(),
            held: HashSet::new(),
            engine: Engine { primary, copy: None, stopped_until: 0, is_down: false, down_at: 0 },
            provider,
            conduct: None,
            replicas: (0..REPLICAS).map(|place| Replica::new((place, 0), switches)).collect(),
            browsers,
            ledger: Ledger::new(has_grace),
            switches,
            has_grace,
            waits_for_copy: history.waits_for_copy,
        };
        world.all_connect();
        world
    }

    /// Runs a history. Returns the first broken property.
    pub(super) fn run(history: &History, switches: Switches) -> Option<Violation> {
        let mut world = Self::new(history, switches);
        for event in &history.events {
            world.happen(event);
            if world.ledger.violation.is_some() {
                return world.ledger.violation;
            }
        }
        world.end();
        world.ledger.violation
    }

    /// Returns the time as the protocol takes it.
    pub(super) const fn time(&self) -> Duration {
        Duration::from_millis(self.now)
    }

    /// Puts something on its way. Answers come before time-outs of the same moment.
    pub(super) fn send(&mut self, after: Millis, item: Item) {
        let class = match item {
            Item::Reply { .. } | Item::Told { .. } => 0,
            Item::Hear { .. } => 1,
            Item::TimeOut { .. } | Item::GiveUp { .. } => 3,
            _ => 2,
        };
        self.last_number += 1;
        self.queue.insert((self.now + after, class, self.last_number), Box::new(item));
    }

    /// Returns a number that no other thing has.
    pub(super) const fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Lets time pass, with everything that comes meanwhile.
    pub(super) fn pass(&mut self, lasts: Millis) {
        let until = self.now + lasts;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, class, number), item) = entry.remove_entry();
            self.now = self.now.max(at);
            self.engine.primary.time = Some(self.started + Duration::from_millis(self.now));
            let waits_until = match process(&item) {
                Some(process) if !self.is_current(process) => continue,
                Some((place, _)) => self.replicas[place].frozen_until,
                None if matches!(*item, Item::Execute { .. }) => self.engine.stopped_until,
                None => 0,
            };
            if self.now < waits_until {
                self.held.insert(number);
                self.queue.insert((waits_until, class, number), item);
            } else {
                self.come(*item);
            }
            if self.ledger.violation.is_some() {
                return;
            }
        }
        self.now = until;
        self.engine.primary.time = Some(self.started + Duration::from_millis(self.now));
    }

    fn come(&mut self, item: Item) {
        match item {
            Item::Arrive { browser, token, replica } => self.arrive(browser, token, replica),
            Item::GiveUp { process: (place, _), request } => self.give_up(place, request),
            Item::Execute { process, request, operation } => self.execute(process, request, operation),
            Item::Reply { process: (place, _), request, answer } => self.reply(place, request, answer),
            Item::TimeOut { process: (place, _), request, is_away } => {
                self.time_out(place, request, is_away);
            }
            Item::Hear { process: (place, _), message } => self.hear(place, &message),
            Item::Ask { process: (place, _), token } => self.ask_again(place, token),
            Item::LookAtOutbox { process: (place, _) } => {
                self.replicas[place].will_look = false;
                self.look_at_outbox(place);
            }
            Item::Beat { process: (place, _) } => self.beat(place),
            Item::Reconnect { process: (place, _) } => self.reconnect(place),
            Item::EngineBack { data } => self.engine_back(data),
            Item::Present { presentation, conduct } => self.decide(presentation, conduct),
            Item::Told { process: (place, _), presentation, answer } => {
                self.told(place, presentation, answer);
            }
        }
    }

    pub(super) fn is_current(&self, (place, start): Process) -> bool {
        self.replicas[place].process.1 == start
    }

    /// Takes the fate of the next item of this kind.
    pub(super) fn fate(&mut self, place: usize, part: Part) -> Option<Fate> {
        let fates = &mut self.replicas[place].fates;
        let at = fates.iter().position(|(of, _)| *of == part)?;
        let (_, fate) = fates.remove(at);
        let lasts = match fate {
            Fate::Lost => 600,
            Fate::Late(late) => 600 + late,
        };
        self.ledger.trouble(place, self.now, self.now + lasts);
        Some(fate)
    }
}

/// Returns the process to which an item comes.
const fn process(item: &Item) -> Option<Process> {
    match item {
        Item::Arrive { .. } | Item::Execute { .. } | Item::EngineBack { .. } | Item::Present { .. } => None,
        Item::GiveUp { process, .. }
        | Item::Reply { process, .. }
        | Item::TimeOut { process, .. }
        | Item::Hear { process, .. }
        | Item::Ask { process, .. }
        | Item::LookAtOutbox { process }
        | Item::Beat { process }
        | Item::Reconnect { process }
        | Item::Told { process, .. } => Some(*process),
    }
}
