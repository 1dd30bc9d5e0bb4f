//! The operations of the shared state, over this replica and its engine.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, mpsc};

use crate::access::revocations::{EndedBy, Mark, TokenMarks};
use crate::access::session_tables::SessionTables;
use crate::access::tokens::RefreshToken;
use crate::config;
use crate::engine::commands::{Engine, EngineEvent, Generation};
use crate::engine::facts::EngineFacts;
use crate::engine::sealing::FleetKeys;
use crate::session::login_name::LoginName;
use crate::session::login_queue::{Turn, Waiting};
use crate::session::outcome::Outcome;
use crate::session::replay_window::ReplayWindow;
use crate::session::reuse_detection::Jwt;
use crate::session::session_key::SessionKey;
use crate::session::shared_state::SharedState;
use crate::session::shared_state::fleet::activity::FleetActivity;
use crate::session::shared_state::fleet::claim_protocol::{ClaimProtocol, Errand, Times};
use crate::session::shared_state::fleet::claiming;
use crate::session::shared_state::fleet::logins::FleetLogins;
use crate::session::shared_state::fleet::members::{Member, Members};
use crate::session::shared_state::fleet::message::{AliveMessage, Message};
use crate::session::shared_state::fleet::publishing;
use crate::session::shared_state::fleet::readiness::Readiness;
use crate::session::shared_state::fleet::replica::{ENDED_IS_KEPT, Replica};
use crate::session::shared_state::fleet::revocations::FleetRevocations;
use crate::session::shared_state::memory::InMemory;
use crate::session::shared_state::values::{
    Asked, Claim, Claimed, Ended, Gain, LoginReservation, NewRevocation, NoAnswer, Settings,
};
use crate::session::throttle::Refused;
use crate::system::clock::Clock;
use crate::system::elapsed::elapsed;
use crate::telemetry::metrics::fleet::FLEET_METRICS;

/// The shared state of one replica of a fleet.
#[derive(Debug, Clone)]
pub(crate) struct Fleet(pub(super) Arc<Replica>);

/// The facts about the fleet that operators see.
#[derive(Debug, Clone)]
pub(crate) struct FleetFacts {
    /// The id of this replica.
    pub(crate) replica: String,
    /// The engine answers.
    pub(crate) is_up: bool,
    pub(crate) engine: Arc<EngineFacts>,
    /// The engine's generation, as this replica has last seen it.
    pub(crate) generation: Option<Generation>,
    /// The number of errands that wait for the engine.
    pub(crate) outbox: usize,
    /// The time for which the first of them has been due.
    pub(crate) outbox_waits: Duration,
    /// The memory of the results that this replica keeps, in bytes.
    pub(crate) results_bytes: usize,
    /// The replicas that have sent a message in the last seconds. This replica is one of them.
    pub(crate) members: Vec<Member>,
    /// The number of revocations that are known here.
    pub(crate) revocations: usize,
    /// The number of revocations in the engine that were sealed with a key that is not known here.
    pub(crate) unreadable_revocations: u64,
    /// The reason why this replica does not fit the others.
    pub(crate) conflict: Option<String>,
    /// The time since this replica last had all revocations. `None` if it never had.
    pub(crate) staleness: Option<Duration>,
}

/// The tables that requests read at this replica.
#[derive(Debug)]
pub(crate) struct LocalTables {
    pub(crate) replay_window: Arc<ReplayWindow>,
    pub(crate) memory: Arc<SessionTables>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The configured number of seconds for which revocations are kept.
    pub(crate) revocation_lifetime: u64,
}

/// The link of a replica to its engine.
#[derive(Debug)]
pub(crate) struct EngineLink {
    pub(crate) engine: Arc<dyn Engine>,
    /// The events that the engine brings.
    pub(crate) events: mpsc::Receiver<EngineEvent>,
    /// The id of this replica: random for each start.
    pub(crate) replica: String,
}

impl Fleet {
    /// Makes the shared state of this replica. It makes no connection. Returns `None` if there is no key.
    pub(crate) fn new(
        link: EngineLink,
        settings: &config::SharedState,
        tables: LocalTables,
        local: InMemory,
    ) -> Option<Self> {
        let LocalTables { replay_window, memory, clock, revocation_lifetime } = tables;
        let EngineLink { engine, events, replica } = link;
        // All series are there from the start.
        LazyLock::force(&FLEET_METRICS);
        let keys = Arc::new(FleetKeys::new(&settings.keys)?);
        let replay_cache = usize::try_from(settings.replay_cache).unwrap_or(usize::MAX);
        let times = Times { claim: config::SharedState::CLAIM };
        let protocol = Mutex::new(ClaimProtocol::new(&replica, times, replay_cache));
        let alive = AliveMessage::new(&replica, &keys);
        let living = Arc::new(AtomicUsize::new(1));
        let asked = (Arc::clone(&engine), Arc::clone(&keys));
        let logins = FleetLogins::new(asked, &replica, Arc::clone(local.throttle()), Arc::clone(&living));
        Some(Self(Arc::new(Replica {
            protocol,
            alive: ArcSwap::from_pointee(alive),
            id: replica,
            replay_window,
            local,
            engine,
            logins: Arc::new(logins),
            living,
            activity: FleetActivity::new(Arc::clone(&memory)),
            revocations: FleetRevocations::new(memory, Arc::clone(&keys), revocation_lifetime),
            keys,
            clock,
            events: Mutex::new(Some(events)),
            arrived: Notify::new(),
            posted: Notify::new(),
            members: Members::default(),
            readiness: Readiness::new(elapsed()),
            noted: Mutex::default(),
        })))
    }

