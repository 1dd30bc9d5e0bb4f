//! The meaning of providers' codes at a login, at a refresh and at a logout. There is one table, because several
//! providers use the same code. `docs/behaviour.md` has the same table for people, and a test compares the two.
//!
//! The rows of only one kind of provider are in its dialect. This file has all other rows, and the order. Precise rows
//! come before general ones, and the first row that fits counts. A code without a row has no known meaning, and so ends
//! no session.

use crate::identity_provider::code_row::AtLogout::{self, Refused};
use crate::identity_provider::code_row::AtRefresh::{Dead, Operator, Passing};
use crate::identity_provider::code_row::Member::{self, Code, Description, Number, Reason, Subcode};
use crate::identity_provider::code_row::{Row, row};
use crate::identity_provider::dialect::{Dialect, kinds};
use crate::identity_provider::error_answer::ErrorAnswer;
use crate::identity_provider::outcome::ChallengeKind::{AccountAction, PasswordChange, TwoFactor};

/// The members in their order, from precise to general.
const ORDER: [Member; 5] = [Reason, Number, Subcode, Description, Code];

/// The rows that belong to no dialect.
const GENERAL: &[Row] = &[
    row(
        Number,
        &["50072", "50074", "50076", "50078", "50079", "50158", "500121"],
        "Entra ID: a second factor is wanted, or to be set up",
    )
    .step(TwoFactor),
    row(Number, &["50055", "50135", "50144"], "Entra ID: the password has expired or leaked")
        .step(PasswordChange),
    row(
        Number,
        &[
            "16000", "50005", "50015", "50085", "50097", "50105", "50125", "50127", "50129", "50131",
            "50140", "50155", "50187", "50199", "53000", "53001", "53002", "53003", "53004", "65001",
            "65004",
        ],
        "Entra ID: conditional access, consent, a device, an assignment",
    )
    .step(AccountAction),
    row(
        Number,
        &["50020", "50034", "50056", "50057", "50064", "50126", "51004"],
        "Entra ID: wrong password, no such user, disabled",
    )
    .wrong(Dead, Refused),
    row(Number, &["50053"], "Entra ID: locked for a while").wrong(Passing, AtLogout::Passing),
    row(
        Number,
        &["50089", "50132", "50133", "50173", "70008", "70043", "700081", "700082", "700084"],
        "Entra ID: expired, or revoked, as by a new password",
    )
    .dead(),
    row(
        Number,
        &["40010", "50033", "50087", "50088", "50166", "50196", "90006", "90033", "90055"],
        "Entra ID: a fault of its own, or throttling",
    ),
    row(Subcode, &["user_password_expired"], "Entra ID").step(PasswordChange),
    row(
        Subcode,
        &[
            "additional_action",
            "basic_action",
            "consent_required",
            "device_authentication_failed",
            "message_only",
        ],
        "Entra ID",
    )
    .step(AccountAction),
    row(Subcode, &["invalid_rapt", "rapt_required"], "Google: the user must show again who they are")
        .step(AccountAction),
    row(Description, &["unauthorized: user is blocked"], "Auth0").wrong(Dead, Refused),
    row(Description, &["access_denied: Unknown or invalid refresh token"], "Auth0").dead(),
    row(
        Code,
        &[
            "insufficient_authentication_context",
            "insufficient_user_authentication",
            "mfa_registration_required",
            "mfa_required",
            "multi_factor_challenge_required",
            "two_factor_required",
            "unmet_authentication_requirements",
        ],
        "FusionAuth, Auth0, Okta, RFC 9470",
    )
    .step(TwoFactor),
    row(
        Code,
        &[
            "change_password_administrative",
            "change_password_breached",
            "change_password_expired",
            "change_password_required",
            "change_password_validation",
            "password_leaked",
        ],
        "FusionAuth, Auth0",
    )
    .step(PasswordChange),
    row(
        Code,
        &[
            "account_selection_required",
            "consent_required",
            "email_verification_required",
            "insufficient_authorization",
            "interaction_required",
            "login_required",
            "registration_missing_requirement",
            "registration_required",
            "registration_verification_required",
            "requires_verification",
            "unverified_user_email",
        ],
        "Entra ID, OpenID Connect, FusionAuth, Auth0, GitHub",
    )
    .step(AccountAction),
    row(
        Code,
        &["rate_limit_exceeded", "too_many_attempts", "too_many_logins", "too_many_requests"],
        "Auth0, Salesforce",
    )
    .too_many(),
    row(Code, &["invalid_grant"], "RFC 6749: nearly all").wrong(Dead, Refused),
    row(
        Code,
        &["invalid_request"],
        "a malformed or dead refresh token: Laravel Passport and others by league/oauth2-server before 9",
    )
    .wrong(Dead, Refused),
    row(Code, &["expired_token", "invalid_token"], "Cloud Foundry UAA; Keycloak at a revocation").dead(),
    row(Code, &["bad_refresh_token", "invalid_refresh_token"], "GitHub, Slack: with 200").dead(),
    row(Code, &["inactive_user"], "Salesforce").wrong(Dead, Refused),
    row(Code, &["access_denied"], "Azure AD B2C: a wrong password").with(&[400]).wrong(Operator, Refused),
    row(
        Code,
        &["account_locked", "invalid_credentials", "invalid_user_password", "unauthorized"],
        "Cloud Foundry UAA, Auth0, league/oauth2-server before 8",
    )
    .wrong(Operator, Refused),
    row(Code, &["access_denied"], "Keycloak: a disabled realm; Okta, Auth0: a policy").operator(),
    row(Code, &["unsupported_token_type"], "RFC 7009: a refresh token that cannot be revoked")
        .logout_is_done(),
    row(
        Code,
        &[
            "endpoint_disabled",
            "incorrect_client_credentials",
            "invalid_client",
            "invalid_resource",
            "invalid_scope",
            "invalid_target",
            "method_not_allowed",
            "not_allowed",
            "not_licensed",
            "unauthorized_client",
            "unsupported_grant_type",
        ],
        "RFC 6749, RFC 8707; Keycloak, Entra ID, Auth0, FusionAuth, GitHub",
    )
    .operator(),
    row(Code, &["server_error", "slow_down", "temporarily_unavailable"], "RFC 6749, RFC 8628"),
];

