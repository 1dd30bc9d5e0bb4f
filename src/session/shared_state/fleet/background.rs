//! The background task of a replica: it takes the engine's events, does the errands of the outbox, and says that this
//! replica lives.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, info, warn};

use crate::access::revocations::EndedBy;
use crate::engine::commands::{EngineError, EngineEvent};
use crate::engine::names::Name;
use crate::session::session_key::SessionKey;
use crate::session::shared_state::fleet::generation::note_generation;
use crate::session::shared_state::fleet::members::PERIOD;
use crate::session::shared_state::fleet::message::{self, AliveMessage, Message, PURPOSE, ResultMessage};
use crate::session::shared_state::fleet::operations::Fleet;
use crate::session::shared_state::fleet::readiness::Reached;
use crate::session::shared_state::fleet::replica::Replica;
use crate::session::shared_state::fleet::report;
use crate::session::shared_state::fleet::results::StoredResult;
use crate::system::elapsed::elapsed;

/// The longest time for which a stopping process waits for its outbox.
const LAST_ERRANDS: Duration = Duration::from_secs(2);

impl Fleet {
    /// Runs until nothing is served any more.
    pub(crate) async fn run(&self, mut is_over: watch::Receiver<bool>) {
        let Some(mut events) = self.0.events.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let replica = Arc::clone(&self.0);
        let errands = async {
            loop {
                let posted = replica.posted.notified();
                replica.do_errands().await;
                // Errands may have their time, so the outbox is looked at even if nothing is posted.
                let _ = timeout(PERIOD, posted).await;
            }
        };
        let alive = async {
            let mut ticks = interval(PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                self.0.post_revocations(self.0.revocations.prolonged(self.0.clock.now()));
                self.0.say(false).await;
                self.note_standing();
                self.0.count_replicas();
                self.0.tell_activity();
            }
        };
        let listening = async {
            while let Some(event) = events.recv().await {
                self.0.take(event);
            }
        };
        tokio::select! {
            () = errands => {}
            () = alive => {}
            () = listening => {}
            _ = is_over.wait_for(|is_over| *is_over) => {}
        }
    }

    /// Logs each new reason why this replica may not serve, or does not fit the others.
    fn note_standing(&self) {
        let reason = self.readiness().err();
        let is_serving = reason.is_none();
        let conflict = self.0.members.conflict(&self.0.alive.load(), elapsed());
        let is_conflict = conflict.is_some();
        let reason = reason.or(conflict);
        let mut noted = self.0.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if *noted == reason {
            return;
        }
        match &reason {
            Some(reason) if is_serving => {
                error!(reason, "this replica does not fit the others: refreshes may be made twice");
            }
            Some(reason) if is_conflict => warn!(reason, "this replica does not serve"),
            // Every replica joins step by step.
            Some(reason) => info!(reason, "this replica does not serve yet"),
            None => {}
        }
        *noted = reason;
    }

    /// Does the last errands of a process that stops, and takes leave of the other replicas.
    pub(crate) async fn leave(&self) {
        let leaving = async {
            self.0.do_errands().await;
            self.0.say(true).await;
        };
        if timeout(LAST_ERRANDS, leaving).await.is_err() || self.0.protocol().outbox_len() > 0 {
            warn!(errands = self.0.protocol().outbox_len(), "the engine could not be told everything");
        }
    }
}

impl Replica {
    /// Tells the other replicas which sessions were in use.
    fn tell_activity(&self) {
        for message in self.activity.due(self.engine.is_up(), elapsed(), self.clock.now()) {
            self.tell(&message);
        }
    }

    /// Counts the replicas while the engine brings their messages. This replica's own messages come back as well.
    fn count_replicas(&self) {
        let living = self.members.living(elapsed()).len();
        if self.engine.is_up() && living > 0 {
            self.living.store(living, Ordering::Relaxed);
        }
    }

