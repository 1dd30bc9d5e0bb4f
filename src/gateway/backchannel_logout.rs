//! OpenID Connect Back-Channel Logout: the provider calls the gateway directly, without a browser, to end sessions.

use pingora_core::Result;
use pingora_proxy::Session;
use zeroize::Zeroizing;

use crate::access::key_set::KeySet;
use crate::access::logout_token::{self, LogoutToken, LogoutTokenError};
use crate::access::token::TokenError;
use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::gateway::answer::Answer;
use crate::gateway::context::Arrival;
use crate::gateway::request_body::{self, RequestError};
use crate::gateway::state::{App, State};
use crate::identity_provider::UnknownKeySource;
use crate::session::{BodyKind, Revoked, unavailable};
use crate::syntax::form;
use crate::telemetry::audit::{self, Event};

/// The largest body of a back-channel logout, in bytes: a token of the greatest length and some other fields.
const MAX_LOGOUT_BODY: usize = 32 * 1024;

/// Answers a back-channel logout (OpenID Connect Back-Channel Logout 1.0 section 2.5). The answer waits only for the
/// body and perhaps for the keys. It must not wait for our own calls: a provider (Keycloak) may delay its answer to our
/// call until it has this answer.
pub(super) async fn answer(arrival: &Arrival, app: &App, exchange: &mut Session) -> Result<Answer> {
    let state = &arrival.state;
    let refusal = match read_logout_token(arrival, exchange).await {
        Ok(token) => match verify(state, app, &token).await {
            Ok(verified) => {
                end_sessions(state, app, &token, &verified).await;
                return Ok(Answer::ok());
            }
            Err(LogoutTokenError::Token(TokenError::UnknownKey))
                if app.relying_party.provider.key_set().is_empty() =>
            {
                refused(app, "the provider's keys are not known yet", unavailable())
            }
            Err(error) => {
                let problem = Problem::new(Code::BadRequest, "The logout token is not acceptable.");
                refused(app, &error.to_string(), problem)
            }
        },
        Err(RequestError::Refused(problem)) => refused(app, &problem.detail.clone(), problem),
        Err(RequestError::Broken(error)) => return Err(error),
    };
    Ok(Answer::from(&refusal))
}

fn refused(app: &App, reason: &str, problem: Problem) -> Problem {
    let code = if problem.code == Code::BadRequest { ReasonCode::NotAuthentic } else { problem.reason };
    audit::record_detail(Event::BackchannelLogoutRefused, code, &app.relying_party, reason);
    problem.because(code)
}

async fn read_logout_token(
    arrival: &Arrival,
    exchange: &mut Session,
) -> Result<Zeroizing<String>, RequestError> {
    request_body::format(&exchange.req_header().headers, &[BodyKind::Form])?;
    let (limits, connection) = (&arrival.state.limits, arrival.connection.as_deref());
    let body = request_body::read(limits, MAX_LOGOUT_BODY, exchange, connection).await?;
    let token = form::parse(&body).ok().and_then(|mut fields| fields.take("logout_token"));
    let problem = || Problem::new(Code::BadRequest, "The body is not a form with one `logout_token`.");
    token.ok_or_else(|| problem().into())
}

/// Verifies a logout token. If it names an unknown key, the keys are fetched first. `jwks_cooldown` limits these
/// fetches, as it does for a browser's JWT.
async fn verify(state: &State, app: &App, token: &str) -> Result<LogoutToken, LogoutTokenError> {
    let verify = |keys: &KeySet| logout_token::verify(token, &app.rules().token, keys, state.now());
    let is_unknown = |error: &_| matches!(error, LogoutTokenError::Token(TokenError::UnknownKey));
    app.relying_party.provider.with_keys(UnknownKeySource::Request, is_unknown, verify).await
}

async fn end_sessions(state: &State, app: &App, text: &str, token: &LogoutToken) {
    audit::record(
        Event::BackchannelLogout,
        ReasonCode::Requested,
        &app.relying_party,
        token.subject.as_deref(),
    );
    let provider = app.rules().session.provider;
    if let Some(revoked) = revoked(token) {
        state.sessions.revoke_once(provider, (text, token.counts_until), &revoked).await;
    }
}

/// Returns the named session or, if none is named, every session of the subject until now (section 2.7). A verified
/// token names the session or the subject.
fn revoked(token: &LogoutToken) -> Option<Revoked<'_>> {
    match (&token.session, &token.subject) {
        (Some(sid), _) => Some(Revoked::Session { sid, issued_until: Some(token.issued_at) }),
        (None, Some(subject)) => Some(Revoked::Subject { subject, issued_until: token.issued_at }),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_sessions_end() {
        let token = |session: Option<&str>, subject: Option<&str>| LogoutToken {
            session: session.map(str::to_owned),
            subject: subject.map(str::to_owned),
            issued_at: 7,
            counts_until: 607,
        };
        let of_session = Some(Revoked::Session { sid: "s", issued_until: Some(7) });
        for (session, subject, expected) in [
            (Some("s"), Some("alice"), of_session),
            (Some("s"), None, of_session),
            (None, Some("alice"), Some(Revoked::Subject { subject: "alice", issued_until: 7 })),
            (None, None, None),
        ] {
            assert_eq!(revoked(&token(session, subject)), expected);
        }
    }
}
