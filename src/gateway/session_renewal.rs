//! Requests whose session has to be refreshed first, or is over. This module calls the provider, makes the cookies, and
//! decides again.

use std::sync::Arc;

use pingora_http::RequestHeader;
use tracing::error;

use crate::access::decision::{Decision, Ending, Pending, Reason, Renewal, admit, decide_again, ended};
use crate::access::revocations::{EndedBy, Revocation};
use crate::access::tokens::RefreshToken;
use crate::answer::reason::ReasonCode;
use crate::answer::retry_after::RETRY_AFTER;
use crate::gateway::context::{Arrival, Decided, Reply};
use crate::gateway::session_cookies;
use crate::gateway::state::{App, State};
use crate::session::{NewCookies, Outcome, Sessions, step, unavailable};
use crate::telemetry::audit::{self, Event};

/// Refreshes the session of a request, and decides again.
pub(super) async fn refresh<'a>(
    arrival: &Arrival,
    app: &App,
    pending: Pending<'a>,
    request: &RequestHeader,
    decided: &mut Decided,
    reply: &mut Reply,
) -> Decision<'a> {
    let state = &arrival.state;
    let (grant, previous) = (&pending.grant, pending.previous.as_ref());
    let refreshed = state.sessions.refresh(&app.relying_party, grant, previous, arrival.client).await;
    let newest = &refreshed.refresh_token;
    decided.session_key = Some(Sessions::key(&app.relying_party, newest));
    let renewal = match refreshed.outcome {
        Outcome::Renewed(tokens) => {
            match session_cookies::renewed(state, app, &tokens, newest, &pending, request) {
                Ok(cookies) => {
                    reply.new_cookies = Some(cookies);
                    let identity = Arc::clone(&tokens.identity);
                    decided.tokens = Some(tokens);
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
                    reply.new_cookies = rotated_cookies(app, newest, &pending, request);
                    Renewal::Unavailable(unavailable().retry_after(RETRY_AFTER))
                }
            }
        }
        Outcome::Dead => {
            decided.session_key = None;
            reply.new_cookies = Some(session_cookies::cleared(app, request, pending.presented));
            Renewal::Over
        }
        Outcome::Ended => Renewal::Over,
        outcome => {
            reply.new_cookies = rotated_cookies(app, newest, &pending, request);
            match outcome {
                Outcome::ActionRequired(kind) => Renewal::StepRequired(step(kind)),
                Outcome::Postponed(seconds) => Renewal::Unavailable(unavailable().retry_after(seconds)),
                _ => Renewal::Unavailable(unavailable().retry_after(RETRY_AFTER)),
            }
        }
    };
    decide_again(pending, renewal)
}

/// Ends a session although the provider has not ended it, or clears cookies that are of no use.
pub(super) async fn end<'a>(
    state: &State,
    app: &App,
    ending: Ending<'a>,
    request: &RequestHeader,
    reply: &mut Reply,
) -> Decision<'a> {
    let Ending { destination, grant, presented, reason } = ending;
    match reason {
        Reason::DuplicateCookie => {
            app.warn_of_duplicate_cookies();
            reply.new_cookies = Some(session_cookies::cleared(app, request, presented));
            return admit(app.rules(), destination, Err(reason));
        }
        // The rightful browser may have lost a cookie. The sender gets nothing, and the session itself goes on.
        Reason::NotBound | Reason::NotSealedHere => {
            audit::record(Event::RefreshRefused, reason.code(), &app.relying_party, None);
        }
        _ => {
            if let Some(grant) = &grant {
                state.sessions.expire(&app.relying_party, grant, reason.code()).await;
            }
        }
    }
    // The browser may already have the cookies of its new session. Those must not be cleared.
    if reason != Reason::Revoked(Revocation::Session(EndedBy::AnotherLogin)) {
        reply.new_cookies = Some(session_cookies::cleared(app, request, presented));
    }
    ended(destination, reason)
}

/// Returns the cookies of a refresh token that was replaced. They are sent even if the JWT turns out to be of no use,
/// because the old refresh token is dead.
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
