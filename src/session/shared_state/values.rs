//! The values that go through the seam.

use std::fmt::Debug;
use std::time::Duration;

use tokio::sync::watch;

use crate::access::revocations::{EndedBy, Mark};
use crate::access::tokens::RefreshToken;
use crate::session::outcome::Outcome;
use crate::session::reuse_detection::Jwt;
use crate::session::session_key::SessionKey;

/// Tells the outcome to everyone who waits for it; `None` until there is one.
pub(crate) type Waiter = watch::Receiver<Option<Outcome>>;

/// The state of a refresh that a request asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// The JWT at hand is valid.
    pub(crate) is_early: bool,
    /// The refresh token is the one that the request brought, and not one that followed it.
    pub(crate) is_presented: bool,
    /// These tokens, by their JWT, are known to whoever asks and of no use: they count as unknown.
    pub(crate) useless: Option<Mark>,
}

/// The next step of a request with a refresh token.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Call the provider, then publish the outcome or release the claim.
    Mine(Claimed),
    /// Wait for the one who does.
    Wait(Waiter),
    /// Take this outcome.
    Known(Outcome),
    /// Go on with this newest refresh token: the one at hand has been replaced, and no request has brought a later one for
    /// longer than the replay window.
    Replaced(RefreshToken),
    /// End the session: this refresh token has been replaced, and its replay window is over. This is the newest one.
    Reused(RefreshToken),
}

/// The right to present a refresh token to the provider, once. Who drops it without an outcome has failed: those who wait are
/// told that nothing is known.
#[derive(Debug)]
pub(crate) struct Claimed {
    key: SessionKey,
    outcome: watch::Sender<Option<Outcome>>,
}

impl Claimed {
    /// A claim, and what everyone else waits with.
    pub(crate) fn new(key: SessionKey) -> (Self, Waiter) {
        let (outcome, waiter) = watch::channel(None);
        (Self { key, outcome }, waiter)
    }

    /// Returns the key of the refresh token.
    pub(crate) const fn key(&self) -> SessionKey {
        self.key
    }

    /// Returns what the one who calls waits with.
    pub(crate) fn waiter(&self) -> Waiter {
        self.outcome.subscribe()
    }

    /// Tells the outcome to everyone who waits.
    pub(crate) fn tell(self, outcome: Outcome) {
        self.outcome.send_replace(Some(outcome));
    }
}

/// The reason why a call brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The provider has not seen the refresh token.
    NotSent,
    /// It may have: nothing is known.
    Unknown,
}

/// The refreshes that rest after one that gained nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Early ones: the JWT at hand is still valid, so nothing is lost.
    Early,
    /// All: the provider gives a JWT again that is of no use.
    All,
}

/// The worth of a refresh.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gain {
    /// The time for which the new JWT can be used.
    pub(crate) lasts: Duration,
    /// The refreshes that rest, where it gained nothing.
    pub(crate) rest: Option<Rest>,
}

/// The end of a session, as far as it is known here.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The first one to end it, and not one who comes after.
    pub(crate) is_new: bool,
    /// The refresh token that followed it, which is to be ended as well.
    pub(crate) successor: Option<RefreshToken>,
    /// The JWTs that it gave.
    pub(crate) jwts: Vec<Jwt>,
}

/// A revocation to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewRevocation {
    /// The session, JWT or subject.
    pub(crate) mark: Mark,
    /// JWTs that were issued later (Unix seconds) are not meant.
    pub(crate) issued_until: u64,
    /// Its cause.
    pub(crate) by: EndedBy,
    /// Unix seconds; then it is forgotten.
    pub(crate) kept_until: u64,
}

impl NewRevocation {
    /// The revocation of a session or a JWT, whenever issued.
    pub(crate) const fn of(mark: Mark, by: EndedBy, kept_until: u64) -> Self {
        Self { mark, issued_until: u64::MAX, by, kept_until }
    }
}

/// A place among the failed logins, for one whose outcome is not known yet. Given back when dropped.
pub(crate) trait LoginReservation: Debug + Send {
    /// The login failed: it keeps its place until that leaks away.
    fn failed(self: Box<Self>);

    /// It succeeded: the failures of its user name from its address are forgotten.
    fn succeeded(self: Box<Self>);
}

/// The settings that a reload may change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// The time for which the outcome of a refresh answers requests that still bring the old refresh token.
    pub(crate) replay_window: Duration,
    /// Failed logins of one user name from one address, at once.
    pub(crate) failed_logins_per_name: u32,
    /// Failed logins from one address, at once.
    pub(crate) failed_logins_per_address: u32,
}
