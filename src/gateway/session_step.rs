//! From the decision to what follows from it: refreshes, own answers, or the way to the app.

use std::sync::Arc;

use http::header;
use pingora_core::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use tracing::{debug, error};

use crate::access::decision::{
    Decision, Ending, Pending, Permit, RETRY_AFTER, Reason, Renewal, RequestHead, admit, decide_again,
    decide_and_locate, ended,
};
use crate::access::endpoint::Call;
use crate::access::revocations::Revocation;
use crate::access::routes::Route;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::gateway::answer::Answer;
use crate::gateway::context::Context;
use crate::gateway::state::{App, State};
use crate::gateway::{endpoints, session_cookies};
use crate::identity_provider::UnknownKeySource;
use crate::session::{NewCookies, Outcome, Sessions, step, unavailable};
use crate::telemetry::access_log::text;
use crate::telemetry::audit::{self, Event};
use crate::telemetry::traces;

/// How far a request has come.
pub(super) enum Step {
    /// It has been answered.
    Answered,
    /// It goes to the app.
    Forward(Permit),
}

/// Takes a request as far as it gets without the app.
pub(super) async fn run(
    state: &State,
    app: &App,
    session: &mut Session,
    context: &mut Context,
) -> Result<Step> {
    let mut decision = decide_now(state, app, session, context, false);
    if matches!(decision, Decision::FetchKeys) {
        let fetch = app.relying_party.provider.fetch_unknown_key(UnknownKeySource::Request);
        Box::pin(traces::under(trace_of(context), fetch)).await;
        decision = decide_now(state, app, session, context, true);
    }
    match decision {
        Decision::Forward(permit) => {
            if let Some(identity) = permit.identity() {
                state.sessions.note_use(identity);
            }
            Ok(Step::Forward(permit))
        }
        Decision::Nobody(problem) => {
            context.passed = Some(ReasonCode::Anonymous);
            Box::pin(Answer::from(&problem).without_refusal().send(state, session, context)).await?;
            Ok(Step::Answered)
        }
        Decision::Reject(problem, reason) => {
            Box::pin(reject(state, app, &problem, &reason, session, context)).await?;
            Ok(Step::Answered)
        }
        decision => {
            if let Decision::Serve(Call::User(identity)) = &decision {
                state.sessions.note_use(identity);
            }
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
) -> Result<Step> {
    let decision = match decision {
        Decision::Refresh(pending) => refresh(state, app, pending, session.req_header(), context).await,
        Decision::End(ending) => end(state, app, ending, session.req_header(), context),
        decision => decision,
    };
    context.passed = Some(ReasonCode::Served);
    match decision {
        Decision::Forward(permit) => return Ok(Step::Forward(permit)),
        Decision::Serve(call) => endpoints::answer(state, app, call, session, context).await?,
        Decision::Reject(problem, reason) => reject(state, app, &problem, &reason, session, context).await?,
        // None is left over: keys are fetched once, some are done before, and the others end in another decision.
        Decision::FetchKeys | Decision::Refresh(_) | Decision::End(_) | Decision::Nobody(_) => {
            Answer::from(&unavailable()).send(state, session, context).await?;
        }
    }
    Ok(Step::Answered)
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
    context.route = destination.map_or(Route::Unmatched, |destination| destination.route());
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
    let renewal = match refreshed.outcome {
        Outcome::Renewed(tokens) => {
            match session_cookies::renewed(state, app, &tokens, newest, &pending, request) {
                Ok(cookies) => {
                    context.new_cookies = Some(cookies);
                    let identity = Arc::clone(&tokens.identity);
                    context.tokens = Some(tokens);
                    Renewal::Renewed(identity)
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
                    Renewal::Unavailable(unavailable().retry_after(RETRY_AFTER))
                }
            }
        }
        Outcome::Dead => {
            context.session_key = None;
            context.new_cookies = Some(session_cookies::cleared(app, request, pending.presented));
            Renewal::Over
        }
        Outcome::Ended => Renewal::Over,
        outcome => {
            context.new_cookies = rotated_cookies(app, newest, &pending, request);
            match outcome {
                Outcome::ActionRequired(kind) => Renewal::StepRequired(step(kind)),
                Outcome::Postponed(seconds) => Renewal::Unavailable(unavailable().retry_after(seconds)),
                _ => Renewal::Unavailable(unavailable().retry_after(RETRY_AFTER)),
            }
        }
    };
    decide_again(pending, renewal)
}

/// Ends a session without the provider having said so, or clears cookies that are of no use.
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
    if reason != Reason::Revoked(Revocation::Session { is_replaced: true }) {
        context.new_cookies = Some(session_cookies::cleared(app, request, presented));
    }
    ended(destination, reason)
}

/// The cookies of a refresh token that was replaced. They go out whatever becomes of the JWT: the old refresh token is
/// dead.
fn rotated_cookies(
    app: &App,
    newest: &str,
    pending: &Pending<'_>,
    request: &RequestHeader,
) -> Option<NewCookies> {
    if *newest == **pending.grant.refresh_token {
        return None;
    }
    session_cookies::rotated(app, newest, pending, request)
        .inspect_err(|error| {
            error!(app = app.name, %error, "the provider's refresh token does not fit into cookies");
        })
        .ok()
}
