//! The operations of an engine. Each is atomic there, and says nothing about sessions.
//!
//! A record belongs to one refresh token. Its name is a digest, and its value is sealed. While keys are replaced, a
//! record may have the name of any key. So operations take the names by all keys, and write by the first one.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::engine::facts::EngineFacts;
use crate::engine::names::Name;

/// The state of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RecordState {
    /// A replica has claimed the refresh token, and may have presented it to the provider.
    Claimed,
    /// The provider has refused the refresh token.
    Dead,
    /// The provider has given new tokens. They are the sealed value.
    Tokens,
    /// The session was ended by its user, its provider, an operator, or its lifetime.
    Ended,
    /// The session was ended by another login in the same browser. A later end may not know of that login, so this is
    /// stronger: the browser may have the new cookies by now.
    Replaced,
}

impl RecordState {
    /// Returns the word for the state in the engine.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Claimed => "c",
            Self::Dead => "dead",
            Self::Tokens => "ok",
            Self::Replaced => "replaced",
            Self::Ended => "ended",
        }
    }

    /// Returns the state with this word.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Claimed, Self::Dead, Self::Tokens, Self::Ended, Self::Replaced];
        all.into_iter().find(|state| state.word() == word)
    }
}

/// The identity of the engine's primary and of its data: `master_replid`. It changes with a failover, a restart and a
/// loss of all data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Generation(pub(crate) String);

/// A claim on a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claiming {
    /// The names of the refresh token by all keys. The first name is written.
    pub(crate) names: Vec<Name>,
    /// Identifies the claim, so that it may be repeated.
    pub(crate) nonce: String,
    /// The time for which the claim holds.
    pub(crate) lasts: Duration,
    /// The time for which the provider takes a replaced refresh token once more. Zero if it does not.
    pub(crate) refresh_grace: Duration,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimAnswer {
    /// The engine's generation at that time.
    pub(crate) generation: Generation,
    pub(crate) verdict: Verdict,
}

/// The part of the answer that concerns the refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The claim is granted, or was granted to the same nonce before. `wait_replicas` nodes have it.
    Mine,
    /// There is a record with an outcome.
    Known(Known),
    /// Another claim holds.
    Busy {
        /// The replica that claimed.
        owner: String,
    },
    /// The engine is new, and grants nothing for this time.
    Settling(Duration),
    /// Fewer nodes than `wait_replicas` have the claim. It must be released.
    TooFewNodes,
}

/// A record with an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) state: RecordState,
    /// The place in the list of names by which the record was found.
    pub(crate) key: usize,
    /// The sealed value. Empty if the state has none.
    pub(crate) value: Vec<u8>,
}

/// A record to write. It is also used for asserting again what an engine has lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assertion {
    pub(crate) names: Vec<Name>,
    pub(crate) state: RecordState,
    /// Sealed. Empty if the state has no value.
    pub(crate) value: Vec<u8>,
    /// The nonce of the claim. Empty if there was none.
    pub(crate) nonce: String,
    pub(crate) lasts: Duration,
    /// A message to all replicas, which is published if the record was written. Empty if there is none.
    pub(crate) message: Vec<u8>,
}

/// The result of an assertion. A record gives way to a stronger one only: a claim to all others, `Dead` to tokens, and
/// tokens to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asserted {
    Written,
    /// The record was there before and stays: it is at least as strong.
    Kept(Known),
}

/// A place in the counts of failed logins. Each count is a leaky bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) name: Name,
    /// The time after which one failure is forgotten.
    pub(crate) leak: Duration,
    /// The number of failures at once.
    pub(crate) most: u32,
}

/// The answer to a reservation in buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reserved {
    /// There is a place in each bucket.
    Yes,
    /// Too many have failed. One more may be tried after this time.
    Failed(Duration),
    /// Too many are on their way, and might fail.
    OnTheirWay,
}

/// The end of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The login failed. The places stay taken until they leak away.
    Failed,
    /// The login succeeded. The first bucket is emptied, and the places in the others are given back.
    Succeeded,
    /// Nothing is known. All places are given back.
    Unknown,
}

/// The reason why an operation has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EngineError {
    /// There is no connection, and the operation was not sent.
    #[error("the engine is away")]
    Away,
    /// The operation may have been carried out.
    #[error("the engine did not answer: {0}")]
    NoAnswer(String),
    /// The engine has refused the operation.
    #[error("the engine has refused the operation: {0}")]
    Refused(String),
}

/// The operations.
#[async_trait]
pub(crate) trait Engine: Debug + Send + Sync {
    /// Tells whether the engine answers now. Does not wait.
    fn is_up(&self) -> bool;

    /// Returns the facts about the engine that operators see. Does not wait.
    fn facts(&self) -> Arc<EngineFacts>;

    /// Claims a refresh token. If the answer is lost, the caller may repeat it with the same nonce.
    async fn claim(&self, claiming: &Claiming) -> Result<ClaimAnswer, EngineError>;

    /// Writes a record unless there is one that is at least as strong.
    async fn assert(&self, assertion: &Assertion) -> Result<Asserted, EngineError>;

    /// Takes back the claim with this nonce.
    async fn release(&self, names: &[Name], nonce: &str) -> Result<(), EngineError>;

    /// Lets the record end after this time at the latest. With a nonce, only the claim with this nonce is meant.
    async fn shorten(&self, names: &[Name], nonce: &str, lasts: Duration) -> Result<(), EngineError>;

    /// Removes a record that says that the session is over, because it has begun again.
    async fn forget_end(&self, names: &[Name]) -> Result<(), EngineError>;

    /// Reads a record, for diagnosis.
    async fn look(&self, names: &[Name]) -> Result<Option<Known>, EngineError>;

    /// Sends a message to all replicas that are connected.
    async fn publish(&self, message: &[u8]) -> Result<(), EngineError>;

    /// Adds entries to the stream of revocations, and removes entries that are older than `kept`.
    async fn add_revocations(&self, entries: &[Vec<u8>], kept: Duration) -> Result<(), EngineError>;

    /// Returns `true` to one replica only for each generation.
    async fn is_first_of_generation(&self, generation: &Generation) -> Result<bool, EngineError>;

    /// Takes a place in each bucket, or in none.
    async fn reserve(&self, buckets: &[Bucket]) -> Result<Reserved, EngineError>;

    /// Ends a reservation.
    async fn settle(&self, buckets: &[Bucket], settled: Settled) -> Result<(), EngineError>;

    /// Takes a turn for at most `lasts`. Returns `false` if another owner has it.
    async fn take_turn(&self, name: &Name, owner: &str, lasts: Duration) -> Result<bool, EngineError>;

    /// Gives a turn back.
    async fn give_turn(&self, name: &Name, owner: &str) -> Result<(), EngineError>;
}

/// The events that the engine brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EngineEvent {
    /// The engine answers again. The subscription has begun, so messages come from now on.
    Connected {
        generation: Generation,
        /// The time for which nothing is granted yet.
        settling: Duration,
    },
    /// The engine does not answer any more.
    Disconnected(EngineError),
    /// The primary or its data has changed.
    NewGeneration(Generation),
    /// Messages may have been missed until now.
    MissedMessages,
    /// Another replica, or this one, has sent a message.
    Message(Vec<u8>),
    /// New entries of the stream of revocations.
    Revocations(Vec<Vec<u8>>),
    /// All entries of the stream have been read.
    CaughtUp,
}
