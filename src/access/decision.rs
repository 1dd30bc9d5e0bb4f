//! What is to become of a request: one pure function of its head, the keys, the tokens verified before and the time.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use zeroize::Zeroizing;

use crate::access::cookies::{CookieNames, Presented, SessionCookies};
use crate::access::cross_site;
use crate::access::identity::Identity;
use crate::access::identity_rules::IdentityRules;
use crate::access::key_set::KeySet;
use crate::access::path;
use crate::access::reserved_headers::ReservedHeaders;
use crate::access::routes::{Destination, Routes, Rule};
use crate::access::token::{self, TokenError, TokenRules, Verification};
use crate::access::verified_tokens::{Scope, VerifiedTokens};
use crate::config::{self, Access};
use crate::respond::{Code, Problem};

/// Everything that decisions about one app need, prepared from its configuration.
#[derive(Debug)]
pub struct AppRules {
    /// The app's index in the configuration.
    pub index: usize,
    /// Its paths.
    pub routes: Routes,
    /// Its cookies' names.
    pub cookies: CookieNames,
    /// What its tokens must be like.
    pub token: TokenRules,
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
    /// Tokens verified before.
    pub verified: &'a VerifiedTokens,
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
    /// It is a login.
    Login,
    /// It is a logout.
    Logout,
    /// It asks who the user is.
    User(Arc<Identity>),
    /// A new JWT is needed first.
    Refresh(Pending<'a>),
    /// The JWT names a key that is not known: fetch the JWKS, then decide again.
    FetchKeys,
    /// It is answered here.
    Reject(Problem, Reason),
}

/// A request that waits for a new JWT.
pub struct Pending<'a> {
    /// Where it goes with it.
    pub destination: Destination<'a>,
    /// The refresh token.
    pub refresh_token: Zeroizing<String>,
    /// Whose session it is, if the old JWT is genuine, and the old JWT itself.
    pub previous: Option<Previous>,
    /// Which cookies it brought.
    pub presented: Presented,
}

impl std::fmt::Debug for Pending<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { destination, previous, presented, .. } = self;
        let mut shown = formatter.debug_struct("Pending");
        shown.field("destination", destination).field("previous", previous).field("presented", presented);
        shown.finish_non_exhaustive()
    }
}

/// The genuine JWT of a session that needs a new one.
#[derive(Clone)]
pub struct Previous {
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// The JWT itself: one provider's refresh API wants it, too (FusionAuth).
    pub access_token: Zeroizing<String>,
    /// It is still valid: used on if the refresh fails for a passing reason.
    pub still_valid: bool,
}

impl std::fmt::Debug for Previous {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Previous").field("still_valid", &self.still_valid).finish_non_exhaustive()
    }
}

