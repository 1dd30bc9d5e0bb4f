//! The reasons why a token is refused. Each has a text for the log and a stable code.

use crate::answer::reason::ReasonCode;

/// The largest size of a token in bytes. A longer token is refused before it is parsed.
pub const MAX_TOKEN_LENGTH: usize = 16 * 1024;

/// The reason why a token is refused. The texts are for logs. They contain no part of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is longer than [`MAX_TOKEN_LENGTH`].
    #[error("longer than {MAX_TOKEN_LENGTH} bytes")]
    TooLong,
    /// It does not have three parts in base64url, or one of the first two is not a JSON object.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// It is opaque. Only its provider can read it.
    #[error("it is opaque, not a JWT: configure the provider to issue JWTs as access tokens")]
    Opaque,
    /// It is a JWE (RFC 7516).
    #[error("it is encrypted (JWE): configure the provider to sign it only")]
    Encrypted,
    /// `alg` is missing, unknown or not configured.
    #[error("`alg` is not one of the configured algorithms")]
    Algorithm,
    /// `typ`, or a claim, says that it is another kind of token.
    #[error("it is another kind of token")]
    Type,
    /// It has this claim, which normally only ID tokens have.
    #[error(
        "it has `{0}`, as ID tokens have: where the provider's access tokens are built like that (Dex), set \
         `access_token_is_id_token = true` there"
    )]
    IdToken(&'static str),
    /// It has `crit` or `b64` (RFC 7515 section 4.1.11, RFC 7797). Portcullis supports no extension.
    #[error("it needs an extension that is not supported")]
    CriticalExtension,
    /// There is no key with this `kid` and algorithm.
    #[error("no key is known for its `kid` and `alg`")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Signature,
    /// A claim is missing or has a wrong type.
    #[error("claim `{0}` is missing or has the wrong type")]
    Claim(&'static str),
    /// `iss` is another issuer.
    #[error("`iss` is another issuer")]
    Issuer,
    /// `aud` does not name this app.
    #[error("`aud` does not name this app")]
    Audience,
    /// This claim names another client.
    #[error("`{0}` names another client")]
    AuthorizedParty(&'static str),
    /// `exp` is over.
    #[error("it has expired")]
    Expired,
    /// `nbf` or `iat` is in the future.
    #[error("`{0}` is in the future")]
    NotYetValid(&'static str),
    /// A claim that is configured as an identity header cannot be a header value.
    #[error("claim `{0}` cannot be a header value: it {1}")]
    UnusableClaim(String, ClaimFault),
}

/// The reason why a claim cannot be a header value (RFC 9110 section 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimFault {
    /// It has a control character, which would end the header or be refused.
    #[error("has a control character")]
    ControlCharacter,
    /// It begins or ends with a blank. Recipients remove such blanks, and so two names would become one.
    #[error("begins or ends with a blank")]
    Blank,
}

impl TokenError {
    /// Returns the stable code.
    pub const fn code(&self) -> ReasonCode {
        match self {
            Self::TooLong => ReasonCode::TokenTooLong,
            Self::Malformed(_) | Self::Opaque => ReasonCode::TokenMalformed,
            Self::Encrypted => ReasonCode::TokenEncrypted,
            Self::Algorithm => ReasonCode::TokenAlgorithm,
            Self::Type | Self::IdToken(_) => ReasonCode::TokenType,
            Self::CriticalExtension => ReasonCode::TokenCriticalExtension,
            Self::UnknownKey => ReasonCode::TokenUnknownKey,
            Self::Signature => ReasonCode::TokenSignature,
            Self::Claim(_) => ReasonCode::TokenClaim,
            Self::Issuer => ReasonCode::TokenIssuer,
            Self::Audience => ReasonCode::TokenAudience,
            Self::AuthorizedParty(_) => ReasonCode::TokenAuthorizedParty,
            Self::Expired => ReasonCode::TokenExpired,
            Self::NotYetValid(_) => ReasonCode::TokenNotYetValid,
            Self::UnusableClaim(..) => ReasonCode::TokenUnusableClaim,
        }
    }
}
