//! An engine in memory, for tests of other floors. Replicas share a [`FakeServer`], and each has a [`FakeEngine`].
//!
//! Time is tokio's, so tests may pause it. Tests can cut replicas off, lose requests and answers, and lose data.

pub(crate) mod server;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::engine::commands::{
    Asserted, Assertion, Bucket, ClaimAnswer, Claiming, Engine, EngineError, EngineEvent, Generation, Known,
    Reserved, Settled,
};
use crate::engine::facts::EngineFacts;
use crate::engine::names::Name;

use server::{Data, Primary};

/// The number of events that a test may leave unread.
const EVENTS: usize = 65_536;

/// The server that replicas share.
#[derive(Debug, Clone)]
pub(crate) struct FakeServer(Arc<Mutex<Shared>>);

#[derive(Debug)]
struct Shared {
    primary: Primary,
    settle: Duration,
    links: HashMap<String, Link>,
}

/// The link of one replica.
#[derive(Debug)]
struct Link {
    events: mpsc::Sender<EngineEvent>,
    is_up: bool,
    /// The last generation that the replica was told.
    told: Option<Generation>,
    lost_requests: u32,
    lost_answers: u32,
}

/// The engine of one replica.
#[derive(Debug)]
pub(crate) struct FakeEngine {
    owner: String,
    server: FakeServer,
}

impl FakeServer {
    /// Makes a server that settles for this time after each change of its generation, and at the beginning.
    pub(crate) fn new(settle: Duration) -> Self {
        let primary =
            Primary { data: Data::default(), number: 1, settled_at: Instant::now() + settle, time: None };
        Self(Arc::new(Mutex::new(Shared { primary, settle, links: HashMap::new() })))
    }

    /// Connects a replica.
    pub(crate) fn connect(&self, owner: &str) -> (Arc<FakeEngine>, mpsc::Receiver<EngineEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let link = Link { events, is_up: false, told: None, lost_requests: 0, lost_answers: 0 };
        self.shared().links.insert(owner.to_owned(), link);
        let engine = Arc::new(FakeEngine { owner: owner.to_owned(), server: self.clone() });
        engine.come_back();
        (engine, receiver)
    }

    /// Cuts all replicas off.
    pub(crate) fn go_away(&self) {
        self.shared().each_owner(Shared::go_away);
    }

    /// Connects all replicas that were cut off.
    pub(crate) fn come_back(&self) {
        self.shared().each_owner(Shared::come_back);
    }

    /// Loses all data, as a restart without persistence does. Replicas stay connected.
    pub(crate) fn lose_everything(&self) {
        self.restore(Data::default());
    }

    /// Returns all data, as a node has it that gets no more of it.
    pub(crate) fn data(&self) -> Data {
        self.shared().primary.data.clone()
    }

    /// Becomes a new primary with this data.
    pub(crate) fn restore(&self, data: Data) {
        let mut shared = self.shared();
        let settled_at = Instant::now() + shared.settle;
        shared.primary = Primary { data, number: shared.primary.number + 1, settled_at, time: None };
        let gone: Vec<_> =
            shared.links.iter().filter(|(_, link)| !link.is_up).map(|(owner, _)| owner.clone()).collect();
        for owner in gone {
            shared.primary.has_gone(&owner);
        }
        shared.each_owner(Shared::tell_generation);
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn each_owner(&mut self, act: impl Fn(&mut Self, &str)) {
        let owners: Vec<_> = self.links.keys().cloned().collect();
        for owner in &owners {
            act(self, owner);
        }
    }

    fn send(&self, owner: &str, event: EngineEvent) {
        if let Some(link) = self.links.get(owner).filter(|link| link.is_up || is_about_link(&event)) {
            // A test that has dropped the receiver does not want events.
            let _ = link.events.try_send(event);
        }
    }

    fn go_away(&mut self, owner: &str) {
        let Some(link) = self.links.get_mut(owner).filter(|link| link.is_up) else { return };
        link.is_up = false;
        self.primary.has_gone(owner);
        self.send(owner, EngineEvent::Disconnected(EngineError::Away));
    }

    fn come_back(&mut self, owner: &str) {
        let (generation, settling) = (self.primary.generation(), self.primary.settling());
        let Some(link) = self.links.get_mut(owner).filter(|link| !link.is_up) else { return };
        link.is_up = true;
        let before = link.told.clone();
        self.primary.has_come(owner);
        self.send(owner, EngineEvent::Connected { generation, settling });
        self.tell_generation(owner);
        if before.is_some() {
            self.send(owner, EngineEvent::MissedMessages);
        }
        self.send_stream(owner);
    }

    /// Tells a replica of a generation that is new to it, and sends the whole stream again.
    fn tell_generation(&mut self, owner: &str) {
        let generation = self.primary.generation();
        let Some(link) = self.links.get_mut(owner).filter(|link| link.is_up) else { return };
        let before = link.told.replace(generation.clone());
        if before.is_some_and(|before| before != generation) {
            self.send(owner, EngineEvent::NewGeneration(generation));
            self.send_stream(owner);
        }
    }

    fn send_stream(&self, owner: &str) {
        let entries = self.primary.revocations();
        if !entries.is_empty() {
            self.send(owner, EngineEvent::Revocations(entries));
        }
        self.send(owner, EngineEvent::CaughtUp);
    }

    fn publish(&self, message: &[u8]) {
        for owner in self.links.keys() {
            self.send(owner, EngineEvent::Message(message.to_vec()));
        }
    }
}

/// Tells whether the event reaches a replica that is cut off.
fn is_about_link(event: &EngineEvent) -> bool {
    matches!(event, EngineEvent::Disconnected(_))
}

impl FakeEngine {
    /// Cuts this replica off. After three seconds its heartbeat is gone.
    pub(crate) fn go_away(&self) {
        self.server.shared().go_away(&self.owner);
    }

