//! The `Set-Cookie` fields of a session, within the sizes that the browser may send back.

use std::borrow::Cow;

use aws_lc_rs::error::Unspecified;
use http::{HeaderMap, HeaderValue};
use pingora_http::RequestHeader;

use crate::access::cookie_codec::TooLarge;
use crate::access::cookies::Presented;
use crate::access::decision::Pending;
use crate::access::identity::Identity;
use crate::access::revocations::Mark;
use crate::access::seal::SessionRecord;
use crate::access::tokens::{AccessToken, RefreshToken};
use crate::gateway::state::{App, State};
use crate::session::{Brought, Change, NewCookies, Sessions, Tokens};
use crate::syntax::authority::Authority;
use crate::syntax::redacted::Redacted;

/// The reasons why tokens cannot become cookies.
#[derive(Debug, thiserror::Error)]
pub(super) enum CookieError {
    #[error(transparent)]
    Token(#[from] TooLarge),
    #[error("both tokens have {size} bytes, too many for `server.limits.max_header_size`")]
    Together { size: usize },
    #[error("the refresh token cannot be sealed")]
    Seal(#[from] Unspecified),
}

/// Returns the cookies that a request brought, in a form by which a later change is recognised. Returns `None` if it
/// brought none.
fn brought(app: &App, headers: &HeaderMap) -> Option<Brought> {
    let rules = app.rules();
    let cookies = rules.cookies.read(headers);
    if cookies.presented == Presented::default() {
        return None;
    }
    let access_token = cookies.access_token.as_deref().unwrap_or_default();
    let refresh_token = cookies.refresh_token.as_deref().map(|cookie| rules.session.open(cookie));
    Some(match refresh_token {
        Some(Some(grant)) => {
            let key = Sessions::key(&app.relying_party, &grant.refresh_token);
            Brought::tokens(rules.client_number, access_token, Some(key))
        }
        None if !cookies.duplicate => Brought::tokens(rules.client_number, access_token, None),
        _ => Brought::cookies(rules.client_number, rules.cookies.pairs(headers)),
    })
}

/// Returns the cookies of a new session. If it has no refresh token, the refresh token's cookie of an older session is
/// cleared.
pub(super) fn of_login(
    state: &State,
    app: &App,
    tokens: &Tokens,
    request: &RequestHeader,
    presented: Presented,
) -> Result<NewCookies, CookieError> {
    let mut headers = of_new_pair(state, app, tokens, presented)?;
    // A cookie of the same name in another scope would come beside the new one, and make this login useless.
    headers.extend(cleared_elsewhere(app, request, 1));
    let key = tokens.refresh_token.as_ref().map(|token| Sessions::key(&app.relying_party, token));
    let change = Change::Begin(Brought::tokens(app.rules().client_number, &tokens.access_token, key));
    Ok(NewCookies { headers: Redacted(headers), change, before: brought(app, &request.headers) })
}

fn of_new_pair(
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
    let started_at = tokens.identity.session_start(now);
    let record = sealed_record(app, id, &tokens.access_token, &tokens.identity, started_at, now);
    of_pair(state, app, &tokens.access_token, refresh_token, &record, presented)
}

/// Returns the cookies after a refresh. `refresh_token` is the newest one.
pub(super) fn renewed(
    state: &State,
    app: &App,
    tokens: &Tokens,
    refresh_token: &RefreshToken,
    pending: &Pending<'_>,
    request: &RequestHeader,
) -> Result<NewCookies, CookieError> {
    let change = Change::Renew {
        key: Sessions::key(&app.relying_party, refresh_token),
        jwt: Some(tokens.identity.marks().token),
    };
    let headers = of_refresh(state, app, tokens, refresh_token, pending)?;
    Ok(NewCookies { headers: Redacted(headers), change, before: brought(app, &request.headers) })
}

/// Returns the cookies of a refresh. If cookies are sealed, the refresh token's cookie is always new, because it names
/// the JWT.
fn of_refresh(
    state: &State,
    app: &App,
    tokens: &Tokens,
    refresh_token: &RefreshToken,
    pending: &Pending<'_>,
) -> Result<Vec<HeaderValue>, CookieError> {
    let Pending { grant, presented, .. } = pending;
    if let Some(SessionRecord { id, started_at, .. }) = grant.record {
        let record = sealed_record(app, id, &tokens.access_token, &tokens.identity, started_at, state.now());
        return of_pair(state, app, &tokens.access_token, refresh_token, &record, *presented);
    }
    check_size(state, &tokens.access_token, refresh_token)?;
    let mut cookies = app.cookies.access_token(&tokens.access_token, *presented)?;
    if *refresh_token != grant.refresh_token {
        cookies.extend(app.cookies.refresh_token(refresh_token, *presented)?);
    }
    Ok(cookies)
}

/// Returns only the refresh token's cookies. The refresh token was replaced, and the JWT stays.
pub(super) fn rotated(
    app: &App,
    refresh_token: &RefreshToken,
    pending: &Pending<'_>,
    request: &RequestHeader,
) -> Result<NewCookies, CookieError> {
    let sealed = match &pending.grant.record {
        Some(record) => seal(app, refresh_token, record)?,
        None => Cow::Borrowed(refresh_token.as_str()),
    };
    let headers = app.cookies.refresh_token(&sealed, pending.presented)?;
    let change = Change::Renew { key: Sessions::key(&app.relying_party, refresh_token), jwt: None };
    Ok(NewCookies { headers: Redacted(headers), change, before: brought(app, &request.headers) })
}

/// Clears the session's cookies in every scope in which the browser may have them.
pub(super) fn cleared(app: &App, request: &RequestHeader, presented: Presented) -> NewCookies {
    let mut headers = app.cookies.clear(presented);
    // If a cookie of ours came twice, one of them is not ours, or is an old one of ours.
    headers.extend(cleared_elsewhere(app, request, 2));
    NewCookies { headers: Redacted(headers), change: Change::Clear, before: brought(app, &request.headers) }
}

/// Clears cookies of ours in the other scopes in which the browser may have them. Only cookies that came at least
/// `at_least` times are cleared.
fn cleared_elsewhere(app: &App, request: &RequestHeader, at_least: usize) -> Vec<HeaderValue> {
    let names = app.rules().cookies.names(&request.headers, at_least);
    if names.is_empty() {
        return Vec::new();
    }
    let host = Authority::of(&request.headers);
    let host = host.as_ref().map(Authority::name).unwrap_or_default();
    app.cookies.clear_elsewhere(&names, host, request.uri.path())
}

fn of_pair(
    state: &State,
    app: &App,
    access_token: &AccessToken,
    refresh_token: &RefreshToken,
    record: &SessionRecord,
    presented: Presented,
) -> Result<Vec<HeaderValue>, CookieError> {
    let refresh_token = seal(app, refresh_token, record)?;
    check_size(state, access_token, &refresh_token)?;
    let mut cookies = app.cookies.access_token(access_token, presented)?;
    cookies.extend(app.cookies.refresh_token(&refresh_token, presented)?);
    Ok(cookies)
}

/// Returns the content of a refresh token's cookie: the sealed token, or the token itself if cookies are not sealed.
fn seal<'a>(
    app: &App,
    refresh_token: &'a RefreshToken,
    record: &SessionRecord,
) -> Result<Cow<'a, str>, Unspecified> {
    match &app.rules().session.seal {
        Some(seal) => Ok(Cow::Owned(seal.close(refresh_token, record)?.to_string())),
        None => Ok(Cow::Borrowed(refresh_token)),
    }
}

fn sealed_record(
    app: &App,
    id: [u8; 16],
    access_token: &AccessToken,
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

/// Checks that the browser can send both tokens back together. A head that is refused for its size would lock the user
/// out.
fn check_size(state: &State, access_token: &str, refresh_token: &str) -> Result<(), CookieError> {
    let size = access_token.len() + refresh_token.len();
    if size > state.limits.max_header_size / 4 * 3 {
        return Err(CookieError::Together { size });
    }
    Ok(())
}
