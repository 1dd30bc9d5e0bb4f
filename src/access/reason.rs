//! The reasons why there is no identity, and the stable code of each reason.

use crate::access::lifetime::Over;
use crate::access::revocations::Revocation;
use crate::access::token_error::TokenError;
use crate::answer::reason::ReasonCode;
use crate::syntax::path::PathError;

/// A reason why there is no identity, for logs and `explain`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// See the error.
    #[error("the path is refused: {0}")]
    Path(#[from] PathError),
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
    /// Another version of the WebSocket protocol.
    #[error("it is a WebSocket handshake of another version than 13")]
    WebSocketVersion,
    /// A WebSocket handshake without its key.
    #[error("it is a WebSocket handshake without one `Sec-WebSocket-Key` of 16 bytes")]
    WebSocketHandshake,
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
    /// It is on the revocation list.
    #[error("it is revoked")]
    Revoked(Revocation),
    /// See there.
    #[error(transparent)]
    Lifetime(#[from] Over),
    /// Cookies are sealed, and the refresh token's was not sealed for this app with one of the keys.
    #[error("the refresh token's cookie was not sealed here")]
    NotSealedHere,
    /// The refresh token came without the JWT of its session.
    #[error("the refresh token came without the JWT of the same session")]
    NotBound,
    /// The refresh was refused.
    #[error("the refresh was refused")]
    SessionEnded,
    /// The refresh failed for a passing reason.
    #[error("the provider is unavailable")]
    ProviderUnavailable,
    /// The provider wants another step before it refreshes: this one.
    #[error("the provider wants another step of the user")]
    StepRequired(ReasonCode),
    /// The roles do not suffice.
    #[error("no role of the identity is asked for here")]
    Roles,
}

impl Reason {
    /// The stable code.
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
