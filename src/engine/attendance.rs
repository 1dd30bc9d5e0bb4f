//! Keeps the client connected: finds the primary, makes the connections, and begins again when they fail.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use redis::aio::PubSub;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::answers;
use crate::engine::commands::Engine;
use crate::engine::commands::{EngineError, EngineEvent, Generation};
use crate::engine::facts::EngineFacts;
use crate::engine::faults::Fault;
use crate::engine::heartbeat;
use crate::engine::messages;
use crate::engine::primary::Primary;
use crate::engine::primary_search::shown;
use crate::engine::redis_engine::RedisEngine;
use crate::engine::revocation_stream::{self, Cursor};
use crate::telemetry::metrics::shared_state::ENGINE_METRICS;

/// The longest time for one command while connections are made.
const SETUP: Duration = Duration::from_secs(1);

/// The shortest and the longest time between the beginnings of two attempts to connect, in milliseconds.
const ATTEMPTS: std::ops::Range<u64> = 250..500;

/// New connections to a primary.
pub(super) struct Attached {
    pub(super) primary: Primary,
    messages: PubSub,
    pub(super) facts: EngineFacts,
    pub(super) generation: Generation,
    settling: Duration,
}

impl RedisEngine {
    /// Keeps the client connected until `is_over`.
    pub(crate) async fn run(self: Arc<Self>, mut is_over: watch::Receiver<bool>) {
        tokio::select! {
            () = self.attend() => {}
            _ = is_over.wait_for(|is_over| *is_over) => {}
        }
        self.detach();
    }

    async fn attend(&self) {
        let (mut told, mut cursor) = (None, Cursor::default());
        loop {
            let began = Instant::now();
            let error = match self.attach().await {
                Ok(attached) => {
                    told = None;
                    let fault = self.stay(attached, &mut cursor).await;
                    self.detach();
                    fault.reason()
                }
                Err(error) => {
                    self.search.doubt();
                    error
                }
            };
            if let EngineError::Refused(text) = &error {
                self.complain(text);
            }
            if told.as_ref().is_none_or(|told| is_other(told, &error)) {
                tracing::debug!(engine = self.facts().address, "the engine is away: {error}");
                self.emit(EngineEvent::Disconnected(error.clone())).await;
                told = Some(error);
            }
            // An attempt that took its time is followed by the next one at once.
            tokio::time::sleep_until(began + Duration::from_millis(fastrand::u64(ATTEMPTS))).await;
        }
    }

    fn detach(&self) {
        self.primary.store(None);
        ENGINE_METRICS.up.set(0);
    }

    /// Sends an event. Nobody needs it if the receiver is gone.
    pub(super) async fn emit(&self, event: EngineEvent) {
        let _ = self.events.send(event).await;
    }

    /// Makes all connections to the primary.
    pub(super) async fn attach(&self) -> Result<Attached, EngineError> {
        let (host, port) = self.search.find(&self.connector).await?;
        let commands = self.connector.open(&host, port).await.map_err(Fault::reason)?;
        let claims = match self.wait_replicas {
            0 => None,
            _ => Some(self.connector.open(&host, port).await.map_err(Fault::reason)?),
        };
        let primary = Primary::new(host.clone(), port, commands, claims);
        let facts = self.look_at(&primary).await?;
        if facts.role != "master" {
            let address = shown(&host, port);
            return Err(EngineError::NoAnswer(format!("{address} is a copy, and not the primary")));
        }
        revocation_stream::try_it(self, &primary, SETUP).await.map_err(Fault::reason)?;
        let messages = self.connector.subscribe(&host, port, &self.keys.channel()).await;
        let messages = messages.map_err(Fault::reason)?;
        let (generation, settling) = heartbeat::touch(self, &primary, SETUP).await.map_err(Fault::reason)?;
        Ok(Attached { primary, messages, facts, generation, settling })
    }

    /// Asks the engine for the facts about it.
    pub(super) async fn look_at(&self, primary: &Primary) -> Result<EngineFacts, EngineError> {
        let info = primary.ask(&redis::cmd("INFO"), SETUP).await.map_err(Fault::reason)?;
        let info = answers::bytes(match info {
            Value::VerbatimString { text, .. } => Value::SimpleString(text),
            info => info,
        });
        let info = info.map_err(Fault::reason)?;
        let address = shown(&primary.host, primary.port);
        let facts = EngineFacts::of_info(&address, &String::from_utf8_lossy(&info));
        // The complaint stays until the engine works, so that it is not logged again and again.
        let complaint = self.facts().complaint.clone();
        self.set_facts(EngineFacts { complaint, ..facts.clone() });
        facts.check_version().map_err(EngineError::Refused)?;
        let complaint = facts.check_settings(self.wait_replicas);
        Ok(EngineFacts { complaint, ..facts })
    }

    /// Takes the facts about an engine that works, with what an operator must change.
    pub(super) fn take(&self, facts: EngineFacts) {
        match &facts.complaint {
            Some(complaint) => self.complain(complaint),
            None => self.set_facts(facts),
        }
    }

    /// Uses the connections until one of them fails.
    async fn stay(&self, attached: Attached, cursor: &mut Cursor) -> Fault {
        let Attached { primary, messages, facts, generation, settling } = attached;
        self.take(facts);
        let primary = Arc::new(primary);
        self.primary.store(Some(Arc::clone(&primary)));
        ENGINE_METRICS.up.set(1);
        let is_first = self.generation.borrow().is_none();
        tracing::debug!(engine = self.facts().address, "the engine is there");
        self.emit(EngineEvent::Connected { generation: generation.clone(), settling }).await;
        self.note(generation).await;
        if !is_first {
            self.emit(EngineEvent::MissedMessages).await;
        }
        tokio::select! {
            fault = primary.failed() => fault,
            fault = heartbeat::beat(self, &primary) => fault,
            fault = messages::receive(self, &primary, messages) => fault,
            fault = revocation_stream::read(self, &primary, cursor) => fault,
        }
    }

    /// Notes the engine's generation.
    pub(super) async fn note(&self, generation: Generation) {
        let before = self.generation.send_replace(Some(generation.clone()));
        if before.is_some_and(|before| before != generation) {
            ENGINE_METRICS.generation_changes.inc();
            self.emit(EngineEvent::NewGeneration(generation)).await;
        }
    }
}

/// Tells whether operators must do something else than before.
fn is_other(before: &EngineError, now: &EngineError) -> bool {
    let is_refusal = |error: &EngineError| matches!(error, EngineError::Refused(_));
    is_refusal(before) != is_refusal(now) || (is_refusal(now) && before != now)
}
