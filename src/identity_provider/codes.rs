//! What providers mean by their codes, at a login, at a refresh and at a logout: one table, since a code has several
//! authors. `docs/behaviour.md` has the same table for people; a test compares the two.
//!
//! The rows go from what is precise to what is general, and the first one that fits counts. A code that is in no row says
//! nothing that is known, and so ends no session.

use crate::identity_provider::error_answer::ErrorAnswer;
use crate::identity_provider::outcome::ChallengeKind::{self, AccountAction, PasswordChange, TwoFactor};
use AtLogout::{Done, Refused};
use AtRefresh::{Dead, Operator, Passing};
use Member::{Code, Description, Number, Reason, Subcode};

/// Where in an error answer a row's values stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    /// `error` (RFC 6749 section 5.2).
    Code,
    /// `error` and the whole `error_description`, as `CODE: DESCRIPTION`. Only where nothing else tells.
    Description,
    /// FusionAuth's `error_reason`.
    Reason,
    /// Entra's `error_codes`, any of them.
    Number,
    /// Entra's `suberror`, Google's `error_subtype`.
    Subcode,
}

/// What a row means where a password was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtLogin {
    /// It, the user name, or the account is not good; counted as a guess.
    WrongPassword,
    /// It was right, and another step is wanted.
    Step(ChallengeKind),
    /// This account, or this gateway, has asked too often.
    TooMany,
    /// The client, or what it may do, is set up wrongly here or there.
    Operator,
    /// Nothing about the user: it passes.
    Passing,
}

/// What a row means where a refresh token was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtRefresh {
    /// It gives nothing any more: the session ends.
    Dead,
    /// It is good, and the user has to do something first.
    Step(ChallengeKind),
    /// As at a login; the session is kept.
    Operator,
    /// As at a login; the session is kept.
    Passing,
}

/// What a row means where a refresh token was to be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtLogout {
    /// There is nothing more to revoke.
    Done,
    /// It will not be revoked: asking again would change nothing.
    Refused,
    /// It may be later.
    Passing,
}

/// Values that mean the same.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) member: Member,
    pub(super) values: &'static [&'static str],
    /// Only with these; empty: with all by which a provider speaks.
    pub(super) statuses: &'static [u16],
    pub(super) login: AtLogin,
    pub(super) refresh: AtRefresh,
    pub(super) logout: AtLogout,
    /// Who is known to mean it so.
    pub(super) by: &'static str,
}

const fn row(member: Member, values: &'static [&'static str], by: &'static str) -> Row {
    Row {
        member,
        values,
        statuses: &[],
        login: AtLogin::Passing,
        refresh: AtRefresh::Passing,
        logout: AtLogout::Passing,
        by,
    }
}

impl Row {
    /// The password was right, and the refresh token is: something else is wanted first.
    const fn step(self, kind: ChallengeKind) -> Self {
        let Self { member, values, by, .. } = self;
        Self { login: AtLogin::Step(kind), refresh: AtRefresh::Step(kind), ..row(member, values, by) }
    }

    /// Nobody's fault but the operator's.
    const fn operator(self) -> Self {
        let Self { member, values, by, statuses, .. } = self;
        Self {
            statuses,
            login: AtLogin::Operator,
            refresh: AtRefresh::Operator,
            logout: AtLogout::Refused,
            ..row(member, values, by)
        }
    }

    /// A definite no to a password, and this to a refresh token.
    const fn wrong(self, refresh: AtRefresh, logout: AtLogout) -> Self {
        let Self { member, values, by, statuses, .. } = self;
        Self { statuses, login: AtLogin::WrongPassword, refresh, logout, ..row(member, values, by) }
    }

    /// A dead refresh token.
    const fn dead(self) -> Self {
        self.wrong(AtRefresh::Dead, AtLogout::Done)
    }

    const fn too_many(self) -> Self {
        let Self { member, values, by, .. } = self;
        Self { login: AtLogin::TooMany, ..row(member, values, by) }
    }

    /// Nothing more can be done at a logout.
    const fn logout_is_done(self) -> Self {
        Self { logout: Done, ..self.operator() }
    }

    /// Whether it counts with this status.
    fn is_for(&self, status: u16) -> bool {
        self.statuses.is_empty() || self.statuses.contains(&status)
    }

    const fn with(self, statuses: &'static [u16]) -> Self {
        let Self { member, values, by, .. } = self;
        Self { statuses, ..row(member, values, by) }
    }
}

/// The table.
pub(super) const TABLE: &[Row] = &[
    row(
        Reason,
        &["invalid_user_credentials", "login_prevented", "user_expired", "user_locked", "user_not_found"],
        "FusionAuth",
    )
    .wrong(Dead, Refused),
    row(Reason, &["refresh_token_not_found"], "FusionAuth").dead(),
    row(Reason, &["multi_factor_challenge_required"], "FusionAuth").step(TwoFactor),
    row(
        Reason,
        &[
            "change_password_administrative",
            "change_password_breached",
            "change_password_expired",
            "change_password_validation",
        ],
        "FusionAuth",
    )
    .step(PasswordChange),
    row(
        Reason,
        &[
            "email_verification_required",
            "registration_missing_requirement",
            "registration_required",
            "registration_verification_required",
        ],
        "FusionAuth",
    )
    .step(AccountAction),
    row(
        Reason,
        &["grant_type_disabled", "invalid_client_id", "refresh_token_type_not_supported"],
        "FusionAuth",
    )
    .operator(),
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
    row(Description, &["invalid_grant: Account is not fully set up"], "Keycloak: a required action")
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

/// Whether a code that comes with this status is the provider's word. Beside the 4xx it is 200, which some answer to
/// everything (and 201, which some frameworks answer to every POST). 408, 425, 429 and 5xx pass by themselves, whatever
/// comes with them.
pub(super) const fn is_heard(status: u16) -> bool {
    matches!(status, 200 | 201 | 400..=499) && !matches!(status, 408 | 425 | 429)
}

/// What an error answer means; `None`: nothing that is known.
pub(super) fn find(error: &ErrorAnswer, status: u16) -> Option<&'static Row> {
    let fits =
        |row: &&Row| row.is_for(status) && row.values.iter().any(|value| error.says(row.member, value));
    TABLE.iter().filter(|_| is_heard(status)).find(fits)
}

#[cfg(test)]
mod tests;
