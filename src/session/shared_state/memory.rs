//! The shared state of a single process. It is kept in memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::futures::Notified;

use crate::access::revocations::{EndedBy, Mark, TokenMarks};
use crate::access::session_tables::SessionTables;
use crate::access::tokens::RefreshToken;
use crate::session::login_name::LoginName;
use crate::session::login_queue::{Turn, Waiting};
use crate::session::outcome::Outcome;
use crate::session::replay_window::ReplayWindow;
use crate::session::reuse_detection::Jwt;
use crate::session::session_key::SessionKey;
use crate::session::shared_state::SharedState;
use crate::session::shared_state::values::{
    Asked, Claim, Claimed, Ended, Gain, LoginReservation, NewRevocation, NoAnswer, Settings,
};
use crate::session::throttle::{Refused, Reservation, Throttle};

/// The shared state in this process's memory. The only operation that waits is `login_turn`.
#[derive(Debug)]
pub(crate) struct InMemory {
    replay_window: Arc<ReplayWindow>,
    memory: Arc<SessionTables>,
    throttle: Arc<Throttle>,
}

impl InMemory {
    /// Creates the shared state over the local tables that requests read.
    pub(crate) fn new(
        replay_window: Arc<ReplayWindow>,
        memory: Arc<SessionTables>,
        settings: Settings,
    ) -> Self {
        let Settings { failed_logins_per_name, failed_logins_per_address, .. } = settings;
        let throttle = Arc::new(Throttle::new(failed_logins_per_name, failed_logins_per_address));
        let state = Self { replay_window, memory, throttle };
        state.set(settings);
        state
    }
}

impl InMemory {
    /// Returns the counts of failed logins.
    pub(crate) const fn throttle(&self) -> &Arc<Throttle> {
        &self.throttle
    }
}

#[async_trait]
impl SharedState for InMemory {
    async fn claim(&self, key: SessionKey, _refresh_token: &RefreshToken, asked: Asked) -> Claim {
        self.replay_window.claim(key, asked)
    }

    async fn publish(&self, claimed: Claimed, outcome: Outcome, gain: Gain) -> Outcome {
        let told = self.replay_window.finish(claimed.key(), outcome, gain);
        claimed.tell(told.clone());
        told
    }

    async fn release(&self, claimed: Claimed, outcome: Outcome, _why: NoAnswer) -> Outcome {
        self.publish(claimed, outcome, Gain::default()).await
    }

    async fn begin(&self, key: SessionKey, jwt: Jwt, started_at: u64) {
        self.replay_window.begin(key, jwt, started_at);
    }

    async fn end(&self, key: SessionKey, by: EndedBy, _is_strangers: bool) -> Ended {
        self.replay_window.end(key, by)
    }

    async fn revoke(&self, revocation: NewRevocation, now: u64) {
        let NewRevocation { mark, issued_until, by, kept_until } = revocation;
        self.memory.revocations.add(mark, issued_until, by, kept_until, now);
    }

    async fn admit(&self, marks: &TokenMarks, issued_at: Option<u64>, now: u64) {
        self.memory.revocations.admit(marks, issued_at, now);
    }

    async fn revoke_once(&self, once: Mark, once_until: u64, revocation: NewRevocation, now: u64) -> bool {
        let NewRevocation { mark, issued_until, by, kept_until } = revocation;
        let revocation = (mark, issued_until, by, kept_until);
        !self.memory.revocations.add_once((once, once_until), revocation, now).is_empty()
    }

    async fn check_login(&self, name: &LoginName) -> Result<(), Duration> {
        self.throttle.check(name)
    }

    async fn reserve_login(&self, name: &LoginName) -> Result<Box<dyn LoginReservation>, Refused> {
        self.throttle.reserve(name).map(|place| Box::new(place) as Box<dyn LoginReservation>)
    }

    async fn login_turn(&self, _name: &LoginName, waiting: Waiting) -> Option<Turn> {
        waiting.turn().await
    }

    fn login_settled(&self) -> Notified<'_> {
        self.throttle.settled()
    }

    fn set(&self, settings: Settings) {
        self.replay_window.set_length(settings.replay_window);
        self.throttle.set_limits(settings.failed_logins_per_name, settings.failed_logins_per_address);
    }
}

impl LoginReservation for Reservation {
    fn failed(self: Box<Self>) {
        Self::failed(*self);
    }

    fn succeeded(self: Box<Self>) {
        Self::succeeded(*self);
    }
}
