//! The seam of what replicas share: claims on refreshes and their outcomes, ends of sessions, revocations, throttles and
//! turns of logins. Another store than this process's memory comes in here, and nowhere else.
//!
//! **A request with a valid JWT never comes here.** It reads the local list of revocations (`access/revocations`), and the
//! first use of a new JWT, an open stream and an answer with cookies read the replay window, which is local, too, and never
//! waits. An implementation keeps both up to date: it writes what it hears from other replicas into them.
//!
//! All arguments and results are plain values. Of an [`Outcome`] with tokens, their texts travel. The identity stays in the
//! process that has verified the JWT. A replica that hears of tokens records them as [`Outcome::Unverified`]. The first
//! request that wants them verifies them by its app's rules, and the identity is kept beside them from then on.
//! `session/tests/two_replicas.rs` shows it: an implementation over a store and [`memory::InMemory`], with the same callers.
//!
//! # A refresh, step by step
//!
//! | Step | Operation | In memory | A store that is shared |
//! |---|---|---|---|
//! | 0: the result is known, or a call is under way here | [`SharedState::claim`] | [`Claim::Known`], [`Claim::Wait`], [`Claim::Replaced`], [`Claim::Reused`] from the replay window | the same, before the store is asked |
//! | 1: claim | [`SharedState::claim`] | always [`Claim::Mine`]: there is nobody else | `mine`: [`Claim::Mine`]; `ok`, `dead`: [`Claim::Known`]; `busy`, `settling`: [`Claim::Wait`]; no answer: [`Claim::Known`] with [`Outcome::Unavailable`] |
//! | 2: enough copies of the claim | [`SharedState::claim`] | nothing | too few: it releases the claim, [`Outcome::Unavailable`] |
//! | 3: look at the local results again | [`SharedState::claim`] | claiming and looking are one | it looks again, and gives up a claim that took too long |
//! | 4: call the provider once | none: `session/refresh_call.rs`, in a task that outlives the request | | |
//! | 5a, 5b: tokens, or a definite refusal | [`SharedState::publish`] | the replay window, then who waits here | the replay window, then the store and all replicas, then who waits here |
//! | 5c: certainly not processed | [`SharedState::release`] with [`NoAnswer::NotSent`] | early refreshes rest | it takes the claim back |
//! | 5d: nothing is known | [`SharedState::release`] with [`NoAnswer::Unknown`] | early refreshes rest | the claim stays until it expires |
//! | 6: somebody else calls | [`Claim::Wait`] | the outcome comes from the task of the call | the outcome comes from the store's messages, or from asking again |
//!
//! Beside refreshes:
//!
//! | Operation | In memory | A store that is shared |
//! |---|---|---|
//! | [`SharedState::begin`] | the session's family of refresh tokens begins | it also takes back a `dead` of the same refresh token |
//! | [`SharedState::end`] | the replay window refuses the token and all before it; reuse detection names its successor and its JWTs | it tells the others |
//! | [`SharedState::revoke`], [`SharedState::admit`], [`SharedState::is_first`] | the local list | the local list at once, then the stream that all replicas read |
//! | [`SharedState::check_login`], [`SharedState::reserve_login`] | leaky buckets | the store's buckets; without the store the local ones |
//! | [`SharedState::login_turn`] | the queue of this process | after it, the turn of the user name in the store |
//!
//! # Rules for an implementation
//!
//! - A caller may go away while it waits, with its request. What was granted to it meanwhile is given back.
//! - What an operation changes in this process, it changes before it waits for the first time.
//! - No lock is held while it waits.

pub(super) mod memory;
pub(super) mod values;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::futures::Notified;

use crate::access::revocations::{EndedBy, Mark, TokenMarks};
use crate::session::login_name::LoginName;
use crate::session::login_queue::{Turn, Waiting};
use crate::session::outcome::Outcome;
use crate::session::reuse_detection::Jwt;
use crate::session::session_key::SessionKey;
use crate::session::shared_state::values::{
    Asked, Claim, Claimed, Ended, Gain, LoginReservation, NewRevocation, NoAnswer, Settings,
};
use crate::session::throttle::Refused;

/// The operations. Each is a method that may wait, except those which only concern this process.
#[async_trait]
pub(crate) trait SharedState: Debug + Send + Sync {
    /// Claims a refresh of a token for this process, or says what to do instead.
    async fn claim(&self, key: SessionKey, asked: Asked) -> Claim;

    /// Records the outcome of a claimed refresh and tells it to everyone who waits for it. Returns what was told: that the
    /// session has ended, if it was ended meanwhile.
    async fn publish(&self, claimed: Claimed, outcome: Outcome, gain: Gain) -> Outcome;

    /// Gives up a claimed refresh that brought no answer, and tells the outcome to everyone who waits for it. Returns what was
    /// told.
    async fn release(&self, claimed: Claimed, outcome: Outcome, why: NoAnswer) -> Outcome;

    /// Notes that a login has brought the first tokens of a session at `started_at` (Unix seconds). Its refresh token may be
    /// the one of a session that has ended: some providers have one for each user.
    async fn begin(&self, key: SessionKey, jwt: Jwt, started_at: u64);

    /// Ends the session of a refresh token: neither it nor a refresh under way gives a JWT any more.
    async fn end(&self, key: SessionKey, by: EndedBy) -> Ended;

    /// Adds a revocation. Requests that this process decides from now on see it.
    async fn revoke(&self, revocation: NewRevocation, now: u64);

    /// Lets a JWT pass that a login has just brought, although its session or subject was revoked before: see
    /// [`crate::access::revocations::Revocations::admit`].
    async fn admit(&self, marks: &TokenMarks, issued_at: Option<u64>, now: u64);

    /// Notes that something comes for the first time; `false`: it was noted before. It is noted until `kept_until`.
    async fn is_first(&self, mark: Mark, kept_until: u64, now: u64) -> bool;

    /// Refuses a login if too many have failed already; `Err`: the time after which one more may be tried.
    async fn check_login(&self, name: &LoginName) -> Result<(), Duration>;

    /// Takes a place among the failed logins for one that is about to be tried.
    async fn reserve_login(&self, name: &LoginName) -> Result<Box<dyn LoginReservation>, Refused>;

    /// Waits for a login's turn, which lasts until it is dropped; `None`: it had to make room for another.
    async fn login_turn(&self, name: &LoginName, waiting: Waiting) -> Option<Turn>;

    /// Ends when a login that was on its way here is not any more, from when it is first asked or enabled.
    fn login_settled(&self) -> Notified<'_>;

    /// Sets what a reload may change, for what comes.
    fn set(&self, settings: Settings);
}
