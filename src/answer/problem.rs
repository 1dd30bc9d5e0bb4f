//! The answers that Portcullis makes itself: problem details (RFC 9457) with a stable `code`.
//!
//! A [`Problem`] never carries a token or a password. It never says whether the user name or the password was wrong.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::answer::code::Code;
use crate::answer::headers::Headers;
use crate::answer::reason::ReasonCode;

/// One problem answer. It does not depend on a connection yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The status, usually [`Code::status`].
    pub status: StatusCode,
    /// The code of the problem.
    pub code: Code,
    /// A text for people that says what to do about the problem.
    pub detail: Cow<'static, str>,
    /// The next step that the provider wants, with its ids and methods.
    pub challenge: Option<serde_json::Value>,
    /// The seconds for `Retry-After`.
    pub retry_after: Option<u64>,
    /// The methods for `Allow`, in an answer with 405.
    pub allow: Option<&'static str>,
    /// The reason for logs and metrics. It says more than the client is told.
    pub reason: ReasonCode,
    /// A note for the log only. It says what was compared with what, and where to change it.
    pub note: Option<Box<str>>,
}

#[derive(Serialize)]
struct Body<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    /// The value of `X-Request-Id`. A person who reports the answer quotes its body, not its header fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<&'a serde_json::Value>,
}

impl Problem {
    /// The media type of a problem answer.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// Makes a problem with its usual status. The detail must not contain a secret. It must also not reveal the
    /// answer to the same request with another password.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let (challenge, retry_after, allow) = (None, None, None);
        let reason = ReasonCode::of(code);
        let detail = detail.into();
        Self { status: code.status(), code, detail, challenge, retry_after, allow, reason, note: None }
    }

    /// Adds a note for the log, which no one else sees. The note has a bounded length, and no control characters or
    /// secrets.
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

    /// Sets the reason for logs and metrics.
    #[must_use]
    pub const fn because(mut self, reason: ReasonCode) -> Self {
        self.reason = reason;
        self
    }

    /// Returns the body (RFC 9457 section 3). Apart from the request id, the body is the same for every occurrence, so
    /// that nobody can learn anything from a difference.
    pub fn body(&self, request_id: Option<&HeaderValue>) -> Bytes {
        let body = Body {
            title: title(self.code),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code.as_str(),
            request_id: request_id.and_then(|id| id.to_str().ok()),
            challenge: self.challenge.as_ref(),
        };
        // Strings and a JSON value always serialise. Even an answer with an empty body would still have the status.
        serde_json::to_vec(&body).map_or_else(|_| Bytes::new(), Bytes::from)
    }

    /// Returns the header fields that go with [`Self::body`]. They do not depend on the writer.
    pub fn headers<'a>(&self, request_id: Option<&'a HeaderValue>, body: &Bytes) -> Headers<'a> {
        Headers {
            request_id,
            content_type: Some(Self::CONTENT_TYPE),
            content_length: Some(body.len()),
            retry_after: self.retry_after,
            allow: self.allow,
            asks_for_upgrade: self.code == Code::UpgradeRequired,
        }
    }
}

/// Returns the short summary in `title`. It is the same for every occurrence (RFC 9457 section 3.1.3).
const fn title(code: Code) -> &'static str {
    match code {
        Code::BadRequest => "Bad request",
        Code::NotLoggedIn => "Not logged in",
        Code::SessionExpired => "Session expired",
        Code::InvalidCredentials => "Invalid credentials",
        Code::TwoFactorRequired => "Two-factor authentication required",
        Code::PasswordChangeRequired => "Password change required",
        Code::AccountActionRequired => "Account action required",
        Code::Forbidden => "Forbidden",
        Code::CrossSiteRequest => "Cross-site request",
        Code::UnknownHost => "Unknown host",
        Code::MethodNotAllowed => "Method not allowed",
        Code::BodyTooLarge => "Body too large",
        Code::UnsupportedMediaType => "Unsupported media type",
        Code::UpgradeRequired => "Upgrade required",
        Code::TooManyAttempts => "Too many attempts",
        Code::HeaderTooLarge => "Request header too large",
        Code::RequestTimeout => "Request timeout",
        Code::InternalError => "Internal error",
        Code::UpstreamUnavailable => "Upstream unavailable",
        Code::IdentityProviderUnavailable => "Identity provider unavailable",
        Code::UpstreamTimeout => "Upstream timeout",
        Code::LoopDetected => "Loop detected",
    }
}
