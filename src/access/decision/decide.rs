//! The decision itself: it lets a request pass, refuses it, or asks for more.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method};

use crate::access::app_rules::{AppRules, Knowledge};
use crate::access::assessment::{Assessment, assess};
use crate::access::cookies::Presented;
use crate::access::cross_site;
use crate::access::decision::outcome::{Decision, Ending, Pending, Permit};
use crate::access::endpoint::{Callers, Endpoint, EndpointRules, Methods, Needs};
use crate::access::identity::Identity;
use crate::access::preflight::{has_body, is_preflight};
use crate::access::reason::Reason;
use crate::access::refusal_notes;
use crate::access::routes::{Destination, Rule};
use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::answer::retry_after::RETRY_AFTER;
use crate::config::Access;
use crate::syntax::path;
use crate::syntax::web_socket::{self, HandshakeError};

/// The parts of a request's head that the decision reads.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The raw path, without the query. These bytes are forwarded unchanged.
    pub path: &'a str,
    /// The `Host` header.
    pub host: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The request asks for a WebSocket (RFC 6455 section 4.1).
    pub websocket: bool,
}

/// Headers with which a request can override its method in many frameworks.
const METHOD_OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

impl RequestHead<'_> {
    /// Tells whether a header may override the request's method.
    fn overrides_method(&self) -> bool {
        METHOD_OVERRIDES.iter().any(|name| self.headers.contains_key(name))
    }

    /// Tells whether a request may change state, by its method (RFC 9110 section 9.2.1) or by a method that overrides
    /// it.
    pub fn may_change_state(&self) -> bool {
        !matches!(*self.method, Method::GET | Method::HEAD | Method::OPTIONS) || self.overrides_method()
    }

    /// Tells whether a request is treated as a CORS preflight. See [`is_preflight`].
    pub fn is_preflight(&self) -> bool {
        *self.method == Method::OPTIONS && !self.overrides_method() && is_preflight(self.method, self.headers)
    }
}

impl std::fmt::Debug for RequestHead<'_> {
    /// Leaves out the headers, because they hold the tokens.
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

/// Decides about a request.
pub fn decide<'a>(rules: &'a AppRules, request: &RequestHead<'_>, known: &Knowledge<'_>) -> Decision<'a> {
    decide_and_locate(rules, request, known).0
}

/// Decides about a request, and returns its destination. The destination is `None` if the path is refused.
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
    if is_login_variant(rules, request, destination, decoded) {
        let detail = format!("The login is at `{}`, spelled like that.", rules.routes.login());
        return reject(Code::BadRequest, detail, Reason::LoginVariant);
    }
    if request.websocket
        && let Err(error) = web_socket::check(request.headers)
    {
        return no_handshake(error);
    }
    if is_from_browsers(destination) && request.is_preflight() {
        let permit = Permit::without_identity(destination.route(), ReasonCode::Preflight);
        return Decision::Forward(permit);
    }
    match destination {
        Destination::Own(endpoint) => at_endpoint(rules, request, known, (destination, endpoint.rules())),
        Destination::App(Rule { access: Access::Public, .. }) => {
            Decision::Forward(Permit::without_identity(destination.route(), ReasonCode::Public))
        }
        Destination::App(_) => with_session(rules, request, known, destination),
    }
}

/// Tells whether a request could bring a password to the app, because the app may treat its path as the login path.
pub fn is_login_variant(
    rules: &AppRules,
    request: &RequestHead<'_>,
    destination: Destination<'_>,
    decoded: &[u8],
) -> bool {
    destination != Destination::Own(Endpoint::Login)
        && rules.routes.is_login_variant(decoded)
        && (request.may_change_state() || has_body(request.headers))
}

/// Tells whether browsers send requests to a destination. Only providers call the others, and providers send no
/// preflights.
const fn is_from_browsers(destination: Destination<'_>) -> bool {
    match destination {
        Destination::Own(endpoint) => matches!(endpoint.rules().callers, Callers::Browsers),
        Destination::App(_) => true,
    }
}

