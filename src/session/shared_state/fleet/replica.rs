//! The state of this replica, and how it tells others what happens.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc};
use tracing::error;

use crate::access::revocations::EndedBy;
use crate::engine::commands::{Assertion, Engine, EngineEvent, RecordState};
use crate::engine::names::Name;
use crate::engine::sealing::FleetKeys;
use crate::session::replay_window::ReplayWindow;
use crate::session::session_key::SessionKey;
use crate::session::shared_state::fleet::activity::FleetActivity;
use crate::session::shared_state::fleet::claim_protocol::{ClaimProtocol, Errand};
use crate::session::shared_state::fleet::logins::FleetLogins;
use crate::session::shared_state::fleet::members::Members;
use crate::session::shared_state::fleet::message::{AliveMessage, Message, PURPOSE};
use crate::session::shared_state::fleet::readiness::Readiness;
use crate::session::shared_state::fleet::results::StoredResult;
use crate::session::shared_state::fleet::revocations::FleetRevocations;
use crate::session::shared_state::memory::InMemory;
use crate::session::shared_state::values::NewRevocation;
use crate::system::clock::Clock;
use crate::system::elapsed::elapsed;

/// The time for which the engine remembers the end of a session. It is longer than all attempts to revoke the session
/// take.
pub(super) const ENDED_IS_KEPT: Duration = Duration::from_secs(15 * 60);

/// The time for which a message that is no record is tried again.
pub(super) const MESSAGE_IS_KEPT: Duration = Duration::from_secs(60);

/// The state of this replica.
#[derive(Debug)]
pub(super) struct Replica {
    /// The id of this replica.
    pub(super) id: String,
    /// The message that says that it lives.
    pub(super) alive: ArcSwap<AliveMessage>,
    pub(super) replay_window: Arc<ReplayWindow>,
    /// Everything that this process keeps for itself.
    pub(super) local: InMemory,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) keys: Arc<FleetKeys>,
    /// The wall clock, by which revocations expire.
    pub(super) clock: Arc<dyn Clock>,
    pub(super) revocations: FleetRevocations,
    pub(super) activity: FleetActivity,
    pub(super) logins: Arc<FleetLogins>,
    /// The number of replicas, as they were last seen.
    pub(super) living: Arc<AtomicUsize>,
    pub(super) events: Mutex<Option<mpsc::Receiver<EngineEvent>>>,
    pub(super) protocol: Mutex<ClaimProtocol>,
    /// Notifies when a result has come from another replica.
    pub(super) arrived: Notify,
    /// Notifies when the outbox has a new errand.
    pub(super) posted: Notify,
    pub(super) members: Members,
    pub(super) readiness: Readiness,
    /// The last reason that was logged why this replica may not serve, or does not fit the others.
    pub(super) noted: Mutex<Option<String>>,
}

impl Replica {
    /// Locks the protocol. The lock is never held across an await.
    pub(super) fn protocol(&self) -> MutexGuard<'_, ClaimProtocol> {
        self.protocol.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the names of a refresh token by all keys.
    pub(super) fn names(&self, key: SessionKey) -> Vec<Name> {
        key.names(&self.keys)
    }

    /// Seals a message to all replicas. `value` is sealed already.
    pub(super) fn sealed(&self, message: &Message, value: &[u8]) -> Option<Vec<u8>> {
        let bytes = message.write(&self.id, value)?;
        let sealed = self.keys.seal_message(PURPOSE, &bytes);
        if sealed.is_none() {
            error!("a message to the other replicas cannot be sealed");
        }
        sealed
    }

    /// Puts errands into the outbox. The background task does them.
    pub(super) fn post(&self, errands: impl IntoIterator<Item = (Errand, Duration)>) {
        let now = elapsed();
        // They are made before the lock is taken: it may take a while.
        let errands: Vec<_> = errands.into_iter().collect();
        let mut protocol = self.protocol();
        for (errand, is_kept) in errands {
            protocol.post(errand, now, now + is_kept);
        }
        drop(protocol);
        self.posted.notify_one();
    }

    /// Puts changes of the revocations into the outbox. They count for as long as the engine keeps them.
    pub(super) fn post_revocations(&self, errands: impl IntoIterator<Item = Errand>) {
        self.post(errands.into_iter().map(|errand| {
            let is_kept = if let Errand::Revoke(_, kept) = &errand { *kept } else { MESSAGE_IS_KEPT };
            (errand, is_kept)
        }));
    }

    /// Sends a message to all replicas, as soon as the engine takes it.
    pub(super) fn tell(&self, message: &Message) {
        if let Some(sealed) = self.sealed(message, &[]) {
            self.post([(Errand::Publish(sealed), MESSAGE_IS_KEPT)]);
        }
    }

    /// Remembers the end of a session, so that an engine that has lost it can be told again. Returns its state.
    pub(super) fn remember_end(&self, names: &[Name], by: EndedBy) -> RecordState {
        let state = if by == EndedBy::AnotherLogin { RecordState::Replaced } else { RecordState::Ended };
        let now = elapsed();
        if let Some(name) = names.first() {
            let until = now + ENDED_IS_KEPT;
            let (value, message, next) = (Vec::new(), Vec::new(), None);
            let ended = StoredResult { state, value, message, next, until, engine_until: until };
            self.protocol().received(*name, ended, now);
        }
        state
    }

    /// Ends a session by the newest refresh token that is known here, and revokes its JWTs.
    pub(super) fn end_successor(&self, successor: SessionKey, by: EndedBy) {
        let ended = self.replay_window.end(successor, by);
        self.tell_end(successor, by);
        // After another login, a JWT may belong to the new session as well.
        if by == EndedBy::Revocation {
            let now = self.clock.now();
            let revoked = ended.jwts.iter().filter(|(marks, _)| now < marks.usable_until);
            let errands = revoked.filter_map(|(marks, _)| {
                self.revocations.revoke(NewRevocation::of(marks.token, by, marks.usable_until), now)
            });
            self.post_revocations(errands);
        }
    }

    /// Records the end of a session in the engine, and tells all replicas.
    pub(super) fn tell_end(&self, key: SessionKey, by: EndedBy) {
        let is_replaced = by == EndedBy::AnotherLogin;
        let names = self.names(key);
        let state = self.remember_end(&names, by);
        let message = self.sealed(&Message::Ended { key: key.into(), is_replaced }, &[]);
        let assertion = Assertion {
            names,
            state,
            value: Vec::new(),
            nonce: String::new(),
            lasts: ENDED_IS_KEPT,
            message: message.unwrap_or_default(),
        };
        self.post([(Errand::Assert(assertion), ENDED_IS_KEPT)]);
    }
}
