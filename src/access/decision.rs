//! What is to become of a request: one pure function of its head, the keys, the tokens verified before and the time.

mod reason;

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};

use crate::access::assessment::{Assessment, Grant, Previous, SessionRules, assess};
use crate::access::cookies::{CookieNames, Presented};
use crate::access::cross_site;
use crate::access::fusionauth_webhook::WebhookRules;
use crate::access::identity::Identity;
use crate::access::identity_rules::IdentityRules;
use crate::access::key_set::KeySet;
use crate::access::memory::Memory;
use crate::access::numbers::Numbers;
use crate::access::preflight::{has_body, is_preflight};
use crate::access::refusal_notes;
use crate::access::reserved_headers::ReservedHeaders;
use crate::access::routes::{Destination, Routes, Rule};
use crate::access::token::TokenRules;
use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::retry_after::RETRY_AFTER;
use crate::config::{self, Access};
use crate::syntax::path;
use crate::syntax::web_socket::{self, HandshakeError};

pub use reason::Reason;

/// Everything that decisions about one app need, prepared from its configuration.
#[derive(Debug)]
pub struct AppRules {
    /// The app's number: another app never has it, whatever becomes of the configuration.
    pub index: usize,
    /// What its refresh tokens are known by: the number of its client at its issuer, which two apps may share.
    pub sessions: usize,
    /// Of these rules: no others have it, of this app or of another.
    pub generation: u64,
    /// Its paths.
    pub routes: Routes,
    /// Its cookies' names.
    pub cookies: CookieNames,
    /// What its tokens must be like.
    pub token: TokenRules,
    /// How its sessions are protected.
    pub session: SessionRules,
    /// What it takes from FusionAuth's webhook.
    pub webhook: Option<WebhookRules>,
    /// How it sees identities.
    pub identity: IdentityRules,
    /// Headers that only we may send to it.
    pub reserved_headers: ReservedHeaders,
    /// Origins beside its own.
    pub allowed_origins: Vec<String>,
    /// Status of the user path without a session.
    pub anonymous_status: StatusCode,
}

/// A request's head, as far as the decision looks at it.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The raw path, without the query: the very bytes that will be forwarded.
    pub path: &'a str,
    /// The `Host` header.
    pub host: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// Whether it asks for a WebSocket (RFC 6455 section 4.1).
    pub websocket: bool,
}

impl std::fmt::Debug for RequestHead<'_> {
    /// Without the headers, which hold the tokens.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RequestHead")
            .field("method", self.method)
            .field("path", &self.path)
            .field("host", &self.host)
            .field("websocket", &self.websocket)
            .finish_non_exhaustive()
    }
}

/// What is known at the moment of a decision.
#[derive(Debug, Clone, Copy)]
pub struct Knowledge<'a> {
    /// The provider's keys.
    pub keys: &'a KeySet,
    /// Their state; changes with them.
    pub key_generation: u64,
    /// What is remembered of earlier requests.
    pub memory: &'a Memory,
    /// Unix seconds.
    pub now: u64,
    /// `refresh.ahead`, in seconds.
    pub refresh_ahead: u64,
    /// The keys have just been fetched for this request: an unknown key id is final.
    pub keys_are_fresh: bool,
}

/// What is to become of a request.
#[derive(Debug)]
pub enum Decision<'a> {
    /// It goes to the app, with this identity or with none.
    Forward(Option<Arc<Identity>>),
    /// A CORS preflight: it goes to the app, whatever the route, and without an identity.
    Preflight,
    /// It is a login.
    Login,
    /// It is a logout.
    Logout,
    /// The provider says whose sessions end.
    BackchannelLogout,
    /// FusionAuth tells of an event.
    FusionAuthWebhook,
    /// It asks who the user is.
    User(Arc<Identity>),
    /// The same, and nothing was shown that could say it: the answer is this, and refuses nothing.
    Nobody(Problem),
    /// A new JWT is needed first.
    Refresh(Pending<'a>),
    /// The session is over, and not to be refreshed, or there is none and its cookies are to be cleared.
    End(Ending<'a>),
    /// The JWT names a key that is not known: fetch the JWKS, then decide again.
    FetchKeys,
    /// It is answered here.
    Reject(Problem, Reason),
}

/// A request that waits for a new JWT.
#[derive(Debug)]
pub struct Pending<'a> {
    /// Where it goes with it.
    pub destination: Destination<'a>,
    /// What it is refreshed with.
    pub grant: Grant,
    /// Whose session it is, if the old JWT is genuine, and the old JWT itself.
    pub previous: Option<Previous>,
    /// Which cookies it brought.
    pub presented: Presented,
}

