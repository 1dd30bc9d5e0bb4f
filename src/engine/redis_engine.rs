//! The client of the engine. Operations use the connections that are there, and never wait for new ones.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use redis::{Cmd, Value};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::SharedState;
use crate::engine::answers;
use crate::engine::commands::{
    Asserted, Assertion, Bucket, ClaimAnswer, Claiming, Engine, EngineError, EngineEvent, Generation, Known,
    Reserved, Settled,
};
use crate::engine::connection::Connector;
use crate::engine::facts::EngineFacts;
use crate::engine::faults::Fault;
use crate::engine::keyspace::Keyspace;
use crate::engine::names::Name;
use crate::engine::primary::Primary;
use crate::engine::primary_search::PrimarySearch;
use crate::engine::scripts::{self, Call};
use crate::telemetry::metrics::shared_state::ENGINE_METRICS;

/// Returns the value of this replica's next heartbeat. It is sealed.
pub(crate) type HeartbeatValue = Arc<dyn Fn() -> Vec<u8> + Send + Sync>;

/// The longest time that a login waits for the engine.
const LOGIN: Duration = Duration::from_millis(100);

/// The time for which the first replica of a generation is remembered.
const FIRST: Duration = Duration::from_secs(24 * 3600);

/// The number of events that may wait.
const EVENTS: usize = 4096;

/// The client of the engine. [`RedisEngine::run`] keeps it connected.
pub(crate) struct RedisEngine {
    pub(super) owner: String,
    pub(super) keys: Keyspace,
    pub(super) connector: Connector,
    pub(super) search: PrimarySearch,
    pub(super) wait_replicas: u32,
    pub(super) settle: Duration,
    pub(super) command_timeout: Duration,
    pub(super) heartbeat: HeartbeatValue,
    pub(super) primary: ArcSwapOption<Primary>,
    pub(super) generation: watch::Sender<Option<Generation>>,
    pub(super) events: mpsc::Sender<EngineEvent>,
    facts: ArcSwap<EngineFacts>,
}

impl fmt::Debug for RedisEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RedisEngine").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl RedisEngine {
    /// Makes a client, without any I/O. `owner` is the id of this replica.
    pub(crate) fn new(
        settings: &SharedState,
        owner: &str,
        heartbeat: HeartbeatValue,
    ) -> (Arc<Self>, mpsc::Receiver<EngineEvent>) {
        ENGINE_METRICS.up.set(0);
        Self::with_keys(settings, owner, heartbeat, Keyspace::new(&settings.prefix))
    }

    /// Makes a client that uses these keys.
    pub(super) fn with_keys(
        settings: &SharedState,
        owner: &str,
        heartbeat: HeartbeatValue,
        keys: Keyspace,
    ) -> (Arc<Self>, mpsc::Receiver<EngineEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let search = PrimarySearch::new(settings);
        let facts = EngineFacts { address: search.configured(), ..EngineFacts::default() };
        let engine = Self {
            owner: owner.to_owned(),
            keys,
            connector: Connector::new(settings, &format!("portcullis-{owner}")),
            search,
            wait_replicas: settings.wait_replicas,
            settle: settings.settle,
            command_timeout: settings.command_timeout,
            heartbeat,
            primary: ArcSwapOption::empty(),
            generation: watch::Sender::new(None),
            events,
            facts: ArcSwap::from_pointee(facts),
        };
        (Arc::new(engine), receiver)
    }

    pub(super) fn set_facts(&self, facts: EngineFacts) {
        self.facts.store(Arc::new(facts));
    }

    /// Notes what an operator must change.
    pub(super) fn complain(&self, complaint: &str) {
        if self.facts.load().complaint.as_deref() != Some(complaint) {
            tracing::error!(engine = self.facts.load().address, "the engine: {complaint}");
            let facts =
                EngineFacts { complaint: Some(complaint.to_owned()), ..(**self.facts.load()).clone() };
            self.set_facts(facts);
        }
    }

    fn connected(&self, operation: &str) -> Result<Arc<Primary>, EngineError> {
        self.primary.load_full().ok_or_else(|| {
            ENGINE_METRICS.was_away(operation);
            EngineError::Away
        })
    }

    /// Sends a command.
    async fn ask(&self, operation: &str, command: Cmd, limit: Duration) -> Result<Value, EngineError> {
        let primary = self.connected(operation)?;
        let started = Instant::now();
        let result = primary.ask(&command, limit).await;
        self.judged(operation, started, &primary, result)
    }

    /// Calls a script.
    async fn call(&self, operation: &str, call: Call, limit: Duration) -> Result<Value, EngineError> {
        let primary = self.connected(operation)?;
        let started = Instant::now();
        let result = primary.call(&call, limit).await;
        self.judged(operation, started, &primary, result)
    }

    /// Records the result of a command. If it ends the connection, the task that keeps the connections is told.
    pub(super) fn judged<T>(
        &self,
        operation: &str,
        started: Instant,
        primary: &Primary,
        result: Result<T, Fault>,
    ) -> Result<T, EngineError> {
        ENGINE_METRICS.record(operation, started.elapsed(), result.as_ref().err().map(Fault::kind));
        result.map_err(|fault| {
            if fault.ends_connection() {
                primary.fail(fault.clone());
            }
            if let Fault::NotAllowed(text) = &fault {
                self.complain(text);
            }
            fault.error()
        })
    }

    fn login_timeout(&self) -> Duration {
        LOGIN.min(self.command_timeout)
    }

    fn buckets(&self, buckets: &[Bucket]) -> Vec<String> {
        buckets.iter().map(|bucket| self.keys.bucket(&bucket.name)).collect()
    }
}

