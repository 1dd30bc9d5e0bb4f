//! The two attacks of the workflow, carried out for real: a request through the gateway with somebody else's tokens.
//!
//! The page cannot read its own HttpOnly cookies, so the tokens come from the provider's memory.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::header;
use portcullis::clock::{Clock, SystemClock};

use super::record::REQUEST_ID;
use crate::journal::{Theft, fingerprint, now_in_ms};
use crate::provider::Tokens;

/// Where and how to attack: the gateway, the app's host, its cookies' names.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) gateway: SocketAddr,
    /// With the port, as a browser sends it.
    pub(crate) host: String,
    pub(crate) access_token_cookie: String,
    pub(crate) refresh_token_cookie: String,
    /// Of the gateway: how long it repeats the outcome of a refresh.
    pub(crate) replay_window: Duration,
    /// Whether the gateway seals the refresh token's cookie.
    pub(crate) sealed: bool,
}

/// What was stolen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loot {
    /// The refresh token, to be sent along with a junk JWT.
    RefreshToken,
    /// The JWT alone.
    Jwt,
}

/// The thief's HTTP client. Made once: that takes longer than a request.
pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()
}

/// Uses the loot once.
pub(crate) async fn strike(
    client: &reqwest::Client,
    target: &Target,
    path: &str,
    tokens: &Tokens,
    loot: Loot,
) -> Result<Theft, reqwest::Error> {
    let jwt = fingerprint("jwt", &tokens.access_token);
    let refresh_token = fingerprint("rt", &tokens.refresh_token);
    let (cookie, presented) = match loot {
        Loot::RefreshToken => {
            let (access, refresh) = (&target.access_token_cookie, &target.refresh_token_cookie);
            let cookie = format!("{access}=junk; {refresh}={}", tokens.refresh_token);
            (cookie, format!("junk JWT, stolen {refresh_token}"))
        }
        Loot::Jwt => (
            format!("{}={}", target.access_token_cookie, tokens.access_token),
            format!("stolen {jwt}, nothing else"),
        ),
    };
    let request_id = format!("thief-{:.0}", now_in_ms() * 1000.0);
    let request = client
        .get(format!("http://{}{path}", target.gateway))
        .header(header::HOST, &target.host)
        .header(header::COOKIE, cookie)
        .header(REQUEST_ID, &request_id);
    let response = request.send().await?;
    let status = response.status().as_u16();
    let gained = new_tokens(target, response.headers());
    let remaining = tokens.expires_at.saturating_sub(SystemClock.now());
    Ok(Theft {
        title: match loot {
            Loot::RefreshToken => "Attack: a stolen refresh token with a junk JWT",
            Loot::Jwt => "Attack: a stolen JWT",
        }
        .into(),
        request: format!("GET {path}"),
        presented,
        status,
        succeeded: status == 200,
        caption: caption(target, loot, status, !gained.is_empty(), remaining),
        gained: gained.join(", "),
        request_id,
    })
}

/// The fingerprints of the tokens that an answer sets as cookies; cleared cookies do not count.
fn new_tokens(target: &Target, headers: &header::HeaderMap) -> Vec<String> {
    let cookies = headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.filter_map(|cookie| cookie.split(';').next()?.trim().split_once('='));
    let tokens = pairs.filter(|(_, value)| !value.is_empty()).filter_map(|(name, value)| {
        if name == target.access_token_cookie {
            Some(fingerprint("jwt", value))
        } else if name == target.refresh_token_cookie {
            Some(fingerprint("rt", value))
        } else {
            None
        }
    });
    tokens.collect()
}

/// What the outcome means: only what was seen, and what follows from it.
fn caption(target: &Target, loot: Loot, status: u16, gained: bool, remaining: u64) -> String {
    match (loot, status) {
        (Loot::RefreshToken, 200) if gained => format!(
            "The thief is in, with a fresh JWT: where cookies are not sealed, the refresh token alone is the session. The \
             provider rotated it, so the victim's browser now holds a used one. Until somebody uses what the thief got, and \
             for the replay window ({} s) after that, the gateway gives the victim the same tokens, as it would after a lost \
             answer: both share the session. Later it is reuse: the session ends for both, here and at the provider. \
             `session.seal_keys` stops the first step.",
            target.replay_window.as_secs()
        ),
        (Loot::RefreshToken, 401) if target.sealed => {
            "Refused, and the provider was not asked: the gateway sealed the victim's cookie (`session.seal_keys`). A refresh \
             token that was found elsewhere, such as at the provider or in a log, is worth nothing here. The victim's session \
             goes on."
                .into()
        }
        (Loot::Jwt, 200) if remaining == 0 => {
            "The thief is in, though the JWT has just expired: the gateway tolerates a few seconds of clock skew (`leeway`). \
             After that it ends, because there is no refresh token."
                .into()
        }
        (Loot::Jwt, 200) => format!(
            "The thief is in, for {remaining} more s: a JWT is checked locally, and nobody asks the provider. Without the refresh \
             token it ends there, or when the victim signs out. Short lifetimes keep this window small; what cuts it shorter \
             is described in the documentation, under security."
        ),
        (Loot::Jwt, 401) if remaining == 0 => {
            "Too late for the thief: the stolen JWT has expired, and there is no refresh token to renew it.".into()
        }
        (_, 200) => "The thief got an answer for a signed-in user, and no new token.".into(),
        (_, 401) => "Refused: what the thief holds is worth nothing any more.".into(),
        (_, 503) => "No decision: the provider could not be asked, so nobody was let in.".into(),
        _ => format!("The gateway answered {status}, and the thief got nothing."),
    }
}
