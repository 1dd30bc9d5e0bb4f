//! `POST /sessions/revoke` ends sessions when an operator or another system asks for it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::header;
use pingora_core::protocols::http::ServerSession;
use serde_json::Value;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::access::numbers::ProviderNumber;
use crate::access::token::latest_issue;
use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::config::Secret;
use crate::gateway::State;
use crate::session::Revoked;
use crate::syntax::json;
use crate::telemetry::audit::{self, Event};

use crate::admin::failed_tokens::Guesses;

/// The largest size of a body, in bytes.
const MAX_BODY: usize = 16 * 1024;

/// The longest time for the whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The description of a valid body.
const BODY: &str = "Send a JSON object with exactly one of `sub`, `sid` and `jti`, and optionally `identity_provider`, and `issued_until` beside `sub`.";

/// Revokes the sessions or the token that a request names.
pub(super) async fn serve(
    state: &State,
    guesses: &Guesses,
    session: &mut ServerSession,
) -> Result<(), Problem> {
    let peer = session.client_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip);
    authorize(state.admin_token.as_ref(), guesses, peer, session)?;
    let content_type = session.req_header().headers.get(header::CONTENT_TYPE);
    let is_json = content_type.is_some_and(|value| {
        let media_type = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"application/json")
    });
    if !is_json {
        return Err(Problem::new(Code::UnsupportedMediaType, BODY));
    }
    let reading = timeout(BODY_TIMEOUT, read_body(session)).await;
    let body =
        reading.map_err(|_| Problem::new(Code::RequestTimeout, "The body did not arrive in time."))??;
    let order = Order::parse(state, &body).ok_or_else(|| Problem::new(Code::BadRequest, BODY))?;
    let subject = (order.claim == "sub").then_some(order.value.as_str());
    audit::record_admin(Event::Revocation, ReasonCode::Requested, subject, Some(order.claim), peer);
    for provider in order.providers.iter().copied() {
        state.sessions.revoke(provider, &order.revoked(state, provider)).await;
    }
    Ok(())
}

fn authorize(
    admin_token: Option<&Secret>,
    guesses: &Guesses,
    peer: Option<IpAddr>,
    session: &ServerSession,
) -> Result<(), Problem> {
    let Some(admin_token) = admin_token else {
        return Err(Problem::new(Code::Forbidden, "`server.admin_token` is not set, so nobody may do this."));
    };
    let shown = session.req_header().headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
    let shown = shown.and_then(|value| {
        let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
    });
    // The digests have one length, so the time of the comparison shows nothing about the token's length.
    let is_right = || {
        shown.is_some_and(|shown| {
            let expected = digest(&SHA256, admin_token.expose().as_bytes());
            verify_slices_are_equal(digest(&SHA256, shown).as_ref(), expected.as_ref()).is_ok()
        })
    };
    let problem = match guesses.check(peer, is_right) {
        Ok(true) => return Ok(()),
        Ok(false) => {
            Problem::new(Code::NotLoggedIn, "Show `server.admin_token` as `Authorization: Bearer TOKEN`.")
                .because(ReasonCode::NotAuthentic)
        }
        Err(wait) => Problem::new(Code::TooManyAttempts, "Too many wrong admin tokens. Try again later.")
            .retry_after(wait.as_secs() + 1),
    };
    audit::record_admin(Event::RevocationRefused, problem.reason, None, None, peer);
    Err(problem)
}

async fn read_body(session: &mut ServerSession) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut body = Zeroizing::new(Vec::new());
    loop {
        match session.read_request_body().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_BODY => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(Problem::new(Code::BodyTooLarge, "The body is too large.")),
            Ok(None) => return Ok(body),
            Err(_) => return Err(Problem::new(Code::BadRequest, "The body broke off.")),
        }
    }
}

/// The sessions or the token to revoke, and the providers at which to revoke them.
struct Order {
    /// The numbers of the providers.
    providers: Vec<ProviderNumber>,
    claim: &'static str,
    value: String,
    issued_until: Option<u64>,
}

impl Order {
    fn parse(state: &State, body: &[u8]) -> Option<Self> {
        let mut object = json::parse_object(body, 2).ok()?;
        let providers = match object.remove("identity_provider") {
            None => state.provider_numbers.clone(),
            Some(name) => {
                let index =
                    state.providers.iter().position(|provider| Some(provider.name()) == name.as_str())?;
                vec![*state.provider_numbers.get(index)?]
            }
        };
        let issued_until = match object.remove("issued_until") {
            None => None,
            Some(time) => Some(time.as_u64()?),
        };
        let (claim, value) = match object.into_iter().collect::<Vec<_>>().as_slice() {
            [(claim, Value::String(value))] if !value.is_empty() => {
                let claim = ["sub", "sid", "jti"].into_iter().find(|known| known == claim)?;
                (claim, value.clone())
            }
            _ => return None,
        };
        if issued_until.is_some() && claim != "sub" {
            return None;
        }
        Some(Self { providers, claim, value, issued_until })
    }

    fn revoked(&self, state: &State, provider: ProviderNumber) -> Revoked<'_> {
        // The provider's clock may be ahead by as much as the leeway for its JWTs. A later login is still accepted.
        let leeway = || {
            let apps = state.apps.iter().map(|app| app.rules());
            apps.filter(|rules| rules.session.provider == provider).map(|rules| rules.token.leeway).max()
        };
        let issued_until =
            self.issued_until.unwrap_or_else(|| latest_issue(state.now(), leeway().unwrap_or_default()));
        match self.claim {
            "sid" => Revoked::Session { sid: &self.value, issued_until: None },
            "jti" => Revoked::Token(&self.value),
            _ => Revoked::Subject { subject: &self.value, issued_until },
        }
    }
}