fn with_limits(call: Call, buckets: &[Bucket]) -> Call {
    buckets.iter().fold(call, |call, bucket| call.with(bucket.leak).with(bucket.most))
}

/// Makes a command that writes a key unless it is there, and returns the value before.
fn set_once(key: &str, value: &str, lasts: Duration) -> Cmd {
    let mut command = redis::cmd("SET");
    let lasts = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX).max(1);
    command.arg(key).arg(value).arg("NX").arg("GET").arg("PX").arg(lasts);
    command
}

#[async_trait]
impl Engine for RedisEngine {
    fn facts(&self) -> Arc<EngineFacts> {
        self.facts.load_full()
    }

    fn is_up(&self) -> bool {
        self.primary.load().is_some()
    }

    async fn claim(&self, claiming: &Claiming) -> Result<ClaimAnswer, EngineError> {
        let Claiming { names, nonce, lasts, refresh_grace } = claiming;
        let keys = [vec![self.keys.generation()], self.keys.records(names)].concat();
        let call = scripts::CLAIM.call(&keys).with(nonce.as_str()).with(self.owner.as_str());
        let call = call.with(*lasts).with(self.settle).with(self.keys.heartbeats().as_str());
        let call = call.with(*refresh_grace);
        let primary = self.connected("claim")?;
        let started = Instant::now();
        let answer = primary.claim(&call, self.wait_replicas, self.command_timeout).await;
        self.judged("claim", started, &primary, answer)
    }

    async fn assert(&self, assertion: &Assertion) -> Result<Asserted, EngineError> {
        let Assertion { names, state, value, nonce, lasts, message } = assertion;
        let call = scripts::ASSERT.call(&self.keys.records(names)).with(state.word());
        let call = call.with(value.as_slice()).with(nonce.as_str()).with(self.owner.as_str()).with(*lasts);
        let call = call.with(self.keys.channel().as_str()).with(message.as_slice());
        let answer = self.call("assert", call, self.command_timeout).await?;
        answers::assert(answer).map_err(Fault::error)
    }

    async fn release(&self, names: &[Name], nonce: &str) -> Result<(), EngineError> {
        let call = scripts::RELEASE.call(&self.keys.records(names)).with(nonce);
        self.call("release", call, self.command_timeout).await.map(drop)
    }

    async fn shorten(&self, names: &[Name], nonce: &str, lasts: Duration) -> Result<(), EngineError> {
        let call = scripts::SHORTEN.call(&self.keys.records(names)).with(nonce).with(lasts);
        self.call("shorten", call, self.command_timeout).await.map(drop)
    }

    async fn forget_end(&self, names: &[Name]) -> Result<(), EngineError> {
        let call = scripts::FORGET_END.call(&self.keys.records(names));
        self.call("forget_end", call, self.command_timeout).await.map(drop)
    }

    async fn look(&self, names: &[Name]) -> Result<Option<Known>, EngineError> {
        let call = scripts::LOOK.call(&self.keys.records(names));
        let answer = self.call("look", call, self.command_timeout).await?;
        answers::record(answer).map_err(Fault::error)
    }

    async fn publish(&self, message: &[u8]) -> Result<(), EngineError> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(self.keys.channel()).arg(message);
        self.ask("publish", command, self.command_timeout).await.map(drop)
    }

    async fn add_revocations(&self, entries: &[Vec<u8>], kept: Duration) -> Result<(), EngineError> {
        let call = scripts::ADD_REVOCATIONS.call(&[self.keys.revocations()]).with(kept);
        let call = entries.iter().fold(call, |call, entry| call.with(entry.as_slice()));
        self.call("add_revocations", call, self.command_timeout).await.map(drop)
    }

    async fn is_first_of_generation(&self, generation: &Generation) -> Result<bool, EngineError> {
        let command = set_once(&self.keys.first(generation), &self.owner, FIRST);
        let answer = self.ask("is_first", command, self.command_timeout).await?;
        answers::set_by(answer, &self.owner).map_err(Fault::error)
    }

    async fn reserve(&self, buckets: &[Bucket]) -> Result<Reserved, EngineError> {
        let call = with_limits(scripts::RESERVE.call(&self.buckets(buckets)), buckets);
        let answer = self.call("reserve", call, self.login_timeout()).await?;
        answers::reserve(answer).map_err(Fault::error)
    }

    async fn settle(&self, buckets: &[Bucket], settled: Settled) -> Result<(), EngineError> {
        let word = match settled {
            Settled::Failed => "failed",
            Settled::Succeeded => "succeeded",
            Settled::Unknown => "unknown",
        };
        let call = with_limits(scripts::SETTLE.call(&self.buckets(buckets)).with(word), buckets);
        self.call("settle", call, self.login_timeout()).await.map(drop)
    }

    async fn take_turn(&self, name: &Name, owner: &str, lasts: Duration) -> Result<bool, EngineError> {
        let command = set_once(&self.keys.turn(name), owner, lasts);
        let answer = self.ask("take_turn", command, self.login_timeout()).await?;
        answers::set_by(answer, owner).map_err(Fault::error)
    }

    async fn give_turn(&self, name: &Name, owner: &str) -> Result<(), EngineError> {
        let call = scripts::GIVE_TURN.call(&[self.keys.turn(name)]).with(owner);
        self.call("give_turn", call, self.login_timeout()).await.map(drop)
    }
}
