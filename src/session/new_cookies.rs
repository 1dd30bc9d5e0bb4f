//! The session cookies that a request brought, and the session cookies that its answer sets.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderValue;
use tokio::time::Instant;

use crate::access::numbers::ClientNumber;
use crate::access::revocations::Mark;
use crate::session::session_key::SessionKey;
use crate::syntax::redacted::Redacted;

/// The longest time for which a request may have been on its way before it came in.
const MAX_LATENESS: Duration = Duration::from_secs(60);

/// Identifies the session cookies that a request brought. It does not contain the cookies themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Brought {
    /// The digest of all of them.
    pub(super) state: CookieState,
    /// Their refresh token, if it can be read.
    pub(super) key: Option<SessionKey>,
}

impl Brought {
    /// Identifies cookies by the tokens in them. `number` is that of the client. `access_token` is empty if there is no JWT.
    pub(crate) fn tokens(number: ClientNumber, access_token: &str, key: Option<SessionKey>) -> Self {
        let key_bytes = key.as_ref().map_or(&[][..], SessionKey::bytes);
        let state = CookieState::of(b"tokens", number, [access_token.as_bytes(), key_bytes].into_iter());
        Self { state, key }
    }

    /// Identifies cookies without readable tokens by their values.
    pub(crate) fn cookies<'a>(number: ClientNumber, values: impl Iterator<Item = &'a [u8]>) -> Self {
        Self { state: CookieState::of(b"cookies", number, values), key: None }
    }
}

/// A digest of session cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CookieState([u8; 32]);

impl CookieState {
    fn of<'a>(kind: &[u8], number: ClientNumber, parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(kind);
        context.update(&number.bytes());
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

/// The effect of an answer on the session cookies of its browser.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// A login. These cookies replace the old ones.
    Begin(Brought),
    /// The session goes on with other tokens.
    Renew {
        /// Its refresh token.
        key: SessionKey,
        /// Its JWT, if that is a new one.
        jwt: Option<Mark>,
    },
    /// The cookies are cleared.
    Clear,
}

/// `Set-Cookie` headers for the final response to a request.
#[derive(Debug, Clone)]
pub(crate) struct NewCookies {
    /// The headers.
    pub(crate) headers: Redacted<Vec<HeaderValue>>,
    /// Their effect.
    pub(crate) change: Change,
    /// The session cookies that the request brought, if any.
    pub(crate) before: Option<Brought>,
}

/// The browser that is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    /// The number of the app's client at its issuer.
    pub(crate) client_number: ClientNumber,
    /// The browser's address, if it is known.
    pub(crate) client: Option<IpAddr>,
    /// The time at which the request came in.
    pub(crate) began: Instant,
}

impl Asker {
    /// Returns the earliest time at which the browser may have sent the request.
    pub(super) fn sent_after(&self) -> Instant {
        self.began.checked_sub(MAX_LATENESS).unwrap_or(self.began)
    }
}
