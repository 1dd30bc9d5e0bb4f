//! The stable codes of the reasons: the same words as in logs and metrics.

use crate::access::decision::Reason;
use crate::access::lifetime::Over;
use crate::access::path::PathError;
use crate::access::revocations::Revocation;
use crate::access::token::TokenError;

/// Why a path is refused.
pub(super) const fn of_path(error: PathError) -> &'static str {
    match error {
        PathError::Character => "path_character",
        PathError::Encoding => "path_encoding",
        PathError::EncodedDelimiter => "path_encoded_delimiter",
        PathError::Overlong => "path_overlong",
        PathError::DotSegment => "path_dot_segment",
        PathError::EmptySegment => "path_empty_segment",
        PathError::Parameter => "path_parameter",
    }
}

/// Why a JWT is refused.
pub(super) const fn of_token(error: &TokenError) -> &'static str {
    match error {
        TokenError::TooLong => "token_too_long",
        TokenError::Malformed(_) => "token_malformed",
        TokenError::Algorithm => "token_algorithm",
        TokenError::Type => "token_type",
        TokenError::CriticalExtension => "token_critical_extension",
        TokenError::UnknownKey => "token_unknown_key",
        TokenError::Signature => "token_signature",
        TokenError::Claim(_) => "token_claim",
        TokenError::Issuer => "token_issuer",
        TokenError::Audience => "token_audience",
        TokenError::AuthorizedParty => "token_authorized_party",
        TokenError::Expired => "token_expired",
        TokenError::NotYetValid(_) => "token_not_yet_valid",
        TokenError::UnusableClaim(_) => "token_unusable_claim",
    }
}

/// Why there is no identity.
pub(super) const fn of(reason: &Reason) -> &'static str {
    match reason {
        Reason::Path(error) => of_path(*error),
        Reason::Token(error) => of_token(error),
        Reason::LoginVariant => "login_variant",
        Reason::Method => "method",
        Reason::CrossSite => "cross_site",
        Reason::NoSession => "no_session",
        Reason::DuplicateCookie => "duplicate_cookie",
        Reason::IncompleteCookie => "incomplete_cookie",
        Reason::NoKeys => "keys_unknown",
        Reason::Revoked(Revocation::Token) => "token_revoked",
        Reason::Revoked(Revocation::Session { is_replaced: true }) => "replaced",
        Reason::Revoked(Revocation::Session { is_replaced: false }) => "revoked",
        Reason::Lifetime(Over::Absolute) => "absolute_lifetime",
        Reason::Lifetime(Over::Idle) => "idle_lifetime",
        Reason::NotSealedHere => "not_sealed_here",
        Reason::NotBound => "not_bound",
        Reason::SessionEnded => "ended",
        Reason::ProviderUnavailable => "provider_unavailable",
        Reason::Roles => "role_missing",
    }
}
