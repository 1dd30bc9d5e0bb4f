//! The answers that Portcullis makes itself: problem details (RFC 9457) with a stable `code`.
//!
//! A [`Problem`] never carries a token, a password, or which of user name and password was wrong.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

use crate::answer::reason::ReasonCode;

/// A stable reason for an answer, as clients and logs see it (design.md section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Malformed request, body, field or path.
    BadRequest,
    /// A session is needed and there is none.
    NotLoggedIn,
    /// The refresh token was refused; the cookies are cleared.
    SessionExpired,
    /// Wrong user name or password.
    InvalidCredentials,
    /// The provider wants a second factor.
    TwoFactorRequired,
    /// The provider wants a new password.
    PasswordChangeRequired,
    /// The provider wants another step, such as a verified e-mail address.
    AccountActionRequired,
    /// The roles do not suffice.
    Forbidden,
    /// A state-changing or WebSocket request from another origin.
    CrossSiteRequest,
    /// No app has this host.
    UnknownHost,
    /// The method is not one that this endpoint, or this gateway, serves.
    MethodNotAllowed,
    /// The body exceeds its limit.
    BodyTooLarge,
    /// The login's body is neither JSON nor a form.
    UnsupportedMediaType,
    /// Another version of the WebSocket protocol.
    UpgradeRequired,
    /// Login throttled.
    TooManyAttempts,
    /// The request head exceeds its limit.
    HeaderTooLarge,
    /// The request's head or body did not arrive in time.
    RequestTimeout,
    /// Something failed that should not; the log has it.
    InternalError,
    /// The app cannot be reached or broke off.
    UpstreamUnavailable,
    /// The identity provider cannot be reached or does not make sense; the session is kept.
    IdentityProviderUnavailable,
    /// The app did not answer in time.
    UpstreamTimeout,
    /// The request has been here before.
    LoopDetected,
}

impl Code {
    /// The stable text in `code`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::NotLoggedIn => "not_logged_in",
            Self::SessionExpired => "session_expired",
            Self::InvalidCredentials => "invalid_credentials",
            Self::TwoFactorRequired => "two_factor_required",
            Self::PasswordChangeRequired => "password_change_required",
            Self::AccountActionRequired => "account_action_required",
            Self::Forbidden => "forbidden",
            Self::CrossSiteRequest => "cross_site_request",
            Self::UnknownHost => "unknown_host",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::UpgradeRequired => "upgrade_required",
            Self::TooManyAttempts => "too_many_attempts",
            Self::HeaderTooLarge => "header_too_large",
            Self::RequestTimeout => "request_timeout",
            Self::InternalError => "internal_error",
            Self::UpstreamUnavailable => "upstream_unavailable",
            Self::IdentityProviderUnavailable => "identity_provider_unavailable",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::LoopDetected => "loop_detected",
        }
    }

    /// The status that goes with it, unless a setting says otherwise (`anonymous_status`).
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotLoggedIn
            | Self::SessionExpired
            | Self::InvalidCredentials
            | Self::TwoFactorRequired
            | Self::PasswordChangeRequired
            | Self::AccountActionRequired => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::CrossSiteRequest => StatusCode::FORBIDDEN,
            Self::UnknownHost => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UpstreamUnavailable => StatusCode::BAD_GATEWAY,
            Self::IdentityProviderUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::LoopDetected => StatusCode::LOOP_DETECTED,
        }
    }

    /// The short summary in `title`; the same for every occurrence (RFC 9457 section 3.1.3).
    pub const fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "Bad request",
            Self::NotLoggedIn => "Not logged in",
            Self::SessionExpired => "Session expired",
            Self::InvalidCredentials => "Invalid credentials",
            Self::TwoFactorRequired => "Two-factor authentication required",
            Self::PasswordChangeRequired => "Password change required",
            Self::AccountActionRequired => "Account action required",
            Self::Forbidden => "Forbidden",
            Self::CrossSiteRequest => "Cross-site request",
            Self::UnknownHost => "Unknown host",
            Self::MethodNotAllowed => "Method not allowed",
            Self::BodyTooLarge => "Body too large",
            Self::UnsupportedMediaType => "Unsupported media type",
            Self::UpgradeRequired => "Upgrade required",
            Self::TooManyAttempts => "Too many attempts",
            Self::HeaderTooLarge => "Request header too large",
            Self::RequestTimeout => "Request timeout",
            Self::InternalError => "Internal error",
            Self::UpstreamUnavailable => "Upstream unavailable",
            Self::IdentityProviderUnavailable => "Identity provider unavailable",
            Self::UpstreamTimeout => "Upstream timeout",
            Self::LoopDetected => "Loop detected",
        }
    }
}

/// One problem answer, still without its connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Usually [`Code::status`].
    pub status: StatusCode,
    /// Why.
    pub code: Code,
    /// For people: what to do about it.
    pub detail: Cow<'static, str>,
    /// What the provider wants next, with its ids and methods.
    pub challenge: Option<serde_json::Value>,
    /// Seconds for `Retry-After`.
    pub retry_after: Option<u64>,
    /// For `Allow`, with 405.
    pub allow: Option<&'static str>,
    /// Why, for logs and metrics: more than the client is told.
    pub reason: ReasonCode,
    /// For the log alone: what was compared with what, and where to change it.
    pub note: Option<Box<str>>,
}

#[derive(Serialize)]
struct Body<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<&'a serde_json::Value>,
}

impl Problem {
    /// The media type of a problem answer.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// A problem with its usual status. Nothing of the detail may be a secret, nor tell what the same request with another
    /// password would be told.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let (challenge, retry_after, allow) = (None, None, None);
        let reason = ReasonCode::of(code);
        let detail = detail.into();
        Self { status: code.status(), code, detail, challenge, retry_after, allow, reason, note: None }
    }

    /// Says more to the log, and to nobody else. It is of bounded length, without control characters and secrets.
    #[must_use]
    pub fn with_note(mut self, note: String) -> Self {
        self.note = Some(note.into_boxed_str());
        self
    }

    /// Adds `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Adds `Allow`.
    #[must_use]
    pub fn allow(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    /// Says why, for logs and metrics.
    #[must_use]
    pub const fn because(mut self, reason: ReasonCode) -> Self {
        self.reason = reason;
        self
    }

    /// The body: the same for every occurrence, so that nothing can be told from a difference.
    pub fn body(&self) -> Bytes {
        let body = Body {
            title: self.code.title(),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code.as_str(),
            challenge: self.challenge.as_ref(),
        };
        // Strings and a JSON value always serialise; an empty body would still carry the status.
        serde_json::to_vec(&body).map_or_else(|_| Bytes::new(), Bytes::from)
    }
}
