//! From the decision to what follows from it: refreshes, own answers, or the way to the app.

use std::sync::Arc;

use http::header;
use pingora_core::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use tracing::{debug, error};

use crate::access::decision::{Decision, Ending, Pending, Reason, RequestHead, admit, decide_and_locate};
use crate::access::identity::Identity;
use crate::access::revocations::{EndedBy, Revocation};
use crate::access::routes::{Destination, Rule};
use crate::access::tokens::RefreshToken;
use crate::answer::code::Code;
use crate::answer::problem::Problem;

use crate::answer::reason::ReasonCode;
use crate::answer::retry_after::RETRY_AFTER;
use crate::config::Access;
use crate::gateway::answer::Answer;
use crate::gateway::context::Context;
use crate::gateway::state::{App, State};
use crate::gateway::{backchannel_logout, endpoints, fusionauth_webhook, session_cookies};
use crate::identity_provider::{ChallengeKind, UnknownKeySource};
use crate::session::{NewCookies, Outcome, Sessions, step, unavailable};
use crate::telemetry::access_log::text;
use crate::telemetry::audit::{self, Event};
use crate::telemetry::traces;

/// Takes a request as far as it gets without the app. `true`: it goes to the app.
pub(super) async fn run(
    state: &State,
    app: &App,
    session: &mut Session,
    context: &mut Context,
) -> Result<bool> {
    let mut decision = decide_now(state, app, session, context, false);
    if matches!(decision, Decision::FetchKeys) {
        let fetch = app.relying_party.provider.fetch_unknown_key(UnknownKeySource::Request);
        Box::pin(traces::under(trace_of(context), fetch)).await;
        decision = decide_now(state, app, session, context, true);
    }
    if let Decision::Forward(Some(identity)) | Decision::User(identity) = &decision {
        state.sessions.note_use(identity);
    }
    match decision {
        Decision::Forward(identity) => {
            let passed =
                if identity.is_some() { ReasonCode::SessionValid } else { without_session(app, context) };
            Ok(forward(identity, passed, context))
        }
        Decision::Preflight => Ok(forward(None, ReasonCode::Preflight, context)),
        Decision::Nobody(problem) => {
            context.passed = Some(ReasonCode::Anonymous);
            Box::pin(Answer::from(&problem).without_refusal().send(state, session, context)).await?;
            Ok(false)
        }
        Decision::Reject(problem, reason) => {
            Box::pin(reject(state, app, &problem, &reason, session, context)).await?;
            Ok(false)
        }
        decision => {
            context.client = context.client_address(state, &session.req_header().headers);
            let cause = context.cause();
            let trace = trace_of(context);
            let act = traces::under(trace, act(state, app, decision, session, context));
            // In a piece of memory of its own, so that requests that are only forwarded carry no room for logins and refreshes.
            Box::pin(audit::caused_by(cause, act)).await
        }
    }
}

/// What calls to the provider belong to.
fn trace_of(context: &Context) -> Option<traces::Parent> {
    context.trace.as_ref().map(|trace| trace.parent())
}

/// Does what takes more than to look: refreshes, ends, logs in and out.
async fn act<'a>(
    state: &State,
    app: &'a App,
    decision: Decision<'a>,
    session: &mut Session,
    context: &mut Context,
) -> Result<bool> {
    let decision = match decision {
        Decision::Refresh(pending) => refresh(state, app, pending, session.req_header(), context).await,
        Decision::End(ending) => end(state, app, ending, session.req_header(), context),
        decision => decision,
    };
    context.passed = Some(ReasonCode::Served);
    match decision {
        Decision::Forward(identity) => {
            let passed = match &identity {
                Some(_) if context.tokens.is_some() => ReasonCode::SessionRefreshed,
                Some(_) => ReasonCode::SessionValid,
                None => ReasonCode::Anonymous,
            };
            return Ok(forward(identity, passed, context));
        }
        Decision::Login => endpoints::login(state, app, session, context).await?,
        Decision::Logout => endpoints::logout(state, app, session, context).await?,
        Decision::BackchannelLogout => backchannel_logout::answer(state, app, session, context).await?,
        Decision::FusionAuthWebhook => fusionauth_webhook::answer(state, app, session, context).await?,
        Decision::User(identity) => {
            endpoints::user(state, app, &identity, session, context).await?;
            context.identity = Some(identity);
        }
        Decision::Reject(problem, reason) => reject(state, app, &problem, &reason, session, context).await?,
        // None is left over: keys are fetched once, some are done before, and the others end in another decision.
        Decision::FetchKeys
        | Decision::Refresh(_)
        | Decision::End(_)
        | Decision::Preflight
        | Decision::Nobody(_) => {
            Answer::from(&unavailable()).send(state, session, context).await?;
        }
    }
    Ok(false)
}

fn forward(identity: Option<Arc<Identity>>, passed: ReasonCode, context: &mut Context) -> bool {
    context.identity = identity;
    context.passed = Some(passed);
    true
}

/// Why a request passes without an identity.
fn without_session(app: &App, context: &Context) -> ReasonCode {
    match app.access(context.route) {
        Some(Access::Public) => ReasonCode::Public,
        _ => ReasonCode::Anonymous,
    }
}

async fn reject(
    state: &State,
    app: &App,
    problem: &Problem,
    reason: &Reason,
    session: &mut Session,
    context: &Context,
) -> Result<()> {
    context.refuse(reason.code());
    debug!(
        request_id = text(context.request_id.as_ref()),
        app = app.name,
        code = problem.code.as_str(),
        %reason,
        "request refused"
    );
    Answer::from(problem).send(state, session, context).await
}

