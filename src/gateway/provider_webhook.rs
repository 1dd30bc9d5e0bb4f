//! A provider's webhook: signed events, some of which end sessions.

use http::HeaderMap;
use pingora_core::Result;
use pingora_proxy::Session;
use tracing::{debug, warn};

use crate::access::key_set::KeySet;
use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::gateway::answer::Answer;
use crate::gateway::context::Arrival;
use crate::gateway::request_body::{self, Body, RequestError};
use crate::gateway::state::{App, State};
use crate::identity_provider::{UnknownKeySource, WebhookError, WebhookEvent};
use crate::session::{BodyKind, Revoked, unavailable};
use crate::telemetry::audit;

/// Bytes of an event: it has the whole user in it.
const MAX_BODY: usize = 64 * 1024;

/// Answers a provider. Events that end no session are 200, too: an event may be transactional there, and wait for that.
pub(super) async fn answer(arrival: &Arrival, app: &App, exchange: &mut Session) -> Result<Answer> {
    let taken = match read_body(arrival, exchange).await {
        Ok(body) => take(&arrival.state, app, &exchange.req_header().headers, &body).await,
        Err(RequestError::Refused(problem)) => Err(refused(app, &problem.detail.clone(), problem)),
        Err(RequestError::Broken(error)) => return Err(error),
    };
    Ok(taken.map_or_else(|problem| Answer::from(&problem), |()| Answer::ok()))
}

async fn read_body(arrival: &Arrival, exchange: &mut Session) -> Result<Body, RequestError> {
    request_body::format(&exchange.req_header().headers, &[BodyKind::Json])?;
    let (limits, connection) = (&arrival.state.limits, arrival.connection.as_deref());
    request_body::read(limits, MAX_BODY, exchange, connection).await
}

async fn take(state: &State, app: &App, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    let Some(webhook) = &app.webhook else { return Err(unavailable()) };
    let read = |keys: &KeySet| webhook.read(headers, body, keys, state.now());
    let provider = &app.relying_party.provider;
    match provider.with_keys(UnknownKeySource::Request, WebhookError::is_unknown_key, read).await {
        Ok(event) => {
            end_sessions(state, app, &event).await;
            Ok(())
        }
        Err(error) if error.is_unknown_key() && provider.key_set().is_empty() => {
            Err(refused(app, "the provider's keys are not known yet", unavailable()))
        }
        Err(error) => {
            let problem = Problem::new(Code::BadRequest, "The event is not acceptable.");
            Err(refused(app, &error.to_string(), problem))
        }
    }
}

fn refused(app: &App, reason: &str, problem: Problem) -> Problem {
    let code = if problem.code == Code::BadRequest { ReasonCode::NotAuthentic } else { problem.reason };
    audit::record_detail(audit::Event::WebhookRefused, code, &app.relying_party, reason);
    problem.because(code)
}

async fn end_sessions(state: &State, app: &App, event: &WebhookEvent) {
    let (provider, client) = (app.relying_party.provider.name(), &app.relying_party.client.id);
    let revoked = match event {
        WebhookEvent::Session(session) => {
            audit::record(audit::Event::Webhook, ReasonCode::Requested, &app.relying_party, None);
            Revoked::Session { sid: session, issued_until: None }
        }
        WebhookEvent::User { subject, issued_until } => {
            audit::record(audit::Event::Webhook, ReasonCode::Requested, &app.relying_party, Some(subject));
            Revoked::Subject { subject, issued_until: *issued_until }
        }
        WebhookEvent::Everybody => {
            let problem =
                "all refresh tokens of the app were revoked at the provider: each session ends with its JWT";
            warn!(provider, client, problem);
            return;
        }
        WebhookEvent::Nobody => {
            debug!(provider, client, "an event that ends no session");
            return;
        }
    };
    state.sessions.revoke(app.rules().session.provider, &revoked).await;
}