    /// Connects this replica again.
    pub(crate) fn come_back(&self) {
        self.server.shared().come_back(&self.owner);
    }

    /// Loses this number of requests. They are not carried out, and the replica does not know that.
    pub(crate) fn lose_requests(&self, number: u32) {
        if let Some(link) = self.server.shared().links.get_mut(&self.owner) {
            link.lost_requests = number;
        }
    }

    /// Loses the answers of this number of requests. They are carried out.
    pub(crate) fn lose_answers(&self, number: u32) {
        if let Some(link) = self.server.shared().links.get_mut(&self.owner) {
            link.lost_answers = number;
        }
    }

    fn carry_out<T>(&self, act: impl FnOnce(&mut Shared) -> T) -> Result<T, EngineError> {
        let mut shared = self.server.shared();
        let Some(link) = shared.links.get_mut(&self.owner).filter(|link| link.is_up) else {
            return Err(EngineError::Away);
        };
        if link.lost_requests > 0 {
            link.lost_requests -= 1;
            return Err(EngineError::NoAnswer(String::from("the request was lost")));
        }
        let is_answer_lost = link.lost_answers > 0;
        link.lost_answers = link.lost_answers.saturating_sub(1);
        let result = act(&mut shared);
        if is_answer_lost {
            return Err(EngineError::NoAnswer(String::from("the answer was lost")));
        }
        Ok(result)
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn facts(&self) -> Arc<EngineFacts> {
        Arc::default()
    }

    fn is_up(&self) -> bool {
        self.server.shared().links.get(&self.owner).is_some_and(|link| link.is_up)
    }

    async fn claim(&self, claiming: &Claiming) -> Result<ClaimAnswer, EngineError> {
        self.carry_out(|shared| shared.primary.claim(&self.owner, claiming))
    }

    async fn assert(&self, assertion: &Assertion) -> Result<Asserted, EngineError> {
        self.carry_out(|shared| {
            let asserted = shared.primary.assert(&self.owner, assertion);
            if asserted == Asserted::Written && !assertion.message.is_empty() {
                shared.publish(&assertion.message);
            }
            asserted
        })
    }

    async fn release(&self, names: &[Name], nonce: &str) -> Result<(), EngineError> {
        self.carry_out(|shared| shared.primary.release(names, nonce))
    }

    async fn shorten(&self, names: &[Name], nonce: &str, lasts: Duration) -> Result<(), EngineError> {
        self.carry_out(|shared| shared.primary.shorten(names, nonce, lasts))
    }

    async fn forget_end(&self, names: &[Name]) -> Result<(), EngineError> {
        self.carry_out(|shared| shared.primary.forget_end(names))
    }

    async fn look(&self, names: &[Name]) -> Result<Option<Known>, EngineError> {
        self.carry_out(|shared| shared.primary.look(names))
    }

    async fn publish(&self, message: &[u8]) -> Result<(), EngineError> {
        self.carry_out(|shared| shared.publish(message))
    }

    async fn add_revocations(&self, entries: &[Vec<u8>], kept: Duration) -> Result<(), EngineError> {
        self.carry_out(|shared| {
            shared.primary.add_revocations(entries, kept);
            for owner in shared.links.keys() {
                shared.send(owner, EngineEvent::Revocations(entries.to_vec()));
                shared.send(owner, EngineEvent::CaughtUp);
            }
        })
    }

    async fn is_first_of_generation(&self, generation: &Generation) -> Result<bool, EngineError> {
        self.carry_out(|shared| shared.primary.is_first_of_generation(generation, &self.owner))
    }

    async fn reserve(&self, buckets: &[Bucket]) -> Result<Reserved, EngineError> {
        self.carry_out(|shared| shared.primary.reserve(buckets))
    }

    async fn settle(&self, buckets: &[Bucket], settled: Settled) -> Result<(), EngineError> {
        self.carry_out(|shared| shared.primary.settle(buckets, settled))
    }

    async fn take_turn(&self, name: &Name, owner: &str, lasts: Duration) -> Result<bool, EngineError> {
        self.carry_out(|shared| shared.primary.take_turn(name, owner, lasts))
    }

    async fn give_turn(&self, name: &Name, owner: &str) -> Result<(), EngineError> {
        self.carry_out(|shared| shared.primary.give_turn(name, owner))
    }
}

#[cfg(test)]
mod tests;
