//! The body of an error answer (RFC 6749 section 5.2), with FusionAuth's and Keycloak's additions.

use serde_json::{Map, Value};

use super::ChallengeKind;
use super::classify::Blame;
use super::http::Answer;
use super::log_text::excerpt;

/// Keycloak's only sign that a user has a required action or an incomplete profile: its `error` is `invalid_grant`,
/// as for a wrong password, and it says this only after a right one. No other free text is looked at.
const KEYCLOAK_ACTION_REQUIRED: &str = "Account is not fully set up";

/// The most that is passed on of a challenge, in bytes of JSON.
const MAX_CHALLENGE: usize = 8 * 1024;

/// What matters of an error answer; empty if the body is empty or not a JSON object.
#[derive(Default)]
pub(super) struct ErrorAnswer {
    members: Map<String, Value>,
}

impl ErrorAnswer {
    /// Reads whatever there is.
    pub(super) fn read(answer: &Answer) -> Self {
        match serde_json::from_slice(&answer.body) {
            Ok(Value::Object(members)) => Self { members },
            _ => Self::default(),
        }
    }

    /// `error`, or nothing.
    pub(super) fn code(&self) -> &str {
        self.text("error")
    }

    /// FusionAuth's `error_reason`, or nothing.
    fn reason(&self) -> &str {
        self.text("error_reason")
    }

    /// FusionAuth: the application does not enable the grant.
    pub(super) fn is_grant_disabled(&self) -> bool {
        self.reason() == "grant_type_disabled"
    }

    fn text(&self, name: &str) -> &str {
        self.members.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whose fault it is, where a known code says so. FusionAuth's reason is more precise than its code.
    pub(super) fn blame(&self) -> Option<Blame> {
        match self.reason() {
            "invalid_user_credentials"
            | "user_locked"
            | "user_expired"
            | "user_not_found"
            | "login_prevented"
            | "refresh_token_not_found" => return Some(Blame::User),
            "grant_type_disabled" | "invalid_client_id" | "refresh_token_type_not_supported" => {
                return Some(Blame::Operator);
            }
            _ => {}
        }
        match self.code() {
            "invalid_grant" | "invalid_request" | "invalid_token" | "expired_token" => Some(Blame::User),
            // `not_allowed`: Keycloak, offline access; `access_denied`: Keycloak, a disabled realm.
            "invalid_client"
            | "unauthorized_client"
            | "unsupported_grant_type"
            | "invalid_scope"
            | "invalid_target"
            | "access_denied"
            | "not_allowed"
            | "not_licensed" => Some(Blame::Operator),
            "temporarily_unavailable" | "server_error" | "slow_down" => Some(Blame::Provider),
            _ => None,
        }
    }

    /// The step that the provider wants, if that is what it says, and what the app needs to know for it.
    pub(super) fn challenge(&self) -> Option<(ChallengeKind, Value)> {
        let kind = self.challenge_kind()?;
        let mut members = Map::new();
        // Chosen one by one: an answer may hold what is not for the browser, such as a token.
        for name in ["two_factor_id", "two_factor_methods", "change_password_id"] {
            if let Some(value) = self.members.get(name) {
                members.insert(name.to_owned(), value.clone());
            }
        }
        if challenge_of_reason(self.reason()).is_some() {
            members.insert(String::from("reason"), Value::from(self.reason()));
        }
        let value = Value::Object(members);
        let fits = value.to_string().len() <= MAX_CHALLENGE;
        Some((kind, if fits { value } else { Value::Object(Map::new()) }))
    }

    fn challenge_kind(&self) -> Option<ChallengeKind> {
        let by_code = match self.code() {
            "two_factor_required" | "mfa_required" => Some(ChallengeKind::TwoFactor),
            "change_password_required" => Some(ChallengeKind::PasswordChange),
            "invalid_grant" if self.text("error_description") == KEYCLOAK_ACTION_REQUIRED => {
                Some(ChallengeKind::AccountAction)
            }
            code => challenge_of_reason(code),
        };
        by_code.or_else(|| challenge_of_reason(self.reason()))
    }

    /// The answer in one line for the log.
    pub(super) fn describe(&self, status: u16, secrets: &[&str]) -> String {
        let mut line = format!("status {status}");
        for name in ["error", "error_reason", "error_description"] {
            let text = self.text(name);
            if !text.is_empty() {
                line.push_str(", ");
                line.push_str(name);
                line.push(' ');
                line.push_str(&excerpt(text, secrets));
            }
        }
        line
    }
}

/// FusionAuth's `error_reason` values that want another step of the user.
fn challenge_of_reason(reason: &str) -> Option<ChallengeKind> {
    match reason {
        "multi_factor_challenge_required" => Some(ChallengeKind::TwoFactor),
        "change_password_administrative"
        | "change_password_breached"
        | "change_password_expired"
        | "change_password_validation" => Some(ChallengeKind::PasswordChange),
        "email_verification_required"
        | "registration_required"
        | "registration_missing_requirement"
        | "registration_verification_required" => Some(ChallengeKind::AccountAction),
        _ => None,
    }
}
