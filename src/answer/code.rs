//! The codes of problem answers, with their statuses and titles.

use http::StatusCode;

/// The `code` of a problem answer. It is stable, and clients and logs see the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Malformed request, body, field or path.
    BadRequest,
    /// The request needs a session and has none.
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
    /// This endpoint, or this gateway, does not serve the method.
    MethodNotAllowed,
    /// The body exceeds its limit.
    BodyTooLarge,
    /// The login's body is neither JSON nor a form.
    UnsupportedMediaType,
    /// The request asks for another version of the WebSocket protocol.
    UpgradeRequired,
    /// Logins are throttled.
    TooManyAttempts,
    /// The request head exceeds its limit.
    HeaderTooLarge,
    /// The request's head or body did not arrive in time.
    RequestTimeout,
    /// Something failed that should not fail. The log has the details.
    InternalError,
    /// The app cannot be reached or broke off.
    UpstreamUnavailable,
    /// The identity provider cannot be reached, or its answer makes no sense. The session is kept.
    IdentityProviderUnavailable,
    /// The app did not answer in time.
    UpstreamTimeout,
    /// The request has already passed through this gateway.
    LoopDetected,
}

impl Code {
    /// Returns the stable text in `code`.
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

    /// Returns the usual status of the code. A setting may choose another status (`anonymous_status`).
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
}
