//! The reasons why a call to a provider has no answer. They say who could not be reached (the provider, or a proxy in
//! between) and what to do.

use std::error::Error;
use std::time::Duration;

use url::Url;

use crate::identity_provider::token_fate::TokenFate;
use crate::system::explained::Explained;
use crate::system::unreachable::{Side, Unreachable};

/// The most bytes that are read of an answer. This is far more than any token answer, metadata document or JWKS needs.
pub(super) const MAX_ANSWER: usize = 1024 * 1024;

/// The reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// No endpoint for the call is known.
    #[error("{0}")]
    NoEndpoint(Explained),
    /// There was no connection, so nothing was sent.
    #[error("{0}")]
    NotConnected(Explained),
    /// The connection broke, or the answer is not HTTP.
    #[error("{0}")]
    Broken(Explained),
    /// The proxy in between did not let us talk to the provider.
    #[error("the proxy {proxy}: {reason}")]
    Proxy {
        /// Its scheme, host and port.
        proxy: String,
        /// The fault.
        reason: String,
    },
    /// The answer was not complete in time.
    #[error("no complete answer within {0:?} (`request_timeout`)")]
    TimedOut(Duration),
    /// The answer is larger than [`MAX_ANSWER`].
    #[error("the answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
    /// The answer is compressed although we do not ask for compression. Its size would not be the one that we count.
    #[error("the answer has a content encoding, which was not asked for")]
    Encoded,
}

impl From<CallError> for Explained {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NoEndpoint(explained)
            | CallError::NotConnected(explained)
            | CallError::Broken(explained) => explained,
            other => Self::from(other.to_string()),
        }
    }
}

impl CallError {
    /// Returns the fate of a refresh token whose call has this error. A connection is refused, or is not there in time,
    /// before anything of the request is written. A proxy that answers in the provider's place has not passed the
    /// request on.
    pub(super) const fn token_fate(&self) -> TokenFate {
        match self {
            Self::NoEndpoint(_) | Self::NotConnected(_) | Self::Proxy { .. } => TokenFate::NotProcessed,
            Self::Broken(_) | Self::TimedOut(_) | Self::TooLarge | Self::Encoded => TokenFate::Unknown,
        }
    }

    /// Returns the error of a call without an answer, and says which side is at fault. For plain http, we connect only
    /// to the proxy. For an https provider there is a tunnel, in which TLS begins (RFC 9110 section 9.3.6).
    pub(super) fn of(error: reqwest::Error, proxy: Option<&Url>) -> Self {
        let Some(proxy) = proxy.filter(|_| error.is_connect()) else {
            let is_sent = !error.is_connect() && !error.is_builder();
            return if is_sent { Self::Broken(describe(error)) } else { Self::NotConnected(describe(error)) };
        };
        let is_plain = error.url().is_some_and(|url| url.scheme() == "http");
        let is_timeout = error.is_timeout();
        let words = words_of(error);
        let Some((_, tunnel)) = words.split_once(TUNNEL).filter(|_| !is_plain) else {
            return match () {
                () if is_plain => of_proxy(proxy, meaning(&words).unwrap_or(words)),
                // The time may have run out at the proxy or at the provider.
                () if is_timeout => of_proxy(proxy, format!("no connection through it in time: {words}")),
                () => Self::NotConnected(explained(words)),
            };
        };
        of_proxy(
            proxy,
            match tunnel {
                "proxy authorization required" => String::from(WANTS_CREDENTIALS),
                "unsuccessful" => String::from("it refuses a tunnel (CONNECT) to the provider"),
                other => meaning(other)
                    .unwrap_or_else(|| format!("there is no tunnel (CONNECT) to the provider: {other}")),
            },
        )
    }
    /// Returns the error of a proxy that answers instead of the provider because it wants credentials.
    pub(super) fn proxy_wants_credentials(proxy: &Url) -> Self {
        of_proxy(proxy, String::from(WANTS_CREDENTIALS))
    }
}

/// The first words of a tunnel's error. Such errors have no public type.
const TUNNEL: &str = "tunnel error: ";

/// The status 407 (RFC 9110 section 15.5.8).
pub(super) const ASKS_FOR_CREDENTIALS: u16 = 407;

const WANTS_CREDENTIALS: &str = "it wants to know who we are (407): see `proxy_credentials`";

fn of_proxy(proxy: &Url, reason: String) -> CallError {
    CallError::Proxy { proxy: proxy.origin().ascii_serialization(), reason }
}

/// Puts an error and its causes into words, without the URL. The URL may contain a secret: one provider's logout has
/// the refresh token in it.
fn words_of(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Returns the meaning of an error's words at a proxy. It has no advice, because the advice for an unreachable provider
/// does not help with a proxy.
fn meaning(words: &str) -> Option<String> {
    Unreachable::of(words, Side::IdentityProvider).map(|known| known.to_string())
}

/// Returns the meaning of an error's words and the advice, as far as they are known.
fn explained(words: String) -> Explained {
    match Unreachable::of(&words, Side::IdentityProvider) {
        Some(known) => known.explained(),
        None => Explained::from(words),
    }
}

/// Returns the meaning of an error and the advice, as far as they are known.
pub(super) fn describe(error: reqwest::Error) -> Explained {
    explained(words_of(error))
}
