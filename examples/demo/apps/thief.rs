//! The two attacks of the workflow, carried out for real: a request through the gateway with somebody else's tokens.
//!
//! The page cannot read its own HttpOnly cookies, so the tokens come from the provider's memory. The page says what
//! the outcome means; this file tells only what was seen.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::header;
use portcullis::system::clock::{Clock, SystemClock};

use super::record::REQUEST_ID;
use crate::journal::{Journal, Loot, Theft, fingerprint, now_in_ms};
use crate::provider::{Logins, Tokens};

/// The target of an attack: the gateway, the app's host, its cookies' names.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) gateway: SocketAddr,
    /// With the port, as a browser sends it.
    pub(crate) host: String,
    pub(crate) access_token_cookie: String,
    pub(crate) refresh_token_cookie: String,
    /// Of the gateway: how long it repeats the outcome of a refresh.
    pub(crate) replay_window: Duration,
}

/// The thief's tokens.
#[derive(Debug)]
pub(crate) struct Stolen {
    pub(crate) loot: Loot,
    pub(crate) tokens: Tokens,
    pub(crate) family: String,
    /// The thief had it from before.
    pub(crate) again: bool,
}

/// The places where the thief's deeds show: the provider, and the diagram.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) app: &'static str,
    pub(crate) path: &'static str,
    pub(crate) logins: &'a Logins,
    pub(crate) journal: &'a Journal,
}

/// The thief's HTTP client. Made once: that takes longer than a request.
pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()
}

/// Uses the loot once.
pub(crate) async fn strike(
    client: &reqwest::Client,
    target: &Target,
    scene: Scene<'_>,
    stolen: Stolen,
) -> Result<Theft, reqwest::Error> {
    let Stolen { loot, tokens, family, again } = stolen;
    let (access, refresh) = (&target.access_token_cookie, &target.refresh_token_cookie);
    let (cookie, token) = match loot {
        Loot::RefreshToken => (
            format!("{access}=junk; {refresh}={}", tokens.refresh_token),
            fingerprint("rt", &tokens.refresh_token),
        ),
        Loot::Jwt => (format!("{access}={}", tokens.access_token), fingerprint("jwt", &tokens.access_token)),
    };
    let started = now_in_ms();
    let request_id = format!("thief-{:.0}", started * 1000.0);
    let request = client
        .get(format!("http://{}{}", target.gateway, scene.path))
        .header(header::HOST, &target.host)
        .header(header::COOKIE, cookie)
        .header(REQUEST_ID, &request_id);
    let response = request.send().await?;
    let status = response.status().as_u16();
    let jwt = new_jwt(access, response.headers());
    let body = response.text().await.unwrap_or_default();
    Ok(Theft {
        loot,
        family,
        again,
        request: format!("GET {}", scene.path),
        status,
        code: code(&body),
        gained: jwt.and_then(|jwt| scene.logins.give_to_thief(scene.app, &jwt)),
        asked: scene.journal.asked_about(&token, started),
        login_ended: scene.logins.end_of(scene.app, &tokens.jti),
        remaining: tokens.expires_at.saturating_sub(SystemClock.now()),
        replay_window: target.replay_window.as_secs(),
        token,
        request_id,
    })
}

/// The JWT that an answer sets as a cookie; a cleared cookie does not count.
fn new_jwt(cookie: &str, headers: &header::HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.filter_map(|cookie| cookie.split(';').next()?.trim().split_once('='));
    let (_, jwt) = pairs.find(|(name, value)| *name == cookie && !value.is_empty())?;
    Some(jwt.to_owned())
}

/// The `code` of a problem (RFC 9457).
fn code(body: &str) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(problem.get("code")?.as_str()?.to_owned())
}