    /// Says that this replica lives, or that it leaves.
    async fn say(&self, is_leaving: bool) {
        let message = Message::Alive(AliveMessage { is_leaving, ..(**self.alive.load()).clone() });
        if self.engine.is_up()
            && let Some(sealed) = self.sealed(&message, &[])
        {
            // The next message comes soon.
            let _ = self.engine.publish(&sealed).await;
        }
    }

    /// Takes an event of the engine.
    fn take(self: &Arc<Self>, event: EngineEvent) {
        match event {
            EngineEvent::Connected { generation, settling } => {
                let now = elapsed();
                self.readiness.reached(Reached::Since { settled_at: now + settling, heard_since: now });
                info!(engine = self.engine.facts().address, "the shared state's engine answers");
                note_generation(self, &generation);
                self.posted.notify_one();
            }
            EngineEvent::NewGeneration(generation) => note_generation(self, &generation),
            EngineEvent::Disconnected(error) => {
                let engine = self.engine.facts().address.clone();
                warn!(engine, %error, "the shared state's engine does not answer: refreshes are refused, and cookies are kept");
                if let EngineError::Refused(reason) = error {
                    self.readiness.reached(Reached::Refused(reason));
                }
            }
            EngineEvent::MissedMessages => self.activity.missed(self.clock.now()),
            EngineEvent::Message(message) => self.take_message(&message),
            EngineEvent::Revocations(entries) => {
                report::unreadable_revocations(self.revocations.received(&entries, self.clock.now()));
            }
            EngineEvent::CaughtUp => {
                self.revocations.caught_up();
                self.readiness.has_revocations();
            }
        }
    }

    /// Takes a message of another replica.
    fn take_message(&self, sealed: &[u8]) {
        let now = elapsed();
        let Some(opened) = self.keys.open_message(PURPOSE, sealed) else {
            self.members.unreadable(sealed, now);
            return;
        };
        let Some((sender, message, value)) = Message::read(&opened) else { return };
        if sender == self.id && !matches!(message, Message::Alive(_)) {
            return;
        }
        match message {
            Message::Result(result) => self.take_result(&result, value),
            Message::Used(key) => {
                if let Some(key) = key.key() {
                    self.replay_window.brought(key);
                    self.used(key);
                }
            }
            Message::Begun { key, jwt, started_at } => {
                if let Some(key) = key.key() {
                    let names = self.names(key);
                    self.protocol().results.forget_end(&names);
                    self.replay_window.begin(key, jwt.into(), started_at);
                }
            }
            Message::Ended { key, is_replaced } => {
                if let Some(key) = key.key() {
                    self.take_end(key, message::ended_by(is_replaced));
                }
            }
            Message::Active(used) => self.activity.received(&used, self.clock.now()),
            Message::Alive(alive) => self.members.alive(alive, now),
        }
    }

    /// Takes the end of a session at another replica. That one may not know a successor of the refresh token that this
    /// one knows.
    fn take_end(&self, key: SessionKey, by: EndedBy) {
        let ended = self.replay_window.end(key, by);
        self.remember_end(&self.names(key), by);
        let successor = ended.successor_key.filter(|successor| !self.replay_window.has_ended(*successor));
        if let Some(successor) = successor {
            self.end_successor(successor, by);
        }
        self.arrived.notify_waiters();
    }

    /// Takes the result of another replica's refresh.
    fn take_result(&self, result: &ResultMessage, value: &[u8]) {
        let now = elapsed();
        let (Some(state), Some(old)) = (result.state(), result.old.key()) else { return };
        let next = result.next.and_then(|next| next.key());
        let (lasts, asserts) = result.lasts();
        let stored = StoredResult {
            state,
            value: value.to_vec(),
            message: Vec::new(),
            next,
            until: now + lasts,
            engine_until: now + asserts,
        };
        if state == crate::engine::commands::RecordState::Tokens {
            self.replay_window.learn_renewed(old, next, result.jwt.map(Into::into));
        }
        self.protocol().received(Name::from_bytes(result.name.0), stored, now);
        self.arrived.notify_waiters();
        // The engine may have to be told, too.
        self.posted.notify_one();
    }
}