/// A request whose session's cookies are to be cleared.
#[derive(Debug)]
pub struct Ending<'a> {
    /// Where it wanted to go.
    pub destination: Destination<'a>,
    /// What it could have been refreshed with, where that could be read.
    pub grant: Option<Grant>,
    /// Which cookies it brought.
    pub presented: Presented,
    /// Why.
    pub reason: Reason,
}

impl AppRules {
    /// Prepares an app's configuration for decisions.
    pub fn new(app: &config::App, provider: &config::IdentityProvider, session: &config::Session) -> Self {
        let numbers = Numbers::of(app, provider);
        Self {
            index: numbers.app,
            sessions: numbers.sessions,
            generation: 0,
            routes: Routes::new(app),
            cookies: CookieNames {
                access_token: app.cookies.access_token.clone(),
                refresh_token: app.cookies.refresh_token.clone(),
            },
            session: SessionRules::new(app, session, numbers.provider),
            token: TokenRules {
                provider: numbers.provider,
                issuer: provider.issuer.clone(),
                client_id: app.client_id.clone(),
                audience: app.audience.clone(),
                authorized_parties: app.authorized_parties.clone(),
                algorithms: provider.algorithms.clone(),
                leeway: provider.leeway.as_secs(),
                access_token_is_id_token: provider.access_token_is_id_token,
            },
            webhook: app
                .fusionauth_webhook
                .as_ref()
                .map(|webhook| WebhookRules::new(webhook, &app.client_id, provider)),
            identity: IdentityRules {
                roles_claim: app.roles_claim.clone(),
                headers: app.identity_headers.iter().map(Into::into).collect(),
                max_header_size: app.max_identity_header_size,
                user_claims: app.user.claims.clone(),
            },
            reserved_headers: ReservedHeaders::new(app.identity_headers.iter().map(|header| &header.name)),
            allowed_origins: app.allowed_origins.clone(),
            anonymous_status: StatusCode::from_u16(app.user.anonymous_status)
                .unwrap_or(StatusCode::NOT_FOUND),
        }
    }

    /// The same as this generation of rules.
    #[must_use]
    pub fn of_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }
}

/// Decides.
pub fn decide<'a>(rules: &'a AppRules, request: &RequestHead<'_>, known: &Knowledge<'_>) -> Decision<'a> {
    decide_and_locate(rules, request, known).0
}

/// Decides, and says where the request wanted to go: nowhere, if its path is refused.
pub fn decide_and_locate<'a>(
    rules: &'a AppRules,
    request: &RequestHead<'_>,
    known: &Knowledge<'_>,
) -> (Decision<'a>, Option<Destination<'a>>) {
    let decoded = match path::decode(request.path) {
        Ok(decoded) => decoded,
        Err(error) => {
            let problem = Problem::new(Code::BadRequest, format!("Not acceptable: {error}."));
            return (Decision::Reject(problem, error.into()), None);
        }
    };
    let destination = rules.routes.resolve(request.path.as_bytes(), &decoded);
    (decide_at(rules, request, known, destination, &decoded), Some(destination))
}

fn decide_at<'a>(
    rules: &'a AppRules,
    request: &RequestHead<'_>,
    known: &Knowledge<'_>,
    destination: Destination<'a>,
    decoded: &[u8],
) -> Decision<'a> {
    let may_be_another_method = cross_site::overrides_method(request.headers);
    let may_change_state = may_be_another_method || cross_site::changes_state(request.method);
    if destination != Destination::Login
        && rules.routes.is_login_variant(decoded)
        && (may_change_state || has_body(request.headers))
    {
        let detail = format!("The login is at `{}`, spelled like that.", rules.routes.login());
        return reject(Code::BadRequest, detail, Reason::LoginVariant);
    }
    if request.websocket
        && let Err(error) = web_socket::check(request.headers)
    {
        return no_handshake(error);
    }
    if !may_be_another_method
        && is_from_browsers(destination)
        && is_preflight(request.method, request.headers)
    {
        return Decision::Preflight;
    }
    match destination {
        Destination::Login => own_post(rules, request, Decision::Login),
        Destination::Logout => own_post(rules, request, Decision::Logout),
        // No browser sends these; a signature says who does, so that the origin does not matter.
        Destination::BackchannelLogout => post_only(request, Decision::BackchannelLogout),
        Destination::FusionAuthWebhook => post_only(request, Decision::FusionAuthWebhook),
        Destination::User if !matches!(*request.method, Method::GET | Method::HEAD) => {
            let problem = Problem::new(Code::MethodNotAllowed, "Use GET here.").allow("GET, HEAD");
            Decision::Reject(problem, Reason::Method)
        }
        Destination::App(Rule { access: Access::Public, .. }) => Decision::Forward(None),
        Destination::User | Destination::App(_) => {
            with_session(rules, request, known, destination, may_change_state)
        }
    }
}

