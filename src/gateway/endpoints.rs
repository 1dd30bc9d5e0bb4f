//! The answers of our own endpoints. The answers to browsers (login, user, logout) are made here. `access/endpoint.rs`
//! lists the endpoints.

use std::sync::Arc;

use pingora_core::Result;
use pingora_proxy::Session;
use tracing::{debug, error};

use crate::access::endpoint::Call;
use crate::access::grant::Grant;
use crate::access::identity::Identity;
use crate::access::presented_session::PresentedSession;
use crate::answer::reason::ReasonCode;
use crate::gateway::answer::Answer;
use crate::gateway::context::{Arrival, Context, Decided, Reply};
use crate::gateway::request_body::RequestError;
use crate::gateway::state::{App, State};
use crate::gateway::{backchannel_logout, provider_webhook, request_body, secure_transport, session_cookies};
use crate::session::{BodyKind, Tokens, parse_credentials, unavailable};
use crate::telemetry::access_log::text;
use crate::telemetry::audit::{self, Event};

/// Answers a request to one of our endpoints.
pub(super) async fn answer(
    call: Call,
    app: &App,
    exchange: &mut Session,
    context: &mut Context,
) -> Result<Answer> {
    let Context { arrival, decided, reply, .. } = context;
    match call {
        Call::Login => login(arrival, app, exchange, decided, reply).await,
        Call::Logout => Ok(logout(&arrival.state, app, exchange, reply).await),
        Call::BackchannelLogout => backchannel_logout::answer(arrival, app, exchange).await,
        Call::Webhook => provider_webhook::answer(arrival, app, exchange).await,
        Call::User(identity) => {
            let answer = user_object(app, &identity);
            decided.user = Some(identity);
            Ok(answer)
        }
    }
}

/// Answers a login.
async fn login(
    arrival: &Arrival,
    app: &App,
    exchange: &mut Session,
    decided: &mut Decided,
    reply: &mut Reply,
) -> Result<Answer> {
    match try_login(arrival, app, exchange, decided, reply).await {
        Ok(tokens) => Ok(user_object(app, &tokens.identity)),
        Err(RequestError::Broken(error)) => Err(error),
        Err(RequestError::Refused(problem)) => {
            if matches!(problem.reason, ReasonCode::LoginBody | ReasonCode::UnsupportedMediaType) {
                // Only the sender is told which fields came, because the name of a field may be part of a password.
                debug!(
                    request_id = text(arrival.request_id.as_ref()),
                    app = app.name,
                    code = problem.code.as_str(),
                    username_field = app.login.username_field,
                    password_field = app.login.password_field,
                    "login refused: its body has not what is expected; its answer says more"
                );
            }
            Ok(Answer::from(&problem))
        }
    }
}

async fn try_login(
    arrival: &Arrival,
    app: &App,
    exchange: &mut Session,
    decided: &mut Decided,
    reply: &mut Reply,
) -> Result<Arc<Tokens>, RequestError> {
    let (state, party) = (&arrival.state, &app.relying_party);
    let format = request_body::format(&exchange.req_header().headers, BodyKind::OF_LOGINS)?;
    let (limits, max_size) = (&state.limits, state.limits.max_login_body_size);
    let body = request_body::read(limits, max_size, exchange, arrival.connection.as_deref()).await?;
    let credentials = parse_credentials(&format, &body, &app.login)?;
    drop(body);
    let tokens = state.sessions.login(party, credentials, arrival.client).await?;
    let old = presented_session(state, app, exchange);
    match session_cookies::of_login(state, app, &tokens, exchange.req_header(), old.presented) {
        Ok(cookies) => reply.new_cookies = Some(cookies),
        Err(error) => {
            error!(app = app.name, %error, "login impossible: the provider's tokens do not fit into cookies");
            audit::record(Event::LoginRefused, ReasonCode::CookiesTooLarge, party, None);
            return Err(unavailable().because(ReasonCode::CookiesTooLarge).into());
        }
    }
    let is_same = |old: &Grant| tokens.refresh_token.as_ref() == Some(&old.refresh_token);
    audit::record(Event::Login, ReasonCode::Requested, party, Some(tokens.identity.subject()));
    secure_transport::warn_of_login(app, exchange, arrival);
    decided.user = Some(Arc::clone(&tokens.identity));
    if !old.grant.as_ref().is_some_and(is_same) {
        state.sessions.replace(party, old.grant.as_ref(), old.identity.as_deref(), &tokens.identity).await;
    }
    Ok(tokens)
}

/// Answers a logout. The session is over in any case, even if the provider is down.
async fn logout(state: &State, app: &App, exchange: &Session, reply: &mut Reply) -> Answer {
    let PresentedSession { presented, grant, identity } = presented_session(state, app, exchange);
    reply.new_cookies = Some(session_cookies::cleared(app, exchange.req_header(), presented));
    state.sessions.logout(&app.relying_party, grant.as_ref(), identity.as_deref()).await;
    Answer::no_content()
}

fn user_object(app: &App, identity: &Identity) -> Answer {
    Answer::json(identity.user_object(&app.rules().identity))
}

fn presented_session(state: &State, app: &App, exchange: &Session) -> PresentedSession {
    let headers = &exchange.req_header().headers;
    state.with_knowledge(app, false, |known| PresentedSession::read(app.rules(), headers, known))
}
