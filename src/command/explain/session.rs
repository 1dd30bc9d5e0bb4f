//! Explains a request's cookies, one by one.

use std::fmt::Write as _;
use std::sync::Arc;

use http::header;

use crate::access::assessment::{Grant, Previous};
use crate::access::cookies::{Presented, SessionCookies};
use crate::access::decision::{AppRules, Knowledge, RequestHead};
use crate::access::identity::Identity;
use crate::access::seal::SessionRecord;
use crate::access::token::{self, TokenError, Validity, Verification};
use crate::access::tokens::AccessToken;
use crate::command::explain::keys::Keys;
use crate::command::explain::steps::Steps;

/// Adds the steps of the cookies. `not_known` is what the explanation leaves out. Returns the reason code of the JWT.
pub(super) fn steps(
    steps: &mut Steps,
    rules: &AppRules,
    head: &RequestHead<'_>,
    known: &Knowledge<'_>,
    keys: &Keys,
    not_known: &str,
) -> &'static str {
    if !head.headers.contains_key(header::COOKIE) {
        steps.add("cookies", "none");
        return "no_session";
    }
    let cookies = rules.cookies.read(head.headers);
    if !cookies_step(steps, rules, &cookies) {
        return "no_session";
    }
    steps.add("keys", &keys.origin);
    let (previous, code) = token_step(steps, rules, &cookies, known);
    if let Some(cookie) = cookies.refresh_token.as_deref() {
        refresh_token_step(steps, rules, cookie, &cookies, previous.as_ref(), known);
    } else {
        steps.add("refresh", "no refresh token: the session ends with its JWT");
    }
    steps.add("not known", not_known);
    code
}

/// Adds the step of the cookies. Returns true if there is a token to explain.
fn cookies_step(steps: &mut Steps, rules: &AppRules, cookies: &SessionCookies<'_>) -> bool {
    let Presented { access_token, refresh_token } = cookies.presented;
    let names = &rules.cookies;
    if cookies.presented == Presented::default() {
        let wanted = format!("neither `{}` nor `{}`", names.access_token, names.refresh_token);
        steps.add("cookies", &wanted);
        steps.add("", "there are others: of another app, or of before its names were changed");
        return false;
    }
    let found = format!(
        "`{}`: {}, `{}`: {}",
        names.access_token,
        parts(access_token),
        names.refresh_token,
        parts(refresh_token)
    );
    steps.add("cookies", &found);
    if cookies.duplicate {
        steps.add("", "one came twice, so none is believed (duplicate_cookie)");
    } else if (access_token > 0 && cookies.access_token.is_none())
        || (refresh_token > 0 && cookies.refresh_token.is_none())
    {
        steps.add("", "a part is missing or of another token (incomplete_cookie)");
    }
    !cookies.is_empty()
}

fn parts(count: usize) -> String {
    match count {
        0 => String::from("absent"),
        1 => String::from("one cookie"),
        many => format!("{many} parts"),
    }
}

/// Adds the step of the JWT. Returns the JWT in the form that `refresh` needs, and its reason code.
fn token_step(
    steps: &mut Steps,
    rules: &AppRules,
    cookies: &SessionCookies<'_>,
    known: &Knowledge<'_>,
) -> (Option<Previous>, &'static str) {
    let Some(access_token) = cookies.access_token.as_deref() else {
        steps.add("JWT", "absent");
        return (None, "no_session");
    };
    let verified = token::verify(access_token, &rules.token, known.keys, known.now);
    let identity = verified.and_then(|Verification { claims, validity }| {
        let expired = validity == Validity::Expired;
        validity.check().or_else(|error| if expired { Ok(()) } else { Err(error) })?;
        Ok((Arc::new(Identity::new(claims, &rules.identity)?), expired))
    });
    match identity {
        Err(error) => {
            let code = error.code().as_str();
            steps.add("JWT", &format!("refused: {error} ({code})"));
            steps.add("", token_hint(&error));
            (None, code)
        }
        Ok((identity, expired)) => {
            let expires_at = identity.expires_at();
            let state = if expired {
                format!("genuine, but expired {} ago (token_expired)", span(known.now, expires_at))
            } else if identity.is_about_to_expire(known.refresh_ahead, known.now) {
                format!(
                    "valid for {}, within `refresh.ahead`: due for an early refresh",
                    span(expires_at, known.now)
                )
            } else {
                format!("valid for {}", span(expires_at, known.now))
            };
            steps.add("JWT", &state);
            steps.add("", &format!("sub {:?}, roles {:?}", identity.subject(), identity.roles()));
            for omission in identity.omissions() {
                steps.add("", &format!("not told to the app: {omission}"));
                steps.add("", &format!("hint: {}", omission.fix()));
            }
            let access_token = AccessToken::new(access_token);
            let code = if expired { "token_expired" } else { "session_valid" };
            (Some(Previous { identity, access_token, still_valid: !expired, over: None }), code)
        }
    }
}

