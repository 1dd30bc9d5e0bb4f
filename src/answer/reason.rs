//! The reasons why a request passed or was refused, and why a session began or ended. They are the stable codes of logs
//! and metrics.
//!
//! `docs/operations.md` says what to do about each of them. A test compares that list with this one.

use crate::answer::code::Code;

macro_rules! reason_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+) => {
        /// A stable reason. A reason is removed or renamed only with an entry in the changelog.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonCode {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ReasonCode {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the code that logs and metrics show.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

reason_codes! {
    /// The route is public.
    Public = "public",
    /// A CORS preflight, which never has a session.
    Preflight = "preflight",
    /// The request was redirected to `https`.
    Redirected = "redirected",
    /// A request on an optional route, or on the user path, without any session cookie.
    Anonymous = "anonymous",
    /// The JWT is valid.
    SessionValid = "session_valid",
    /// The JWT is new: it was refreshed for this request.
    SessionRefreshed = "session_refreshed",
    /// Portcullis served the request itself.
    Served = "served",
    /// No app has this `Host`.
    UnknownHost = "unknown_host",
    /// The head is malformed or ambiguous.
    MalformedRequest = "malformed_request",
    /// The client spoke HTTP without TLS on a port for TLS.
    HttpOnTlsPort = "http_on_tls_port",
    /// The client spoke TLS on a port for HTTP without TLS.
    TlsOnHttpPort = "tls_on_http_port",
    /// The client used the PROXY protocol, which the gateway does not support.
    ProxyProtocol = "proxy_protocol",
    /// The head is larger than `server.limits.max_header_size`.
    HeaderTooLarge = "header_too_large",
    /// The client sent more requests at once on a connection of HTTP/2 than the limit permits.
    TooManyStreams = "too_many_streams",
    /// The head or the body did not arrive in time.
    RequestTimeout = "request_timeout",
    /// The body is larger than its limit.
    BodyTooLarge = "body_too_large",
    /// The body has another media type or coding.
    UnsupportedMediaType = "unsupported_media_type",
    /// The path has a byte that no path may have.
    PathCharacter = "path_character",
    /// The path has a `%` without two hexadecimal digits.
    PathEncoding = "path_encoding",
    /// The path has an encoded character that changes its meaning.
    PathEncodedDelimiter = "path_encoded_delimiter",
    /// The path has overlong UTF-8.
    PathOverlong = "path_overlong",
    /// The path has a segment `.` or `..`.
    PathDotSegment = "path_dot_segment",
    /// The path has an empty segment (`//`).
    PathEmptySegment = "path_empty_segment",
    /// The path has a parameter (`;`).
    PathParameter = "path_parameter",
    /// A spelling of the login path that could bring a password to the app.
    LoginVariant = "login_variant",
    /// The method is not served here.
    Method = "method",
    /// The request comes from another origin.
    CrossSite = "cross_site",
    /// The request asks for another version of the WebSocket protocol.
    WebSocketVersion = "web_socket_version",
    /// A WebSocket handshake without its key.
    WebSocketHandshake = "web_socket_handshake",
    /// The body of a login does not have the two expected fields.
    LoginBody = "login_body",
    /// The request has no cookies of a session.
    NoSession = "no_session",
    /// A session cookie came twice.
    DuplicateCookie = "duplicate_cookie",
    /// A part of a split session cookie is missing.
    IncompleteCookie = "incomplete_cookie",
    /// The JWT is too long.
    TokenTooLong = "token_too_long",
    /// The token is not a JWT.
    TokenMalformed = "token_malformed",
    /// The token is encrypted (JWE).
    TokenEncrypted = "token_encrypted",
    /// The `alg` of the token is not configured.
    TokenAlgorithm = "token_algorithm",
    /// The token is of another kind.
    TokenType = "token_type",
    /// The token needs an extension.
    TokenCriticalExtension = "token_critical_extension",
    /// No key has the token's `kid`.
    TokenUnknownKey = "token_unknown_key",
    /// The signature of the token is wrong.
    TokenSignature = "token_signature",
    /// A claim is missing or of a wrong type.
    TokenClaim = "token_claim",
    /// The token has another `iss`.
    TokenIssuer = "token_issuer",
    /// The token has another `aud`.
    TokenAudience = "token_audience",
    /// A claim names another client.
    TokenAuthorizedParty = "token_authorized_party",
    /// The token has expired, and nothing refreshes it.
    TokenExpired = "token_expired",
    /// The token's `nbf` or `iat` is in the future.
    TokenNotYetValid = "token_not_yet_valid",
    /// A claim cannot be put into an identity header.
    TokenUnusableClaim = "token_unusable_claim",
    /// Only the JWT was revoked, not the session.
    TokenRevoked = "token_revoked",
    /// The provider's keys are not known yet.
    KeysUnknown = "keys_unknown",
    /// The session was revoked.
    Revoked = "revoked",
    /// Another login in the same browser took the session's place.
    Replaced = "replaced",
    /// The session is older than `session.absolute_lifetime`.
    AbsoluteLifetime = "absolute_lifetime",
    /// The session was unused for longer than `session.idle_lifetime`.
    IdleLifetime = "idle_lifetime",
    /// The refresh token's cookie was not sealed here.
    NotSealedHere = "not_sealed_here",
    /// The refresh token came without the JWT of its session.
    NotBound = "not_bound",
    /// The provider refused to refresh.
    RefreshRefused = "refresh_refused",
    /// A refresh token was used again after it had been replaced.
    Reused = "reused",
    /// The session had already ended.
    Ended = "ended",
    /// The provider is unavailable, or its answer makes no sense.
    ProviderUnavailable = "provider_unavailable",
    /// The provider refuses this client.
    ProviderMisconfigured = "provider_misconfigured",
    /// The provider's JWT did not verify.
    ProviderToken = "provider_token",
    /// The provider's JWT belongs to another subject or session than the JWT before it.
    AnotherSubject = "another_subject",
    /// The tokens do not fit into cookies.
    CookiesTooLarge = "cookies_too_large",
    /// Too many calls to the provider are under way.
    TooManyCalls = "too_many_calls",
    /// The identity has none of the roles that the route asks for.
    RoleMissing = "role_missing",
    /// The user name or the password is wrong, or the account is locked or disabled.
    InvalidCredentials = "invalid_credentials",
    /// The provider wants a second factor.
    TwoFactorRequired = "two_factor_required",
    /// The provider wants a new password.
    PasswordChangeRequired = "password_change_required",
    /// The provider wants another step from the user.
    AccountActionRequired = "account_action_required",
    /// The provider accepts no more logins for now.
    ProviderThrottled = "provider_throttled",
    /// Too many logins failed before.
    TooManyFailed = "too_many_failed",
    /// Too many logins with the same user name wait.
    TooManyWaiting = "too_many_waiting",
    /// A logout token, a webhook or an admin token is not acceptable.
    NotAuthentic = "not_authentic",
    /// An event that ends no session, or a request by someone who may make it.
    Requested = "requested",
    /// The app cannot be reached or broke off.
    UpstreamUnavailable = "upstream_unavailable",
    /// The app did not answer in time.
    UpstreamTimeout = "upstream_timeout",
    /// The app has sent the request back to where it came from.
    LoopDetected = "loop_detected",
    /// The client left before its answer was complete.
    ClientGone = "client_gone",
    /// Something failed that should not fail.
    InternalError = "internal_error",
}

impl ReasonCode {
    /// Tells whether the request was let in, or was served here as asked.
    pub(crate) const fn is_pass(self) -> bool {
        matches!(
            self,
            Self::Public
                | Self::Preflight
                | Self::Anonymous
                | Self::SessionValid
                | Self::SessionRefreshed
                | Self::Served
                | Self::Requested
        )
    }

    /// Tells whether the request was not let in although nothing failed.
    pub(crate) const fn is_refusal(self) -> bool {
        let has_failed = matches!(
            self,
            Self::KeysUnknown
                | Self::ProviderUnavailable
                | Self::ProviderMisconfigured
                | Self::ProviderToken
                | Self::AnotherSubject
                | Self::CookiesTooLarge
                | Self::TooManyCalls
                | Self::UpstreamUnavailable
                | Self::UpstreamTimeout
                | Self::LoopDetected
                | Self::ClientGone
                | Self::InternalError
        );
        !self.is_pass() && !has_failed
    }

    /// Returns the reason for a code. Use it only if no reason is known that is more precise than the code.
    pub const fn of(code: Code) -> Self {
        match code {
            Code::BadRequest => Self::MalformedRequest,
            Code::NotLoggedIn => Self::NoSession,
            Code::SessionExpired => Self::Ended,
            Code::InvalidCredentials => Self::InvalidCredentials,
            Code::TwoFactorRequired => Self::TwoFactorRequired,
            Code::PasswordChangeRequired => Self::PasswordChangeRequired,
            Code::AccountActionRequired => Self::AccountActionRequired,
            Code::Forbidden => Self::RoleMissing,
            Code::CrossSiteRequest => Self::CrossSite,
            Code::UnknownHost => Self::UnknownHost,
            Code::MethodNotAllowed => Self::Method,
            Code::BodyTooLarge => Self::BodyTooLarge,
            Code::UnsupportedMediaType => Self::UnsupportedMediaType,
            Code::TooManyAttempts => Self::TooManyFailed,
            Code::HeaderTooLarge => Self::HeaderTooLarge,
            Code::RequestTimeout => Self::RequestTimeout,
            Code::InternalError => Self::InternalError,
            Code::UpstreamUnavailable => Self::UpstreamUnavailable,
            Code::IdentityProviderUnavailable => Self::ProviderUnavailable,
            Code::UpstreamTimeout => Self::UpstreamTimeout,
            Code::LoopDetected => Self::LoopDetected,
            Code::UpgradeRequired => Self::WebSocketVersion,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: &str = include_str!("../../docs/operations.md");

    #[test]
    fn the_page_has_every_reason_and_no_other() {
        let section = PAGE.split("## Reason codes").nth(1).unwrap().split("\n## ").next().unwrap();
        let row = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
        let documented: Vec<String> = section.lines().filter_map(row).collect();
        let known: BTreeSet<_> = ReasonCode::ALL.iter().map(|code| code.as_str().to_owned()).collect();
        assert_eq!(documented.iter().cloned().collect::<BTreeSet<_>>(), known);
        assert_eq!(documented.len(), known.len(), "one is there twice");
    }
}
