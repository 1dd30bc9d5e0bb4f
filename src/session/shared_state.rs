//! The interface to the state that replicas share: claims on refreshes and their outcomes, ends of sessions,
//! revocations, throttles and turns of logins. No other code depends on how the state is shared.
//!
//! **A request with a valid JWT never uses it.** Such a request reads the local list of revocations
//! (`access/revocations`). The first use of a new JWT, an open stream and an answer with cookies read the replay
//! window. The replay window is local as well, and never waits. An implementation keeps both up to date: it writes the
//! messages of other replicas into them.
//!
//! All arguments and results are plain values. If an [`Outcome`] has tokens, only the texts of the tokens are sent to
//! other replicas. The identity stays in the process that has verified the JWT. A replica that receives tokens records
//! them as [`Outcome::Unverified`]. The first request that needs them verifies them by its app's rules. From then on
//! the identity is kept beside them. [`memory::InMemory`] is the implementation of a single process, and
//! [`fleet::Fleet`] the one of a replica.
//!
//! # A refresh, step by step
//!
//! | Step | Operation | In memory | A store that is shared |
//! |---|---|---|---|
//! | 0: the result is known, or a call is under way here | [`SharedState::claim`] | [`Claim::Known`], [`Claim::Wait`], [`Claim::Replaced`], [`Claim::Reused`] from the replay window | the same, before the store is asked |
//! | 1: claim | [`SharedState::claim`] | always [`Claim::Mine`], because there is no other replica | `mine`: [`Claim::Mine`]; `ok`, `dead`: [`Claim::Known`]; `busy`, `settling`: [`Claim::Wait`]; no answer: [`Claim::Known`] with [`Outcome::Unavailable`] |
//! | 2: enough copies of the claim | [`SharedState::claim`] | nothing | too few: it releases the claim, [`Outcome::Unavailable`] |
//! | 3: look at the local results again | [`SharedState::claim`] | nothing: the claim has looked already | it looks again, and gives up a claim that took too long |
//! | 4: call the provider once | none: `session/refresh_call.rs`, in a task that outlives the request | | |
//! | 5a, 5b: tokens, or a definite refusal | [`SharedState::publish`] | the replay window, then the requests that wait here | the replay window, then the store and all replicas, then the requests that wait here |
//! | 5c: certainly not processed | [`SharedState::release`] with [`NoAnswer::NotProcessed`] | early refreshes rest | it takes the claim back |
//! | 5d: nothing is known | [`SharedState::release`] with [`NoAnswer::Unknown`] | early refreshes rest | the claim stays until it expires |
//! | 6: somebody else calls | [`Claim::Wait`] | the outcome comes from the task of the call | the outcome comes from the store's messages, or from asking again |
//!
//! The other operations:
//!
//! | Operation | In memory | A store that is shared |
//! |---|---|---|
//! | [`SharedState::begin`] | the session's family of refresh tokens begins | it also takes back a `dead` of the same refresh token |
//! | [`SharedState::end`] | the replay window refuses the token and all before it; reuse detection names its successor and its JWTs | it tells the others |
//! | [`SharedState::revoke`], [`SharedState::revoke_once`], [`SharedState::admit`] | the local list | the local list at once, then the stream that all replicas read |
//! | [`SharedState::check_login`], [`SharedState::reserve_login`] | leaky buckets | the store's buckets; without the store the local ones |
//! | [`SharedState::login_turn`] | the queue of this process | after it, the turn of the user name in the store |
//!
//! # Rules for an implementation
//!
//! - A caller may be dropped while it waits, together with its request. Then everything that was granted to it is given
//!   back.
//! - An operation makes all its changes in this process before it waits for the first time.
//! - An operation holds no lock while it waits.

pub(super) mod fleet;
pub(super) mod memory;
pub(super) mod values;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::futures::Notified;

use crate::access::revocations::{EndedBy, Mark, TokenMarks};
use crate::access::tokens::RefreshToken;
use crate::session::login_name::LoginName;
use crate::session::login_queue::{Turn, Waiting};
use crate::session::outcome::Outcome;
use crate::session::reuse_detection::Jwt;
use crate::session::session_key::SessionKey;
use crate::session::shared_state::values::{
    Asked, Claim, Claimed, Ended, Gain, LoginReservation, NewRevocation, NoAnswer, Settings,
};
use crate::session::throttle::Refused;

/// The operations. An operation that concerns only this process does not wait. All others may wait.
#[async_trait]
pub(crate) trait SharedState: Debug + Send + Sync {
    /// Claims a refresh of a token for this process, or says what to do instead.
    async fn claim(&self, key: SessionKey, refresh_token: &RefreshToken, asked: Asked) -> Claim;

    /// Records the outcome of a claimed refresh, and sends it to all requests that wait for it. Returns the outcome
    /// that was sent. If the session was ended meanwhile, that is [`Outcome::Ended`].
    async fn publish(&self, claimed: Claimed, outcome: Outcome, gain: Gain) -> Outcome;

    /// Gives up a claimed refresh that brought no answer, and sends the outcome to all requests that wait for it.
    /// Returns the outcome that was sent.
    async fn release(&self, claimed: Claimed, outcome: Outcome, why: NoAnswer) -> Outcome;

    /// Tells the other replicas that a request has brought a refresh token, or the JWT that was given together with it,
    /// for the first time. Does not wait.
    fn used(&self, _key: SessionKey) {}

    /// Records that a login has brought the first tokens of a session at `started_at` (Unix seconds). A session with
    /// the same refresh token may have ended before, because some providers have one refresh token for each user.
    async fn begin(&self, key: SessionKey, jwt: Jwt, started_at: u64);

    /// Ends the session of a refresh token. From now on the session gets no JWT, not even from a refresh under way.
    /// With `is_strangers`, anyone may have made the refresh token up, and only this process remembers the end.
    async fn end(&self, key: SessionKey, by: EndedBy, is_strangers: bool) -> Ended;

    /// Adds a revocation. It applies to all requests that this process decides from now on.
    async fn revoke(&self, revocation: NewRevocation, now: u64);

    /// Admits a JWT that a login has just brought, although its session or subject was revoked before. See
    /// [`crate::access::revocations::Revocations::admit`].
    async fn admit(&self, marks: &TokenMarks, issued_at: Option<u64>, now: u64);

    /// Adds a revocation if the mark `once` comes for the first time, and records the mark until `once_until`. Returns
    /// `false` if the mark was recorded before, and adds nothing then.
    async fn revoke_once(&self, once: Mark, once_until: u64, revocation: NewRevocation, now: u64) -> bool;

    /// Refuses a login if too many have failed already. The error is the time after which one more may be tried.
    async fn check_login(&self, name: &LoginName) -> Result<(), Duration>;

    /// Takes a place in the count of failed logins, for a login that is about to be tried.
    async fn reserve_login(&self, name: &LoginName) -> Result<Box<dyn LoginReservation>, Refused>;

    /// Waits for a login's turn. The turn lasts until it is dropped. Returns `None` if the login had to make room for
    /// another one.
    async fn login_turn(&self, name: &LoginName, waiting: Waiting) -> Option<Turn>;

    /// Waits until a login of this process is no longer on its way to the provider. It notices logins from the time at
    /// which the future is first polled or enabled.
    fn login_settled(&self) -> Notified<'_>;

    /// Sets the settings that a reload may change. They apply to later requests.
    fn set(&self, settings: Settings);
}