/// Returns the advice for an error of the token.
const fn token_hint(error: &TokenError) -> &'static str {
    match error {
        TokenError::UnknownKey => {
            "hint: is it of this provider? does the JWKS still have its key, of one of `algorithms`?"
        }
        TokenError::Algorithm => "hint: compare the header's `alg` with `identity_providers.*.algorithms`",
        TokenError::Issuer => "hint: compare `iss` with `identity_providers.*.issuer`, byte by byte",
        TokenError::Audience => {
            "hint: set `audience` to what the provider writes into `aud`, or add an audience mapper there"
        }
        TokenError::AuthorizedParty(_) => {
            "hint: another client's token; `authorized_parties` lists those that are taken"
        }
        TokenError::Opaque => "hint: made up, or the provider gives opaque access tokens and not JWTs",
        TokenError::Encrypted => {
            "hint: only the provider's own services can read it: turn off the encryption of access tokens there"
        }
        TokenError::IdToken(_) => {
            "hint: an ID token in the JWT's place, unless the provider builds access tokens so: `access_token_is_id_token`"
        }
        TokenError::NotYetValid(_) => {
            "hint: the clocks differ: synchronise them; `iat` may be half a minute ahead, `nbf` by `leeway`"
        }
        TokenError::Type => "hint: an ID or refresh token in the JWT's place",
        TokenError::UnusableClaim(..) => {
            "hint: take the claim out of `identity_headers`, or correct it at the provider"
        }
        _ => "hint: it is damaged, forged, or not a JWT of this provider",
    }
}

fn refresh_token_step(
    steps: &mut Steps,
    rules: &AppRules,
    cookie: &str,
    cookies: &SessionCookies<'_>,
    previous: Option<&Previous>,
    known: &Knowledge<'_>,
) {
    let Some(grant) = rules.session.open(cookie) else {
        steps.add("refresh", "the cookie was not sealed here (not_sealed_here)");
        steps.add("", "hint: sealed for another app, with a key that is gone from `seal_keys`, or before there were any");
        return;
    };
    match &grant.record {
        None => {
            steps.add("refresh", "the refresh token as the provider gave it: `session.seal_keys` is empty");
        }
        Some(record) => {
            steps.add("refresh", "sealed for this app, opened");
            lifetime_step(steps, rules, record, known);
        }
    }
    bound_step(steps, rules, &grant, cookies, previous);
}

fn lifetime_step(steps: &mut Steps, rules: &AppRules, record: &SessionRecord, known: &Knowledge<'_>) {
    let now = known.now;
    let mut text =
        format!("began {} ago, renewed {} ago", span(now, record.started_at), span(now, record.renewed_at));
    if let Some(absolute) = rules.session.lifetimes.absolute {
        let end = record.started_at.saturating_add(absolute);
        if now >= end {
            text += ", over by `absolute_lifetime` (absolute_lifetime)";
        } else {
            let _ = write!(text, ", ends in {} by `absolute_lifetime`", span(end, now));
        }
    }
    if rules.session.lifetimes.idle.is_some() {
        text += "; `idle_lifetime` counts from its last request, which only the running gateway knows";
    }
    steps.add("session", &text);
}

fn bound_step(
    steps: &mut Steps,
    rules: &AppRules,
    grant: &Grant,
    cookies: &SessionCookies<'_>,
    previous: Option<&Previous>,
) {
    if !rules.session.bind_refresh {
        return steps.add("bound", "not asked for: `session.bind_refresh` is off");
    }
    if rules.session.is_bound(grant, cookies.access_token.as_deref(), previous) {
        steps.add("bound", "the JWT and the refresh token are of one session");
    } else {
        steps.add("bound", "the refresh token came without the JWT of the same session (not_bound)");
        steps.add("", "hint: the browser lost one of the two cookies, or somebody has only one of them");
    }
}

/// Formats the time between two moments for people.
fn span(later: u64, earlier: u64) -> String {
    let seconds = later.saturating_sub(earlier);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
