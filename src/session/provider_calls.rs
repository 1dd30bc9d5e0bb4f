//! The bounds of the calls to one provider.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::session::login_queue::LoginQueue;
use crate::session::refresh_limits::{StrangerCalls, UnknownSessionCalls};

/// Bounds the calls to one provider. Refreshes and logins do not take each other's places.
#[derive(Debug)]
pub(crate) struct ProviderCalls {
    pub(super) refreshes: Semaphore,
    /// Refreshes with a refresh token that anyone may have made up.
    pub(super) strangers: Arc<StrangerCalls>,
    /// Refreshes with a genuine JWT, but with a refresh token that this process does not know.
    pub(super) unknown_sessions: Arc<UnknownSessionCalls>,
    pub(super) logins: LoginQueue,
    pub(super) revocations: FirstRevocations,
    /// Revocations of refresh tokens that anyone may have made up.
    pub(super) stranger_revocations: FirstRevocations,
    /// Revocations that wait for another attempt.
    pub(super) waiting_revocations: Semaphore,
}

/// Bounds revocations.
#[derive(Debug)]
pub(super) struct FirstRevocations {
    /// Revocations at the same time.
    pub(super) calls: Semaphore,
    /// Revocations that wait for their first attempt.
    pub(super) queued: Semaphore,
}

impl FirstRevocations {
    fn new(calls: usize, queued: usize) -> Self {
        Self { calls: Semaphore::new(calls), queued: Semaphore::new(queued) }
    }
}

impl Default for ProviderCalls {
    fn default() -> Self {
        Self {
            refreshes: Semaphore::new(256),
            strangers: StrangerCalls::of_strangers(),
            unknown_sessions: UnknownSessionCalls::of_unknown_sessions(),
            logins: LoginQueue::default(),
            revocations: FirstRevocations::new(64, 16_384),
            stranger_revocations: FirstRevocations::new(8, 1024),
            waiting_revocations: Semaphore::new(1024),
        }
    }
}