    /// Sets `session.idle_lifetime`.
    pub(crate) fn set_idle_lifetime(&self, idle: Option<Duration>) {
        self.0.activity.set_idle_lifetime(idle);
    }

    /// Sets the longest time that a login may take.
    pub(crate) fn set_longest_login(&self, longest: Duration) {
        self.0.logins.set_longest_login(longest);
    }

    /// Sets the settings that must be the same at all replicas: names and values.
    pub(crate) fn agree_on(&self, settings: Vec<(String, String)>) {
        let alive = self.0.alive.load();
        self.0.alive.store(Arc::new(AliveMessage { settings, ..(**alive).clone() }));
    }

    /// Records that a task of the fleet has failed. This replica serves no more.
    pub(crate) fn fail(&self) {
        self.0.readiness.fail();
    }

    /// Returns the reason why this replica may not serve yet.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        let now = elapsed();
        let conflict = self.0.members.conflict(&self.0.alive.load(), now);
        self.0.readiness.check(now, conflict)
    }

    /// Returns the facts about the fleet that operators see.
    pub(crate) fn facts(&self) -> FleetFacts {
        let (replica, now) = (&self.0, elapsed());
        let protocol = replica.protocol();
        FleetFacts {
            replica: replica.id.clone(),
            is_up: replica.engine.is_up(),
            engine: replica.engine.facts(),
            generation: protocol.generation().cloned(),
            outbox: protocol.outbox_len(),
            outbox_waits: protocol.outbox_waits(now),
            results_bytes: protocol.results.bytes(),
            members: replica.members.living(now),
            conflict: replica.members.conflict(&replica.alive.load(), now),
            revocations: replica.revocations.len(),
            unreadable_revocations: replica.revocations.unreadable(),
            staleness: replica.revocations.staleness(),
        }
    }
}

#[async_trait]
impl SharedState for Fleet {
    async fn claim(&self, key: SessionKey, refresh_token: &RefreshToken, asked: Asked) -> Claim {
        claiming::claim(&self.0, key, refresh_token, asked).await
    }

    async fn publish(&self, claimed: Claimed, outcome: Outcome, gain: Gain) -> Outcome {
        publishing::publish(&self.0, claimed, outcome, gain).await
    }

    async fn release(&self, claimed: Claimed, outcome: Outcome, why: NoAnswer) -> Outcome {
        publishing::release(&self.0, claimed, outcome, why)
    }

    fn used(&self, key: SessionKey) {
        self.0.used(key);
        self.0.tell(&Message::Used(key.into()));
    }

    async fn begin(&self, key: SessionKey, jwt: Jwt, started_at: u64) {
        let replica = &self.0;
        replica.local.begin(key, jwt, started_at).await;
        let names = replica.names(key);
        replica.protocol().results.forget_end(&names);
        replica.tell(&Message::Begun { key: key.into(), jwt: jwt.into(), started_at });
        if replica.engine.forget_end(&names).await.is_err() {
            replica.post([(Errand::ForgetEnd(names), ENDED_IS_KEPT)]);
        }
    }

    async fn end(&self, key: SessionKey, by: EndedBy, is_strangers: bool) -> Ended {
        let ended = self.0.replay_window.end(key, by);
        if is_strangers {
            // The engine has no room for all that strangers make up.
            return ended;
        }
        self.0.tell_end(key, by);
        // If only another replica knows the text of the newest refresh token, it is ended by its name.
        if let (None, Some(successor)) = (&ended.successor, ended.successor_key) {
            self.0.replay_window.end(successor, by);
            self.0.tell_end(successor, by);
        }
        ended
    }

    async fn revoke(&self, revocation: NewRevocation, now: u64) {
        self.0.post_revocations(self.0.revocations.revoke(revocation, now));
    }

    async fn admit(&self, marks: &TokenMarks, issued_at: Option<u64>, now: u64) {
        self.0.post_revocations(self.0.revocations.admit(marks, issued_at, now));
    }

    async fn revoke_once(&self, once: Mark, once_until: u64, revocation: NewRevocation, now: u64) -> bool {
        let (is_first, errand) = self.0.revocations.revoke_once((once, once_until), revocation, now);
        self.0.post_revocations(errand);
        is_first
    }

    async fn check_login(&self, name: &LoginName) -> Result<(), Duration> {
        self.0.logins.check(name)
    }

    async fn reserve_login(&self, name: &LoginName) -> Result<Box<dyn LoginReservation>, Refused> {
        self.0.logins.reserve(name).await
    }

    async fn login_turn(&self, name: &LoginName, waiting: Waiting) -> Option<Turn> {
        self.0.logins.turn(name, waiting).await
    }

    fn login_settled(&self) -> Notified<'_> {
        self.0.logins.settled()
    }

    fn set(&self, settings: Settings) {
        self.0.local.set(settings);
    }
}