fn at_endpoint<'a>(
    rules: &'a AppRules,
    request: &RequestHead<'_>,
    known: &Knowledge<'_>,
    (destination, endpoint): (Destination<'a>, EndpointRules),
) -> Decision<'a> {
    let EndpointRules { methods, callers, needs, .. } = endpoint;
    if callers == Callers::Browsers
        && methods == Methods::Post
        && request.method == Method::POST
        && cross_site::is_cross_site(request.headers, request.host, &rules.allowed_origins)
    {
        return cross_site_rejection(request.headers);
    }
    if !methods.include(request.method) {
        let problem = Problem::new(Code::MethodNotAllowed, format!("Use {} here.", methods.name()));
        return Decision::Reject(problem.allow(methods.allow()), Reason::Method);
    }
    match needs {
        Needs::Nothing(call) => Decision::Serve(call()),
        Needs::Session(_) => with_session(rules, request, known, destination),
    }
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

/// Decides about a request to a destination, with an identity or with the reason why there is none.
pub fn admit<'a>(
    rules: &AppRules,
    destination: Destination<'a>,
    identity: Result<Arc<Identity>, Reason>,
) -> Decision<'a> {
    match identity {
        Ok(identity) => admit_identity(destination, identity, ReasonCode::SessionValid),
        Err(reason) => admit_nobody(rules, destination, reason),
    }
}

/// Lets a request with an identity pass if its roles suffice. `passed` is the reason that is recorded then.
pub(super) fn admit_identity(
    destination: Destination<'_>,
    identity: Arc<Identity>,
    passed: ReasonCode,
) -> Decision<'_> {
    match destination {
        Destination::Own(endpoint) => match endpoint.rules().needs {
            Needs::Session(call) => Decision::Serve(call(identity)),
            Needs::Nothing(call) => Decision::Serve(call()),
        },
        Destination::App(rule) if !identity.has_any_role(rule.roles) => {
            let problem = Problem::new(Code::Forbidden, "Your roles do not permit this.");
            Decision::Reject(problem.with_note(refusal_notes::roles(&identity, rule.roles)), Reason::Roles)
        }
        Destination::App(_) => {
            Decision::Forward(Permit::with_identity(destination.route(), identity, passed))
        }
    }
}

fn admit_nobody<'a>(rules: &AppRules, destination: Destination<'a>, reason: Reason) -> Decision<'a> {
    match destination {
        Destination::Own(_) => {
            let mut problem = Problem::new(Code::NotLoggedIn, "Nobody is logged in.");
            problem.status = rules.anonymous_status;
            if reason == Reason::NoSession {
                Decision::Nobody(problem)
            } else {
                Decision::Reject(problem, reason)
            }
        }
        Destination::App(Rule { access: Access::Public, .. }) => {
            Decision::Forward(Permit::without_identity(destination.route(), ReasonCode::Public))
        }
        Destination::App(Rule { access: Access::Optional, .. }) => {
            Decision::Forward(Permit::without_identity(destination.route(), ReasonCode::Anonymous))
        }
        Destination::App(Rule { access: Access::Required, .. }) => {
            let detail = format!("Log in first, with `POST {}`.", rules.routes.login());
            reject(Code::NotLoggedIn, detail, reason)
        }
    }
}

fn reject<'a>(code: Code, detail: impl Into<Cow<'static, str>>, reason: Reason) -> Decision<'a> {
    Decision::Reject(Problem::new(code, detail), reason)
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
) -> Decision<'a> {
    let cookies = rules.cookies.read(request.headers);
    let needs_own_origin = request.may_change_state() || request.websocket;
    if needs_own_origin
        && cookies.presented != Presented::default()
        && cross_site::is_cross_site(request.headers, request.host, &rules.allowed_origins)
    {
        return cross_site_rejection(request.headers);
    }
    match assess(rules, &cookies, known) {
        // The browser keeps sending both cookies until they are cleared.
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
