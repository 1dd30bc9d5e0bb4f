//! The reasons why there is no identity, and the stable code of each reason.

use crate::access::lifetime::Over;
use crate::access::revocations::Revocation;
use crate::access::token_error::TokenError;
use crate::answer::reason::ReasonCode;
use crate::syntax::path::PathError;

/// A reason why there is no identity, for logs and `explain`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The path is refused.
    #[error("the path is refused: {0}")]
    Path(#[from] PathError),
    /// The JWT is refused.
    #[error("the JWT is refused: {0}")]
    Token(#[from] TokenError),
    /// The path is a variant of the login path, and the request could bring a password to the app.
    #[error("it is a variant of the login path")]
    LoginVariant,
    /// The endpoint does not accept the method.
    #[error("the method is not served here")]
    Method,
    /// The request comes from another origin.
    #[error("it comes from another origin")]
    CrossSite,
    /// The handshake is for another version of the WebSocket protocol.
    #[error("it is a WebSocket handshake of another version than 13")]
    WebSocketVersion,
    /// The WebSocket handshake has no valid key.
    #[error("it is a WebSocket handshake without one `Sec-WebSocket-Key` of 16 bytes")]
    WebSocketHandshake,
    /// There are no session cookies.
    #[error("there is no session cookie")]
    NoSession,
    /// A cookie came twice.
    #[error("a session cookie came twice")]
    DuplicateCookie,
    /// A part of a split token is missing or damaged.
    #[error("a split session cookie is not whole")]
    IncompleteCookie,
    /// The provider's keys have not been fetched yet.
    #[error("the provider's keys are not known yet")]
    NoKeys,
    /// The session, JWT or subject is on the revocation list.
    #[error("it is revoked")]
    Revoked(Revocation),
    /// The session has exceeded a lifetime.
    #[error(transparent)]
    Lifetime(#[from] Over),
    /// Cookies are sealed, but the refresh token's cookie was not sealed for this app with one of the keys.
    #[error("the refresh token's cookie was not sealed here")]
    NotSealedHere,
    /// The refresh token came without the JWT of its session.
    #[error("the refresh token came without the JWT of the same session")]
    NotBound,
    /// The refresh was refused.
    #[error("the refresh was refused")]
    SessionEnded,
    /// The refresh failed for a temporary reason.
    #[error("the provider is unavailable")]
    ProviderUnavailable,
    /// The provider requires this step before it refreshes.
    #[error("the provider wants another step of the user")]
    StepRequired(ReasonCode),
    /// The roles do not suffice.
    #[error("no role of the identity is asked for here")]
    Roles,
}

impl Reason {
    /// Returns the stable code.
    pub const fn code(&self) -> ReasonCode {
        match self {
            Self::Path(PathError::Character) => ReasonCode::PathCharacter,
            Self::Path(PathError::Encoding) => ReasonCode::PathEncoding,
            Self::Path(PathError::EncodedDelimiter) => ReasonCode::PathEncodedDelimiter,
            Self::Path(PathError::Overlong) => ReasonCode::PathOverlong,
            Self::Path(PathError::DotSegment) => ReasonCode::PathDotSegment,
            Self::Path(PathError::EmptySegment) => ReasonCode::PathEmptySegment,
            Self::Path(PathError::Parameter) => ReasonCode::PathParameter,
            Self::Token(error) => error.code(),
            Self::LoginVariant => ReasonCode::LoginVariant,
            Self::Method => ReasonCode::Method,
            Self::CrossSite => ReasonCode::CrossSite,
            Self::WebSocketVersion => ReasonCode::WebSocketVersion,
            Self::WebSocketHandshake => ReasonCode::WebSocketHandshake,
            Self::NoSession => ReasonCode::NoSession,
            Self::DuplicateCookie => ReasonCode::DuplicateCookie,
            Self::IncompleteCookie => ReasonCode::IncompleteCookie,
            Self::NoKeys => ReasonCode::KeysUnknown,
            Self::Revoked(Revocation::Session(by)) => by.reason(),
            Self::Revoked(Revocation::Token) => ReasonCode::TokenRevoked,
            Self::Lifetime(Over::Absolute) => ReasonCode::AbsoluteLifetime,
            Self::Lifetime(Over::Idle) => ReasonCode::IdleLifetime,
            Self::NotSealedHere => ReasonCode::NotSealedHere,
            Self::NotBound => ReasonCode::NotBound,
            Self::SessionEnded => ReasonCode::Ended,
            Self::ProviderUnavailable => ReasonCode::ProviderUnavailable,
            Self::StepRequired(code) => *code,
            Self::Roles => ReasonCode::RoleMissing,
        }
    }
}
