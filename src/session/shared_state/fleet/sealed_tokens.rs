//! The tokens of a refresh as replicas give them to each other. They are sealed with the old refresh token.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::access::tokens::{AccessToken, RefreshToken};
use crate::session::outcome::{Outcome, UnverifiedTokens};

/// The tokens. The identity is not sent: each replica verifies the JWT by its own rules.
#[derive(Serialize, Deserialize)]
struct SentTokens<'a> {
    access_token: &'a str,
    /// `None` if the old refresh token stays in use.
    refresh_token: Option<&'a str>,
}

/// Returns the tokens of an outcome as bytes. Returns `None` if it has none.
pub(super) fn write(outcome: &Outcome) -> Option<Zeroizing<Vec<u8>>> {
    let access_token = outcome.access_token()?;
    let refresh_token = outcome.refresh_token()?.map(RefreshToken::as_str);
    serde_json::to_vec(&SentTokens { access_token, refresh_token }).ok().map(Zeroizing::new)
}

/// Reads the tokens that another replica has received.
pub(super) fn read(bytes: &[u8]) -> Option<Outcome> {
    let SentTokens { access_token, refresh_token } = serde_json::from_slice(bytes).ok()?;
    Some(Outcome::Unverified(Arc::new(UnverifiedTokens {
        access_token: AccessToken::new(access_token),
        refresh_token: refresh_token.map(RefreshToken::new),
        is_refused: false,
    })))
}
