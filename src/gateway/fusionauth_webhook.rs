//! FusionAuth's webhook. It sends signed events, and some of them end sessions.

use http::{HeaderMap, HeaderValue};
use pingora_core::Result;
use pingora_proxy::Session;
use tracing::{debug, warn};

use crate::access::fusionauth_webhook::{Event, WebhookError, WebhookRules};
use crate::access::key_set::KeySet;
use crate::access::token::TokenError;
use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::gateway::answer::Answer;
use crate::gateway::context::Arrival;
use crate::gateway::request_body::{self, Body, RequestError};
use crate::gateway::state::{App, State};
use crate::identity_provider::UnknownKeySource;
use crate::session::{BodyKind, Revoked, unavailable};
use crate::telemetry::audit;

/// The largest size of an event, in bytes. An event has the whole user in it.
const MAX_BODY: usize = 64 * 1024;

const SIGNATURE: &str = "x-fusionauth-signature-jwt";

/// Answers FusionAuth. An event that ends no session gets 200, too: FusionAuth may have a transaction that waits for
/// this answer.
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
    let Some(rules) = &app.rules().webhook else { return Err(unavailable()) };
    match verified_event(state, app, rules, headers, body).await {
        Ok(event) => {
            end_sessions(state, app, &event).await;
            Ok(())
        }
        Err(WebhookError::Signature(TokenError::UnknownKey))
            if app.relying_party.provider.key_set().is_empty() =>
        {
            Err(refused(app, "the provider's keys are not known yet", unavailable()))
        }
        Err(error) => {
            let problem = Problem::new(Code::BadRequest, "The event is not acceptable.");
            Err(refused(app, &error.to_string(), problem))
        }
    }
}

/// Verifies the signature of a body, and only then reads the body.
async fn verified_event(
    state: &State,
    app: &App,
    rules: &WebhookRules,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Event, WebhookError> {
    let mut signatures = headers.get_all(SIGNATURE).iter();
    let (Some(Ok(signature)), None) = (signatures.next().map(HeaderValue::to_str), signatures.next()) else {
        return Err(WebhookError::Unsigned);
    };
    let verify = |keys: &KeySet| rules.verify(signature, body, keys);
    let is_unknown = |error: &_| matches!(error, WebhookError::Signature(TokenError::UnknownKey));
    app.relying_party.provider.with_keys(UnknownKeySource::Request, is_unknown, verify).await?;
    rules.read(body, state.now())
}

fn refused(app: &App, reason: &str, problem: Problem) -> Problem {
    let code = if problem.code == Code::BadRequest { ReasonCode::NotAuthentic } else { problem.reason };
    audit::record_detail(audit::Event::WebhookRefused, code, &app.relying_party, reason);
    problem.because(code)
}

async fn end_sessions(state: &State, app: &App, event: &Event) {
    let (provider, client) = (app.relying_party.provider.name(), &app.relying_party.client.id);
    let revoked = match event {
        Event::Session(session) => {
            audit::record(audit::Event::Webhook, ReasonCode::Requested, &app.relying_party, None);
            Revoked::Session { sid: session, issued_until: None }
        }
        Event::User { subject, issued_until } => {
            audit::record(audit::Event::Webhook, ReasonCode::Requested, &app.relying_party, Some(subject));
            Revoked::Subject { subject, issued_until: *issued_until }
        }
        Event::Everybody => {
            let problem =
                "all refresh tokens of the app were revoked at the provider: each session ends with its JWT";
            warn!(provider, client, problem);
            return;
        }
        Event::Nobody => {
            debug!(provider, client, "an event that ends no session");
            return;
        }
    };
    state.sessions.revoke(app.rules().session.provider, &revoked).await;
}
