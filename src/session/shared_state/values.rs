//! The arguments and results of the shared state's operations.

use std::fmt::Debug;
use std::time::Duration;

use tokio::sync::watch;

use crate::access::revocations::{EndedBy, Mark};
use crate::access::tokens::RefreshToken;
use crate::identity_provider::TokenFate;
use crate::session::outcome::Outcome;
use crate::session::reuse_detection::Jwt;
use crate::session::session_key::SessionKey;

/// Receives what becomes of a refresh. It holds `None` until that is known.
pub(crate) type Waiter = watch::Receiver<Option<Told>>;

/// What the requests that wait for a claimed refresh are told.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// The refresh has this outcome.
    Outcome(Outcome),
    /// The claim was given up without an outcome. They claim again.
    ClaimAgain,
}

/// The state of a refresh that a request asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// The JWT of the request is valid.
    pub(crate) is_early: bool,
    /// The refresh token is the one that the request brought. `false` for a successor of that refresh token.
    pub(crate) is_presented: bool,
    /// The JWT of tokens that the caller knows already, and cannot use. These tokens count as unknown.
    pub(crate) useless: Option<Mark>,
    /// The time for which the provider takes a replaced refresh token once more.
    pub(crate) refresh_grace: Duration,
}

/// The next step of a request with a refresh token.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Call the provider, then publish the outcome or release the claim.
    Mine(Claimed),
    /// Wait for the request that calls the provider.
    Wait(Waiter),
    /// Use this outcome.
    Known(Outcome),
    /// Go on with this newest refresh token. The presented one has been replaced, and its replay window is not over.
    Replaced(RefreshToken),
    /// End the session. The presented refresh token has been replaced, and its replay window is over. The value is the
    /// newest refresh token, if its text is known here.
    Reused(Option<RefreshToken>),
}

/// The right to present a refresh token to the provider once. If it is dropped without an outcome, the call has failed,
/// and the waiting requests get [`Outcome::Unavailable`].
#[derive(Debug)]
pub(crate) struct Claimed {
    key: SessionKey,
    told: watch::Sender<Option<Told>>,
    /// The refresh token, if the engine has granted the claim. The outcome is sealed with it.
    refresh_token: Option<RefreshToken>,
    /// The refresh token was presented before, and that call had no answer.
    is_second: bool,
}

impl Claimed {
    /// Creates a claim, and the receiver with which other requests wait for its outcome.
    pub(crate) fn new(key: SessionKey) -> (Self, Waiter) {
        let (told, waiter) = watch::channel(None);
        (Self { key, told, refresh_token: None, is_second: false }, waiter)
    }

    /// Returns the same claim, which the engine has granted for this refresh token. `is_second` tells that the refresh
    /// token was presented before, and that this call had no answer.
    pub(crate) fn granted(self, refresh_token: &RefreshToken, is_second: bool) -> Self {
        Self { refresh_token: Some(refresh_token.clone()), is_second, ..self }
    }

    /// Tells whether a fleet presents the refresh token for the second time.
    pub(crate) const fn is_second(&self) -> bool {
        self.is_second
    }

    /// Returns the refresh token, if the engine has granted the claim.
    pub(crate) const fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    /// Returns the key of the refresh token.
    pub(crate) const fn key(&self) -> SessionKey {
        self.key
    }

    /// Returns the longest time for which the call may wait for its turn. A claim that the engine has granted must not
    /// get old before the provider is asked.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.refresh_token.is_some().then_some(Duration::from_secs(5))
    }

    /// Returns a receiver for the request that makes the call.
    pub(crate) fn waiter(&self) -> Waiter {
        self.told.subscribe()
    }

    /// Sends the outcome to all requests that wait.
    pub(crate) fn tell(self, outcome: Outcome) {
        self.told.send_replace(Some(Told::Outcome(outcome)));
    }

    /// Lets all requests that wait claim again.
    pub(crate) fn give_up(self) {
        self.told.send_replace(Some(Told::ClaimAgain));
    }
}

/// The reason why a call brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The provider has certainly not processed the refresh token.
    NotProcessed,
    /// The provider may have processed the refresh token.
    Unknown,
}

impl From<TokenFate> for NoAnswer {
    fn from(fate: TokenFate) -> Self {
        match fate {
            TokenFate::NotProcessed => Self::NotProcessed,
            TokenFate::Unknown => Self::Unknown,
        }
    }
}

/// The refreshes that rest after one that gained nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Early refreshes. The JWT of the request is still valid, so nothing is lost.
    Early,
    /// All refreshes. The provider would give a useless JWT again.
    All,
}

/// The gain of a refresh.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gain {
    /// The time for which the new JWT can be used.
    pub(crate) lasts: Duration,
    /// The time after which the new JWT is refreshed early.
    pub(crate) is_fresh: Duration,
    /// The refreshes that rest, if this one gained nothing.
    pub(crate) rest: Option<Rest>,
}

/// The end of a session, as far as it is known here.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The session had not been ended before.
    pub(crate) is_new: bool,
    /// The newest successor of the refresh token whose text is known here. It must be ended as well.
    pub(crate) successor: Option<RefreshToken>,
    /// The newest successor of the refresh token. Perhaps only another replica knows its text.
    pub(crate) successor_key: Option<SessionKey>,
    /// The JWTs of the session.
    pub(crate) jwts: Vec<Jwt>,
}

/// A new revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewRevocation {
    /// The session, JWT or subject.
    pub(crate) mark: Mark,
    /// The latest revoked `iat` (Unix seconds). JWTs that were issued later are not revoked.
    pub(crate) issued_until: u64,
    /// Its cause.
    pub(crate) by: EndedBy,
    /// The time (Unix seconds) at which the revocation is forgotten.
    pub(crate) kept_until: u64,
}

impl NewRevocation {
    /// Creates the revocation of a session or a JWT, regardless of its `iat`.
    pub(crate) const fn of(mark: Mark, by: EndedBy, kept_until: u64) -> Self {
        Self { mark, issued_until: u64::MAX, by, kept_until }
    }
}

/// A place in the count of failed logins, for a login whose outcome is not known yet. It is given back when it is
/// dropped.
pub(crate) trait LoginReservation: Debug + Send {
    /// Records that the login failed. It keeps its place until the count leaks away.
    fn failed(self: Box<Self>);

    /// Records that the login succeeded. The failures of its user name from its address are forgotten.
    fn succeeded(self: Box<Self>);
}

/// The settings that a reload may change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// The time for which the outcome of a refresh answers requests that still bring the old refresh token.
    pub(crate) replay_window: Duration,
    /// The number of failed logins of one user name from one address that are allowed at once.
    pub(crate) failed_logins_per_name: u32,
    /// The number of failed logins from one address that are allowed at once.
    pub(crate) failed_logins_per_address: u32,
}