/// Tells whether a code that comes with this status is the provider's word. This is so for 4xx, and for 200, which some
/// providers answer to everything, and for 201, which some frameworks answer to every POST. 408, 425, 429 and 5xx are
/// passing faults, whatever comes with them.
pub(super) const fn is_heard(status: u16) -> bool {
    matches!(status, 200 | 201 | 400..=499) && !matches!(status, 408 | 425 | 429)
}

/// Tells whether a code refuses the client, or its use of the grant. A provider authenticates the client before it looks
/// at the refresh token (RFC 6749 sections 5.2 and 6), and so it has not processed the refresh token. The codes about
/// scopes, targets and policies are not among them: a provider may look at those after the refresh token.
pub(super) fn refuses_client(code: &str) -> bool {
    matches!(
        code,
        "incorrect_client_credentials" | "invalid_client" | "unauthorized_client" | "unsupported_grant_type"
    )
}

/// Returns every row in its order. Among the rows of one member, those of `dialect` come first.
fn rows(dialect: &dyn Dialect) -> impl Iterator<Item = &'static Row> {
    let own = dialect.codes();
    ORDER.into_iter().flat_map(move |member| {
        let others = kinds::ALL.into_iter().map(Dialect::codes).chain([GENERAL]);
        std::iter::once(own).chain(others).flatten().filter(move |row| row.member == member)
    })
}

/// Finds the row of an error answer. Returns `None` if the answer says nothing that is known.
pub(super) fn find(dialect: &dyn Dialect, error: &ErrorAnswer, status: u16) -> Option<&'static Row> {
    let fits =
        |row: &&Row| row.is_for(status) && row.values.iter().any(|value| error.says(row.member, value));
    rows(dialect).filter(|_| is_heard(status)).find(fits)
}

#[cfg(test)]
mod tests;