/// Why there is no identity, for logs and `explain`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// See the error.
    #[error("the path is refused: {0}")]
    Path(#[from] path::PathError),
    /// See the error.
    #[error("the JWT is refused: {0}")]
    Token(#[from] TokenError),
    /// A spelling of the login path that would bring a password to the app.
    #[error("it is a variant of the login path")]
    LoginVariant,
    /// Another method.
    #[error("the method is not served here")]
    Method,
    /// Another origin.
    #[error("it comes from another origin")]
    CrossSite,
    /// No cookies of ours.
    #[error("there is no session cookie")]
    NoSession,
    /// A cookie came twice.
    #[error("a session cookie came twice")]
    DuplicateCookie,
    /// A split token is not whole.
    #[error("a split session cookie is not whole")]
    IncompleteCookie,
    /// The provider's keys have not been fetched yet.
    #[error("the provider's keys are not known yet")]
    NoKeys,
    /// The refresh was refused.
    #[error("the refresh was refused")]
    SessionEnded,
    /// The refresh failed for a passing reason.
    #[error("the provider is unavailable")]
    ProviderUnavailable,
    /// The roles do not suffice.
    #[error("no role of the identity is asked for here")]
    Roles,
}

enum Session {
    None(Reason),
    Valid(Arc<Identity>),
    Refresh(Zeroizing<String>, Option<Previous>),
    FetchKeys,
    Unverifiable,
}

impl AppRules {
    /// Prepares an app's configuration for decisions.
    pub fn new(index: usize, app: &config::App, provider: &config::IdentityProvider) -> Self {
        Self {
            index,
            routes: Routes::new(app),
            cookies: CookieNames {
                access_token: app.cookies.access_token.clone(),
                refresh_token: app.cookies.refresh_token.clone(),
            },
            token: TokenRules {
                issuer: provider.issuer.clone(),
                client_id: app.client_id.clone(),
                audience: app.audience.clone(),
                authorized_parties: app.authorized_parties.clone(),
                algorithms: provider.algorithms.clone(),
                leeway: provider.leeway.as_secs(),
            },
            identity: IdentityRules {
                roles_claim: app.roles_claim.clone(),
                headers: app.identity_headers.iter().map(Into::into).collect(),
                user_claims: app.user.claims.clone(),
            },
            reserved_headers: ReservedHeaders::new(app.identity_headers.iter().map(|header| &header.name)),
            allowed_origins: app.allowed_origins.clone(),
            anonymous_status: StatusCode::from_u16(app.user.anonymous_status)
                .unwrap_or(StatusCode::NOT_FOUND),
        }
    }
}

/// Decides.
pub fn decide<'a>(rules: &'a AppRules, request: &RequestHead<'_>, known: &Knowledge<'_>) -> Decision<'a> {
    let decoded = match path::decode(request.path) {
        Ok(decoded) => decoded,
        Err(error) => return reject(Code::BadRequest, "The path is not acceptable.", error.into()),
    };
    let may_be_another_method = cross_site::overrides_method(request.headers);
    let may_change_state = may_be_another_method || cross_site::changes_state(request.method);
    let destination = rules.routes.resolve(request.path.as_bytes(), &decoded);
    if destination != Destination::Login
        && rules.routes.is_login_variant(&decoded)
        && (may_change_state || has_body(request.headers))
    {
        return reject(Code::BadRequest, "The path is not acceptable.", Reason::LoginVariant);
    }
    // A preflight never has cookies, nor a body that could hold a password; whether the real request may come is the app's affair and then ours.
    let is_preflight = request.method == Method::OPTIONS
        && !may_be_another_method
        && (matches!(destination, Destination::App(_))
            || (request.headers.contains_key(http::header::ACCESS_CONTROL_REQUEST_METHOD)
                && !has_body(request.headers)));
    if is_preflight {
        return Decision::Forward(None);
    }
    match destination {
        Destination::Login => own_post(rules, request, Decision::Login),
        Destination::Logout => own_post(rules, request, Decision::Logout),
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

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(http::header::TRANSFER_ENCODING)
        || headers.get(http::header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0")
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
            Decision::Reject(problem, reason)
        }
        (Destination::App(rule), Ok(identity)) if !identity.has_any_role(rule.roles) => {
            reject(Code::Forbidden, "Your roles do not permit this.", Reason::Roles)
        }
        (_, Ok(identity)) => Decision::Forward(Some(identity)),
        (Destination::App(Rule { access: Access::Public | Access::Optional, .. }), Err(_)) => {
            Decision::Forward(None)
        }
        (_, Err(reason)) => reject(Code::NotLoggedIn, "Log in first.", reason),
    }
}

fn reject<'a>(code: Code, detail: &'static str, reason: Reason) -> Decision<'a> {
    Decision::Reject(Problem::new(code, detail), reason)
}

