//! Why a call to a provider has no answer: who could not be reached, the provider or a proxy in between, and what to do.

use std::error::Error;
use std::time::Duration;

use url::Url;

use crate::system::unreachable::{Side, Unreachable};

/// The most that is read of an answer, in bytes: far more than any token answer, metadata or JWKS needs.
pub(super) const MAX_ANSWER: usize = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// It is not known where to call.
    #[error("{0}")]
    NoEndpoint(String),
    /// No connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// The proxy in between has not let us talk to the provider.
    #[error("the proxy {proxy}: {reason}")]
    Proxy {
        /// Its scheme, host and port.
        proxy: String,
        /// What went wrong.
        reason: String,
    },
    /// The answer was not complete in time.
    #[error("no complete answer within {0:?} (`request_timeout`)")]
    TimedOut(Duration),
    /// The answer is larger than [`MAX_ANSWER`].
    #[error("the answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
    /// The answer is compressed although we ask for none, so that its size is not what we count.
    #[error("the answer has a content encoding, which was not asked for")]
    Encoded,
}

impl CallError {
    /// Says whose fault it is that there is no connection. Over plain http only the proxy is connected to; to an https provider
    /// there is a tunnel, in which TLS begins (RFC 9110 section 9.3.6).
    pub(super) fn of(error: reqwest::Error, proxy: Option<&Url>) -> Self {
        let Some(proxy) = proxy.filter(|_| error.is_connect()) else {
            return Self::Connection(describe(error));
        };
        let is_plain = error.url().is_some_and(|url| url.scheme() == "http");
        let is_timeout = error.is_timeout();
        let words = words_of(error);
        let Some((_, tunnel)) = words.split_once(TUNNEL).filter(|_| !is_plain) else {
            return match () {
                () if is_plain => of_proxy(proxy, meaning(&words).unwrap_or(words)),
                // The time may have passed on either way.
                () if is_timeout => of_proxy(proxy, format!("no connection through it in time: {words}")),
                () => Self::Connection(explained(words)),
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
    /// The proxy answers instead of the provider: it wants to know who we are.
    pub(super) fn proxy_wants_credentials(proxy: &Url) -> Self {
        of_proxy(proxy, String::from(WANTS_CREDENTIALS))
    }
}

/// How errors of tunnels begin, which have no public type.
const TUNNEL: &str = "tunnel error: ";

/// RFC 9110 section 15.5.8.
pub(super) const ASKS_FOR_CREDENTIALS: u16 = 407;

const WANTS_CREDENTIALS: &str = "it wants to know who we are (407): see `proxy_credentials`";

fn of_proxy(proxy: &Url, reason: String) -> CallError {
    CallError::Proxy { proxy: proxy.origin().ascii_serialization(), reason }
}

/// Puts an error and its causes into words, without the URL: one provider's logout has the refresh token in it.
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

/// Says what an error's words mean at a proxy. What helps against a provider that cannot be reached does not help there.
fn meaning(words: &str) -> Option<String> {
    Unreachable::of(words, Side::IdentityProvider).map(|known| known.to_string())
}

/// Says what an error's words mean, and what to do about it, as far as that is known.
fn explained(words: String) -> String {
    Unreachable::of(&words, Side::IdentityProvider).map_or(words, |known| known.with_hint())
}

/// Says what an error is about, and what to do about it, as far as that is known.
pub(super) fn describe(error: reqwest::Error) -> String {
    explained(words_of(error))
}