/// What only providers send to has no preflights.
const fn is_from_browsers(destination: Destination<'_>) -> bool {
    !matches!(destination, Destination::BackchannelLogout | Destination::FusionAuthWebhook)
}

fn no_handshake<'a>(error: HandshakeError) -> Decision<'a> {
    match error {
        HandshakeError::Version => reject(
            Code::UpgradeRequired,
            "Only version 13 of the WebSocket protocol is spoken here.",
            Reason::WebSocketVersion,
        ),
        HandshakeError::Malformed => {
            reject(Code::BadRequest, "The WebSocket handshake is malformed.", Reason::WebSocketHandshake)
        }
    }
}

/// Lets an identity, or nobody, go on to where the request wanted to go.
pub fn admit<'a>(
    rules: &AppRules,
    destination: Destination<'a>,
    identity: Result<Arc<Identity>, Reason>,
) -> Decision<'a> {
    match (destination, identity) {
        (Destination::User, Ok(identity)) => Decision::User(identity),
        (Destination::User, Err(reason)) => {
            let mut problem = Problem::new(Code::NotLoggedIn, "Nobody is logged in.");
            problem.status = rules.anonymous_status;
            if reason == Reason::NoSession {
                Decision::Nobody(problem)
            } else {
                Decision::Reject(problem, reason)
            }
        }
        (Destination::App(rule), Ok(identity)) if !identity.has_any_role(rule.roles) => {
            let problem = Problem::new(Code::Forbidden, "Your roles do not permit this.");
            Decision::Reject(problem.with_note(refusal_notes::roles(&identity, rule.roles)), Reason::Roles)
        }
        (_, Ok(identity)) => Decision::Forward(Some(identity)),
        (Destination::App(Rule { access: Access::Public | Access::Optional, .. }), Err(_)) => {
            Decision::Forward(None)
        }
        (_, Err(reason)) => {
            let detail = format!("Log in first, with `POST {}`.", rules.routes.login());
            reject(Code::NotLoggedIn, detail, reason)
        }
    }
}

fn reject<'a>(code: Code, detail: impl Into<Cow<'static, str>>, reason: Reason) -> Decision<'a> {
    Decision::Reject(Problem::new(code, detail), reason)
}

/// Login and logout: `POST`, from the app's own origin.
fn own_post<'a>(rules: &AppRules, request: &RequestHead<'_>, then: Decision<'a>) -> Decision<'a> {
    if request.method == Method::POST
        && cross_site::is_cross_site(request.headers, request.host, &rules.allowed_origins)
    {
        return cross_site_rejection(request.headers);
    }
    post_only(request, then)
}

fn post_only<'a>(request: &RequestHead<'_>, then: Decision<'a>) -> Decision<'a> {
    if request.method == Method::POST {
        return then;
    }
    let problem = Problem::new(Code::MethodNotAllowed, "Use POST here.").allow("POST");
    Decision::Reject(problem, Reason::Method)
}

fn cross_site_rejection<'a>(headers: &HeaderMap) -> Decision<'a> {
    let problem = Problem::new(Code::CrossSiteRequest, "The request comes from another site.");
    Decision::Reject(problem.with_note(refusal_notes::cross_site(headers)), Reason::CrossSite)
}

fn with_session<'a>(
    rules: &'a AppRules,
    request: &RequestHead<'_>,
    known: &Knowledge<'_>,
    destination: Destination<'a>,
    may_change_state: bool,
) -> Decision<'a> {
    let cookies = rules.cookies.read(request.headers);
    let needs_own_origin = may_change_state || request.websocket;
    if needs_own_origin
        && cookies.presented != Presented::default()
        && cross_site::is_cross_site(request.headers, request.host, &rules.allowed_origins)
    {
        return cross_site_rejection(request.headers);
    }
    match assess(rules, &cookies, known) {
        // A browser does not get rid of it by itself.
        Assessment::None(reason @ Reason::DuplicateCookie) => {
            Decision::End(Ending { destination, grant: None, presented: cookies.presented, reason })
        }
        Assessment::None(reason) => admit(rules, destination, Err(reason)),
        Assessment::Valid(identity) => admit(rules, destination, Ok(identity)),
        Assessment::Refresh(grant, previous) => {
            Decision::Refresh(Pending { destination, grant, previous, presented: cookies.presented })
        }
        Assessment::Over(grant, reason) => {
            Decision::End(Ending { destination, grant, presented: cookies.presented, reason })
        }
        Assessment::FetchKeys => Decision::FetchKeys,
        Assessment::Unverifiable => {
            let problem =
                Problem::new(Code::IdentityProviderUnavailable, "The session cannot be verified now.");
            Decision::Reject(problem.retry_after(RETRY_AFTER), Reason::NoKeys)
        }
    }
}

#[cfg(test)]
mod tests;