/// Login and logout: `POST`, from the app's own origin.
fn own_post<'a>(rules: &AppRules, request: &RequestHead<'_>, then: Decision<'a>) -> Decision<'a> {
    if request.method != Method::POST {
        let problem = Problem::new(Code::MethodNotAllowed, "Use POST here.").allow("POST");
        return Decision::Reject(problem, Reason::Method);
    }
    if cross_site::is_cross_site(request.headers, request.host, &rules.allowed_origins) {
        return cross_site_rejection();
    }
    then
}

fn cross_site_rejection<'a>() -> Decision<'a> {
    reject(Code::CrossSiteRequest, "The request comes from another site.", Reason::CrossSite)
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
        return cross_site_rejection();
    }
    match assess(rules, &cookies, known) {
        Session::None(reason) => admit(rules, destination, Err(reason)),
        Session::Valid(identity) => admit(rules, destination, Ok(identity)),
        Session::Refresh(refresh_token, previous) => {
            Decision::Refresh(Pending { destination, refresh_token, previous, presented: cookies.presented })
        }
        Session::FetchKeys => Decision::FetchKeys,
        Session::Unverifiable => {
            let problem =
                Problem::new(Code::IdentityProviderUnavailable, "The session cannot be verified now.");
            Decision::Reject(problem.retry_after(RETRY_AFTER), Reason::NoKeys)
        }
    }
}

/// Seconds after which a client may try again when the provider is the reason.
pub const RETRY_AFTER: u64 = 5;

fn assess(rules: &AppRules, cookies: &SessionCookies<'_>, known: &Knowledge<'_>) -> Session {
    if cookies.duplicate {
        return Session::None(Reason::DuplicateCookie);
    }
    if cookies.is_empty() {
        let incomplete = cookies.presented != Presented::default();
        return Session::None(if incomplete { Reason::IncompleteCookie } else { Reason::NoSession });
    }
    let checked = match cookies.access_token.as_deref() {
        None => Err(Reason::NoSession),
        Some(access_token) => check_token(rules, access_token, known).map_err(Reason::from),
    };
    // Copied only when it is needed, which is rare.
    let refresh =
        |refresh_token: &str, previous| Session::Refresh(Zeroizing::new(refresh_token.to_owned()), previous);
    match (checked, cookies.refresh_token.as_deref()) {
        (Ok((_, true)), None) => Session::None(Reason::Token(TokenError::Expired)),
        (Ok((identity, false)), None) => Session::Valid(identity),
        (Ok((identity, expired)), Some(refresh_token)) => {
            if expired || identity.is_about_to_expire(known.refresh_ahead, known.now) {
                let access_token =
                    Zeroizing::new(cookies.access_token.as_deref().unwrap_or_default().to_owned());
                refresh(refresh_token, Some(Previous { identity, access_token, still_valid: !expired }))
            } else {
                Session::Valid(identity)
            }
        }
        (Err(Reason::Token(TokenError::UnknownKey)), _) if !known.keys_are_fresh => Session::FetchKeys,
        // It may be as good as any, so it is neither refreshed nor taken for none.
        (Err(Reason::Token(TokenError::UnknownKey)), _) if known.keys.is_empty() => Session::Unverifiable,
        (Err(_), Some(refresh_token)) => refresh(refresh_token, None),
        (Err(reason), None) => Session::None(reason),
    }
}

/// Verifies a token, or finds it verified before. `true`: it has expired.
fn check_token(
    rules: &AppRules,
    access_token: &str,
    known: &Knowledge<'_>,
) -> Result<(Arc<Identity>, bool), TokenError> {
    let scope = Scope { app: rules.index, key_generation: known.key_generation };
    if let Some(identity) = known.verified.get(access_token, scope, known.now) {
        return Ok((identity, false));
    }
    let Verification { claims, expired } = token::verify(access_token, &rules.token, known.keys, known.now)?;
    let identity = Arc::new(Identity::new(claims, &rules.identity)?);
    if !expired {
        known.verified.insert(access_token, scope, &identity, known.now);
    }
    Ok((identity, expired))
}

#[cfg(test)]
mod tests;