fn decide_now<'a>(
    state: &State,
    app: &'a App,
    session: &Session,
    context: &mut Context,
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
    let (decision, destination) =
        state.with_knowledge(app, keys_are_fresh, |known| decide_and_locate(app.rules(), &head, known));
    context.route = App::route_index(destination);
    decision
}

/// The target's path: the very bytes that are forwarded, up to the query. What is no text is no acceptable path.
fn raw_path(target: &[u8]) -> &str {
    let path = target.split(|&byte| byte == b'?').next().unwrap_or(target);
    std::str::from_utf8(path).unwrap_or_default()
}

async fn refresh<'a>(
    state: &State,
    app: &App,
    pending: Pending<'a>,
    request: &RequestHeader,
    context: &mut Context,
) -> Decision<'a> {
    let (grant, previous) = (&pending.grant, pending.previous.as_ref());
    let refreshed = state.sessions.refresh(&app.relying_party, grant, previous, context.client).await;
    let newest = &refreshed.refresh_token;
    context.session_key = Some(Sessions::key(&app.relying_party, newest));
    match refreshed.outcome {
        Outcome::Renewed(tokens) => {
            match session_cookies::renewed(state, app, &tokens, newest, &pending, request) {
                Ok(cookies) => {
                    context.new_cookies = Some(cookies);
                    let identity = Arc::clone(&tokens.identity);
                    context.tokens = Some(tokens);
                    admit(app.rules(), pending.destination, Ok(identity))
                }
                Err(error) => {
                    error!(app = app.name, %error, "the provider's tokens do not fit into cookies");
                    audit::record(
                        Event::RefreshRefused,
                        ReasonCode::CookiesTooLarge,
                        &app.relying_party,
                        None,
                    );
                    state.sessions.gained_nothing(&app.relying_party, newest);
                    context.new_cookies = rotated_cookies(app, newest, &pending, request);
                    without_refresh(app, pending, RETRY_AFTER)
                }
            }
        }
        Outcome::Dead => {
            context.session_key = None;
            context.new_cookies = Some(session_cookies::cleared(app, request, pending.presented));
            ended(pending.destination, Reason::SessionEnded)
        }
        Outcome::Ended => ended(pending.destination, Reason::SessionEnded),
        outcome => {
            context.new_cookies = rotated_cookies(app, newest, &pending, request);
            match outcome {
                Outcome::ActionRequired(kind) => without_step(app, pending, kind),
                Outcome::Postponed(seconds) => without_refresh(app, pending, seconds),
                _ => without_refresh(app, pending, RETRY_AFTER),
            }
        }
    }
}

/// What becomes of a request whose session is over without the provider having said so, or whose cookies are of no use.
fn end<'a>(
    state: &State,
    app: &App,
    ending: Ending<'a>,
    request: &RequestHeader,
    context: &mut Context,
) -> Decision<'a> {
    let Ending { destination, grant, presented, reason } = ending;
    match reason {
        Reason::DuplicateCookie => {
            app.warn_of_duplicate_cookies();
            context.new_cookies = Some(session_cookies::cleared(app, request, presented));
            return admit(app.rules(), destination, Err(reason));
        }
        // The rightful browser may have lost a cookie; whoever it is gets nothing, and the session itself goes on.
        Reason::NotBound | Reason::NotSealedHere => {
            audit::record(Event::RefreshRefused, reason.code(), &app.relying_party, None);
        }
        _ => {
            if let Some(grant) = &grant {
                state.sessions.expire(&app.relying_party, grant, reason.code());
            }
        }
    }
    // The browser may have the cookies of its new session by now, which must not be cleared.
    if reason != Reason::Revoked(Revocation::Session(EndedBy::AnotherLogin)) {
        context.new_cookies = Some(session_cookies::cleared(app, request, presented));
    }
    ended(destination, reason)
}

fn ended(destination: Destination<'_>, reason: Reason) -> Decision<'_> {
    if let Destination::App(Rule { access: Access::Optional, .. }) = destination {
        return Decision::Forward(None);
    }
    let problem = Problem::new(Code::SessionExpired, "The session has ended. Log in again.");
    Decision::Reject(problem, reason)
}

/// The cookies of a refresh token that was replaced. They go out whatever becomes of the JWT: the old refresh token is
/// dead.
fn rotated_cookies(
    app: &App,
    newest: &RefreshToken,
    pending: &Pending<'_>,
    request: &RequestHeader,
) -> Option<NewCookies> {
    if *newest == pending.grant.refresh_token {
        return None;
    }
    session_cookies::rotated(app, newest, pending, request)
        .inspect_err(|error| {
            error!(app = app.name, %error, "the provider's refresh token does not fit into cookies");
        })
        .ok()
}

/// Goes on with the old JWT while that is valid; else nothing can be said now, and the session is kept. `retry_after`: seconds.
fn without_refresh<'a>(app: &App, pending: Pending<'a>, retry_after: u64) -> Decision<'a> {
    match pending.previous {
        Some(previous) if previous.still_valid => {
            admit(app.rules(), pending.destination, Ok(previous.identity))
        }
        _ => Decision::Reject(unavailable().retry_after(retry_after), Reason::ProviderUnavailable),
    }
}

/// The same where the provider wants a step of the user. On an optional route the request passes without identity: that step,
/// or another login, may begin there.
fn without_step<'a>(app: &App, pending: Pending<'a>, kind: ChallengeKind) -> Decision<'a> {
    match pending.previous {
        Some(previous) if previous.still_valid => {
            admit(app.rules(), pending.destination, Ok(previous.identity))
        }
        _ if matches!(pending.destination, Destination::App(Rule { access: Access::Optional, .. })) => {
            Decision::Forward(None)
        }
        _ => {
            let problem = step(kind);
            let reason = Reason::StepRequired(problem.reason);
            Decision::Reject(problem, reason)
        }
    }
}
