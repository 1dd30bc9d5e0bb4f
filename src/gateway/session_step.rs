//! From the decision to what follows from it: refreshes, own answers, or the way to the app.

use std::sync::Arc;

use http::{HeaderValue, header};
use pingora_core::Result;
use pingora_proxy::Session;
use tracing::{debug, error};
use zeroize::Zeroizing;

use crate::access::decision::{Decision, Pending, Reason, RequestHead, admit, decide};
use crate::access::routes::{Destination, Rule};
use crate::config::Access;
use crate::gateway::answer::Answer;
use crate::gateway::context::Context;
use crate::gateway::state::{App, State};
use crate::gateway::{backchannel_logout, endpoints, fusionauth_webhook, session_cookies};
use crate::identity_provider::UnknownKeySource;
use crate::respond::{Code, Problem};
use crate::session::{Outcome, Sessions, unavailable};

/// Takes a request as far as it gets without the app. `true`: it goes to the app.
pub(super) async fn run(
    state: &State,
    app: &App,
    session: &mut Session,
    context: &mut Context,
) -> Result<bool> {
    let mut decision = decide_now(state, app, session, context, false);
    if matches!(decision, Decision::FetchKeys) {
        app.session.provider.fetch_unknown_key(UnknownKeySource::Request).await;
        decision = decide_now(state, app, session, context, true);
    }
    if let Decision::Refresh(pending) = decision {
        decision = refresh(state, app, pending, context).await;
    }
    match decision {
        Decision::Forward(identity) => {
            context.identity = identity;
            return Ok(true);
        }
        Decision::Login => endpoints::login(state, app, session, context).await?,
        Decision::Logout => endpoints::logout(state, app, session, context).await?,
        Decision::BackchannelLogout => backchannel_logout::answer(state, app, session, context).await?,
        Decision::FusionAuthWebhook => fusionauth_webhook::answer(state, app, session, context).await?,
        Decision::User(identity) => {
            endpoints::user(state, app, &identity, session, context).await?;
            context.identity = Some(identity);
        }
        Decision::Reject(problem, reason) => {
            debug!(app = app.name, code = problem.code.as_str(), %reason, "request refused");
            Answer::from(&problem).send(state, session, context).await?;
        }
        // Neither is left over: keys are fetched once, and a refresh ends in another decision.
        Decision::FetchKeys | Decision::Refresh(_) => {
            Answer::from(&unavailable()).send(state, session, context).await?;
        }
    }
    Ok(false)
}

fn decide_now<'a>(
    state: &State,
    app: &'a App,
    session: &Session,
    context: &Context,
    keys_are_fresh: bool,
) -> Decision<'a> {
    let request = session.req_header();
    let head = RequestHead {
        method: &request.method,
        path: raw_path(request.raw_path()),
        host: request.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
        headers: &request.headers,
        websocket: context.websocket,
    };
    // In this order: keys of a later generation under an earlier number are only verified once more.
    let generation = app.session.provider.key_set_generation();
    let keys = app.session.provider.key_set();
    decide(app.rules(), &head, &state.knowledge(&keys, generation, keys_are_fresh))
}

/// The target's path: the very bytes that are forwarded, up to the query. What is no text is no acceptable path.
fn raw_path(target: &[u8]) -> &str {
    let path = target.split(|&byte| byte == b'?').next().unwrap_or(target);
    std::str::from_utf8(path).unwrap_or_default()
}

async fn refresh<'a>(state: &State, app: &App, pending: Pending<'a>, context: &mut Context) -> Decision<'a> {
    let refreshed =
        state.sessions.refresh(&app.session, &pending.refresh_token, pending.previous.as_ref()).await;
    let newest = &refreshed.refresh_token;
    let key = |token: &str| Sessions::key(&app.session, token);
    context.session_keys = vec![key(&pending.refresh_token), key(newest)];
    context.new_cookies = rotated_cookies(app, newest, &pending);
    match refreshed.outcome {
        Outcome::Renewed(tokens) => {
            match session_cookies::access_token(state, app, &tokens.access_token, newest, pending.presented) {
                Ok(cookies) => {
                    context.new_cookies.splice(0..0, cookies);
                    let identity = Arc::clone(&tokens.identity);
                    context.tokens = Some(tokens);
                    admit(app.rules(), pending.destination, Ok(identity))
                }
                Err(error) => {
                    error!(app = app.name, %error, "the provider's JWT does not fit into cookies");
                    without_refresh(app, pending)
                }
            }
        }
        Outcome::Dead => {
            context.session_keys.clear();
            context.new_cookies = app.cookies.clear(pending.presented);
            ended(&pending)
        }
        Outcome::Ended => {
            context.new_cookies.clear();
            ended(&pending)
        }
        Outcome::Unverified(_) | Outcome::Unavailable => without_refresh(app, pending),
    }
}

fn ended<'a>(pending: &Pending<'a>) -> Decision<'a> {
    if let Destination::App(Rule { access: Access::Optional, .. }) = pending.destination {
        return Decision::Forward(None);
    }
    let problem = Problem::new(Code::SessionExpired, "The session has ended. Log in again.");
    Decision::Reject(problem, Reason::SessionEnded)
}

/// The refresh token's cookies, if there is another one by now. They go out whatever becomes of the JWT: the old
/// refresh token is dead.
fn rotated_cookies(app: &App, newest: &Zeroizing<String>, pending: &Pending<'_>) -> Vec<HeaderValue> {
    if **newest == *pending.refresh_token {
        return Vec::new();
    }
    app.cookies.refresh_token(newest, pending.presented).unwrap_or_else(|too_large| {
        error!(app = app.name, error = %too_large, "the provider's refresh token does not fit into cookies");
        Vec::new()
    })
}

/// Goes on with the old JWT while that is valid; else nothing can be said now, and the session is kept.
fn without_refresh<'a>(app: &App, pending: Pending<'a>) -> Decision<'a> {
    match pending.previous {
        Some(previous) if previous.still_valid => {
            admit(app.rules(), pending.destination, Ok(previous.identity))
        }
        _ => Decision::Reject(unavailable(), Reason::ProviderUnavailable),
    }
}
