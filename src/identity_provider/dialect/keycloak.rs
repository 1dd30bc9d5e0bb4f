//! `logout = "end_session"`: a logout sends the refresh token to the provider, which ends its own session and tells the
//! other clients of that session. Keycloak works like this. Everything else follows the standards.

use url::Url;

use crate::identity_provider::code_row::Member::Description;
use crate::identity_provider::code_row::{AtLogout, Row, row};
use crate::identity_provider::dialect::{Asked, Body, Dialect, LogoutBlame, PAGE, Question, Said};
use crate::identity_provider::form_body::Form;
use crate::identity_provider::metadata_url;
use crate::identity_provider::outcome::ChallengeKind::AccountAction;

/// Keycloak, if a logout also ends the session at Keycloak.
#[derive(Debug)]
pub(in crate::identity_provider) struct Keycloak;

const CODES: &[Row] =
    &[row(Description, &["invalid_grant: Account is not fully set up"], "Keycloak: a required action")
        .step(AccountAction)];

const QUESTIONS: &[Question] = &[Question {
    call: Asked::Logout {
        is_right: |said| {
            matches!((said.status, said.error.code()), (204, _) | (400, "invalid_grant" | "invalid_token"))
        },
        no_endpoint: "no end_session_endpoint is known",
    },
    good: "the provider ends sessions by refresh tokens",
    bad: "the end_session_endpoint does not seem to take refresh tokens",
    fix: "only Keycloak is known to do so; write `logout = \"revocation\"` for others",
}];

impl Dialect for Keycloak {
    fn metadata(&self, issuer: &Url) -> Vec<Url> {
        metadata_url::well_known(issuer)
    }

    /// OpenID Connect RP-Initiated Logout does not define this request. It only defines logouts through a browser.
    fn revoke<'a>(&self, refresh_token: &'a str) -> Body<'a> {
        Body::Form(Form::new().field("refresh_token", refresh_token))
    }

    /// Keycloak answers 204, also if the session had ended before. A provider that answers with an HTML page expects a
    /// browser, and does not end sessions by refresh tokens.
    fn blame_logout(&self, said: &Said<'_>) -> LogoutBlame {
        LogoutBlame::from(match said.row {
            _ if said.is_page() && matches!(said.status, 200..=299) => {
                return LogoutBlame { meaning: AtLogout::Refused, words: Some(PAGE) };
            }
            Some(Row { logout: AtLogout::Passing, .. }) => AtLogout::Passing,
            Some(_) => AtLogout::Refused,
            None if matches!(said.status, 200..=299) => AtLogout::Done,
            None if said.is_final() => AtLogout::Refused,
            None => AtLogout::Passing,
        })
    }

    fn codes(&self) -> &'static [Row] {
        CODES
    }

    fn wrong_password(&self) -> Option<&'static str> {
        Some("Invalid user credentials")
    }

    fn doctor_questions(&self) -> &'static [Question] {
        QUESTIONS
    }
}
