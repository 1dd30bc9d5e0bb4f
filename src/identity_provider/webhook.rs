//! A provider's webhook: what an app takes from it, whatever kind of provider sends it.

use std::fmt::Debug;

use http::HeaderMap;

use crate::access::key_set::KeySet;
use crate::access::token_error::TokenError;

/// The reading of the events that a provider's webhook sends to one app.
pub trait Webhook: Debug + Send + Sync {
    /// Verifies the signature of an event, and reads the event then. `keys` are the provider's. `now` is in Unix
    /// seconds: the provider's clock may be ahead, and its JWTs with it, but sessions to come must not end.
    fn read(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        keys: &KeySet,
        now: u64,
    ) -> Result<WebhookEvent, WebhookError>;
}

/// The sessions that an event ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookEvent {
    /// Those of one refresh token, whose id the JWTs have as `sid`.
    Session(String),
    /// Those of a user whose JWTs were issued at or before this time (Unix seconds).
    User {
        /// The user's id: `sub` of the JWTs.
        subject: String,
        /// Unix seconds.
        issued_until: u64,
    },
    /// Those of all users of this app.
    Everybody,
    /// Nobody's here: it is about something else, or about another application.
    Nobody,
}

/// The reason why a webhook's request is refused. The texts are for logs; none carries a part of the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The header with the signature is missing, comes twice or is no text.
    #[error("there is not exactly one signature")]
    Unsigned,
    /// The JWT in the header is not acceptable.
    #[error("the signature: {0}")]
    Signature(#[from] TokenError),
    /// The JWT is about another body.
    #[error("the signature is another body's")]
    Body,
    /// The body is no event as documented.
    #[error("the event: {0}")]
    Event(&'static str),
}

impl WebhookError {
    /// Says whether the signature may hold with other keys of the provider.
    pub fn is_unknown_key(&self) -> bool {
        matches!(self, Self::Signature(TokenError::UnknownKey))
    }
}
