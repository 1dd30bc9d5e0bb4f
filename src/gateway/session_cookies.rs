//! The `Set-Cookie` headers of a session, within what the browser may send back.

use std::borrow::Cow;

use aws_lc_rs::error::Unspecified;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::access::cookie_codec::TooLarge;
use crate::access::cookies::Presented;
use crate::access::identity::Identity;
use crate::access::revocations::Mark;
use crate::access::seal::SessionRecord;
use crate::gateway::state::{App, State};
use crate::session::Tokens;

/// Why tokens do not become cookies.
#[derive(Debug, thiserror::Error)]
pub(super) enum CookieError {
    #[error(transparent)]
    Token(#[from] TooLarge),
    #[error("both tokens have {size} bytes, too many for `server.limits.max_header_size`")]
    Together { size: usize },
    #[error("the refresh token cannot be sealed")]
    Seal(#[from] Unspecified),
}

/// The cookies of a new session. Without a refresh token, one that is left of an older session goes.
pub(super) fn of_login(
    state: &State,
    app: &App,
    tokens: &Tokens,
    presented: Presented,
) -> Result<Vec<HeaderValue>, CookieError> {
    let Some(refresh_token) = &tokens.refresh_token else {
        check_size(state, &tokens.access_token, "")?;
        let mut cookies = app.cookies.access_token(&tokens.access_token, presented)?;
        cookies.extend(app.cookies.clear_refresh_token(presented));
        return Ok(cookies);
    };
    let now = state.now();
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id)?;
    // As late as the provider says, whose clock may be ahead: compared with revocations like `iat`.
    let started_at = tokens.identity.issued_at().map_or(now, |issued_at| issued_at.max(now));
    let record = renewed(app, id, &tokens.access_token, &tokens.identity, started_at, now);
    of_pair(state, app, &tokens.access_token, refresh_token, &record, presented)
}

/// The cookies after a refresh. Where cookies are sealed, the refresh token's always comes anew, since it names the JWT.
/// `refresh_token`: the newest one; `is_rotated`: the browser does not have it yet. `record`: what was sealed with the
/// old one.
pub(super) fn of_refresh(
    state: &State,
    app: &App,
    tokens: &Tokens,
    (refresh_token, is_rotated): (&Zeroizing<String>, bool),
    record: Option<&SessionRecord>,
    presented: Presented,
) -> Result<Vec<HeaderValue>, CookieError> {
    if let Some(SessionRecord { id, started_at, .. }) = record {
        let record = renewed(app, *id, &tokens.access_token, &tokens.identity, *started_at, state.now());
        return of_pair(state, app, &tokens.access_token, refresh_token, &record, presented);
    }
    check_size(state, &tokens.access_token, refresh_token)?;
    let mut cookies = app.cookies.access_token(&tokens.access_token, presented)?;
    if is_rotated {
        cookies.extend(app.cookies.refresh_token(refresh_token, presented)?);
    }
    Ok(cookies)
}

/// The refresh token's cookies alone: it was replaced, and the JWT stays.
pub(super) fn of_refresh_token(
    app: &App,
    refresh_token: &str,
    record: Option<&SessionRecord>,
    presented: Presented,
) -> Result<Vec<HeaderValue>, CookieError> {
    let refresh_token = match record {
        Some(record) => seal(app, refresh_token, record)?,
        None => Cow::Borrowed(refresh_token),
    };
    Ok(app.cookies.refresh_token(&refresh_token, presented)?)
}

fn of_pair(
    state: &State,
    app: &App,
    access_token: &str,
    refresh_token: &str,
    record: &SessionRecord,
    presented: Presented,
) -> Result<Vec<HeaderValue>, CookieError> {
    let refresh_token = seal(app, refresh_token, record)?;
    check_size(state, access_token, &refresh_token)?;
    let mut cookies = app.cookies.access_token(access_token, presented)?;
    cookies.extend(app.cookies.refresh_token(&refresh_token, presented)?);
    Ok(cookies)
}

/// What the cookie of a refresh token holds: the token itself, unless cookies are sealed.
fn seal<'a>(app: &App, refresh_token: &'a str, record: &SessionRecord) -> Result<Cow<'a, str>, Unspecified> {
    match &app.rules().session.seal {
        Some(seal) => Ok(Cow::Owned(seal.close(refresh_token, record)?.to_string())),
        None => Ok(Cow::Borrowed(refresh_token)),
    }
}

fn renewed(
    app: &App,
    id: [u8; 16],
    access_token: &str,
    identity: &Identity,
    started_at: u64,
    now: u64,
) -> SessionRecord {
    let rules = app.rules();
    SessionRecord {
        id,
        subject: identity.marks().subject,
        access_token: Mark::token(rules.session.provider, access_token),
        access_token_expires_at: identity.expires_at().saturating_add(rules.token.leeway),
        started_at,
        renewed_at: now,
    }
}

/// The browser must be able to send both back together: a head that is refused for its size would lock the user out.
fn check_size(state: &State, access_token: &str, refresh_token: &str) -> Result<(), CookieError> {
    let size = access_token.len() + refresh_token.len();
    if size > state.limits.max_header_size / 4 * 3 {
        return Err(CookieError::Together { size });
    }
    Ok(())
}
