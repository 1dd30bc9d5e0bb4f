//! The three paths that Portcullis serves to browsers itself: login, user, logout.

use std::sync::Arc;

use pingora_core::Result;
use pingora_proxy::Session;
use tracing::{debug, error};

use crate::access::assessment::{Grant, PresentedSession};
use crate::access::identity::Identity;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::gateway::answer::Answer;
use crate::gateway::context::Context;
use crate::gateway::state::{App, State};
use crate::gateway::{request_body, secure_transport, session_cookies};
use crate::session::{BodyKind, Tokens, parse_credentials, unavailable};
use crate::telemetry::access_log::text;
use crate::telemetry::audit::{self, Event};

/// Answers a login.
pub(super) async fn login(
    state: &State,
    app: &App,
    session: &mut Session,
    context: &mut Context,
) -> Result<()> {
    let answer = match try_login(state, app, session, context).await? {
        Ok(tokens) => user_object(app, &tokens.identity),
        Err(problem)
            if matches!(problem.reason, ReasonCode::LoginBody | ReasonCode::UnsupportedMediaType) =>
        {
            // What came is told to who sent it, and to nobody else: the name of a field may be a piece of a password.
            debug!(
                request_id = text(context.request_id.as_ref()),
                app = app.name,
                code = problem.code.as_str(),
                username_field = app.login.username_field,
                password_field = app.login.password_field,
                "login refused: its body has not what is expected; its answer says more"
            );
            Answer::from(&problem)
        }
        Err(problem) => Answer::from(&problem),
    };
    answer.send(state, session, context).await
}

async fn try_login(
    state: &State,
    app: &App,
    session: &mut Session,
    context: &mut Context,
) -> Result<std::result::Result<Arc<Tokens>, Problem>> {
    let format = match request_body::format(&session.req_header().headers, BodyKind::OF_LOGINS) {
        Ok(format) => format,
        Err(problem) => return Ok(Err(problem)),
    };
    let body =
        match request_body::read(&state.limits, state.limits.max_login_body_size, session, context).await? {
            Ok(body) => body,
            Err(problem) => return Ok(Err(problem)),
        };
    let credentials = match parse_credentials(&format, &body, &app.login) {
        Ok(credentials) => credentials,
        Err(problem) => return Ok(Err(problem)),
    };
    drop(body);
    let tokens = match state.sessions.login(&app.relying_party, credentials, context.client).await {
        Ok(tokens) => tokens,
        Err(problem) => return Ok(Err(problem)),
    };
    let old = presented_session(state, app, session);
    match session_cookies::of_login(state, app, &tokens, session.req_header(), old.presented) {
        Ok(cookies) => context.new_cookies = Some(cookies),
        Err(error) => {
            error!(app = app.name, %error, "login impossible: the provider's tokens do not fit into cookies");
            audit::record(Event::LoginRefused, ReasonCode::CookiesTooLarge, &app.relying_party, None);
            return Ok(Err(unavailable().because(ReasonCode::CookiesTooLarge)));
        }
    }
    let is_same = |old: &Grant| tokens.refresh_token.as_ref() == Some(&old.refresh_token);
    audit::record(Event::Login, ReasonCode::Requested, &app.relying_party, Some(tokens.identity.subject()));
    secure_transport::warn_of_login(state, app, session, context);
    context.identity = Some(Arc::clone(&tokens.identity));
    if !old.grant.as_ref().is_some_and(is_same) {
        state
            .sessions
            .replace(&app.relying_party, old.grant.as_ref(), old.identity.as_deref(), &tokens.identity)
            .await;
    }
    Ok(Ok(tokens))
}

/// Answers who the user is.
pub(super) async fn user(
    state: &State,
    app: &App,
    identity: &Identity,
    session: &mut Session,
    context: &Context,
) -> Result<()> {
    user_object(app, identity).send(state, session, context).await
}

/// Answers a logout: the session is over in any case, also if the provider is down.
pub(super) async fn logout(
    state: &State,
    app: &App,
    session: &mut Session,
    context: &mut Context,
) -> Result<()> {
    let PresentedSession { presented, grant, identity } = presented_session(state, app, session);
    context.new_cookies = Some(session_cookies::cleared(app, session.req_header(), presented));
    state.sessions.logout(&app.relying_party, grant.as_ref(), identity.as_deref()).await;
    Answer::no_content().send(state, session, context).await
}

fn user_object(app: &App, identity: &Identity) -> Answer {
    Answer::json(identity.user_object(&app.rules().identity))
}

fn presented_session(state: &State, app: &App, session: &Session) -> PresentedSession {
    let headers = &session.req_header().headers;
    state.with_knowledge(app, false, |known| PresentedSession::read(app.rules(), headers, known))
}
