//! The dialect of an identity provider: everything in which one kind of provider differs from another.
//!
//! The defaults of [`Dialect`] follow the standards (RFC 6749, RFC 7009). Each file below has the differences of one
//! kind of provider, and `kinds` lists them all. A dialect says only what to send and what an answer means. It makes no
//! connection.

mod fusionauth;
mod keycloak;
pub(super) mod kinds;
mod oauth2;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

use url::Url;
use zeroize::Zeroizing;

use crate::config;
use crate::identity_provider::client::Credentials;
use crate::identity_provider::code_row::{AtLogin, AtLogout, AtRefresh, Row};
use crate::identity_provider::endpoints::Endpoints;
use crate::identity_provider::error_answer::{ErrorAnswer, Shape};
use crate::identity_provider::form_body::Form;
use crate::identity_provider::not_ready::SetupError;
use crate::identity_provider::outcome::TokenSet;
use crate::identity_provider::provider_answer::is_wrong_url;
use crate::identity_provider::token_answer;
use crate::identity_provider::webhook::Webhook;

/// One kind of provider.
pub(super) trait Dialect: Debug + Send + Sync {
    /// Returns the endpoints that are known without a call: the configured ones, and those that follow from them.
    fn endpoints(
        &self,
        _config: &config::IdentityProvider,
        configured: Endpoints,
    ) -> Result<Endpoints, SetupError> {
        Ok(configured)
    }

    /// Returns the metadata documents of this issuer, in the order in which they are asked for. If there are none,
    /// there is no discovery.
    fn metadata(&self, _issuer: &Url) -> Vec<Url> {
        Vec::new()
    }

    /// Returns the body that signs a user in at the token endpoint (RFC 6749 section 4.3).
    fn login<'a>(&self, credentials: &'a Credentials, scope: Option<&'a str>) -> Body<'a> {
        // Only the user name and the password come from the user.
        let form = Form::new()
            .field("grant_type", "password")
            .field("username", &credentials.username)
            .field("password", &credentials.password);
        Body::Form(match scope {
            Some(scope) => form.field("scope", scope),
            None => form,
        })
    }

    /// Returns the endpoint that refreshes go to.
    fn refresh_endpoint<'a>(&self, endpoints: &'a Endpoints) -> Option<&'a Url> {
        endpoints.token.as_ref()
    }

    /// Returns the body that exchanges a refresh token for new tokens (RFC 6749 section 6). `access_token` is the old
    /// one, if it is known.
    fn refresh<'a>(&self, refresh_token: &'a str, _access_token: Option<&'a str>) -> Body<'a> {
        Body::Form(refresh_grant(refresh_token))
    }

    /// Returns the body that a logout sends to its endpoint (RFC 7009 section 2.1).
    fn revoke<'a>(&self, refresh_token: &'a str) -> Body<'a> {
        Body::Form(Form::new().field("token", refresh_token).field("token_type_hint", "refresh_token"))
    }

    /// Reads the tokens of a successful refresh. An error says what is wrong with the answer, without any of its
    /// content.
    fn read_refresh(&self, json: &[u8]) -> Result<TokenSet, &'static str> {
        token_answer::parse(json)
    }

    /// Returns the codes that only this kind has. They count for every provider, but a provider of this kind looks at
    /// them first.
    fn codes(&self) -> &'static [Row] {
        &[]
    }

    /// Returns the meaning of an answer without tokens to a login.
    fn blame_login(&self, said: &Said<'_>) -> AtLogin {
        match said.row {
            _ if said.status == 429 => AtLogin::TooMany,
            Some(row) => row.login,
            None if said.is_bare() && matches!(said.status, 400 | 401 | 403) => AtLogin::WrongPassword,
            None if is_wrong_url(said.status) => AtLogin::Operator,
            None => AtLogin::Passing,
        }
    }

    /// Tells whether an answer without a known code is this kind's documented "no" to a refresh token.
    fn refuses_refresh_token(&self, said: &Said<'_>) -> bool {
        said.status == 400 && said.is_bare()
    }

    /// Returns the meaning of an answer without tokens to a refresh.
    fn blame_refresh(&self, said: &Said<'_>) -> AtRefresh {
        match said.row {
            Some(row) => row.refresh,
            None if self.refuses_refresh_token(said) => AtRefresh::Dead,
            None if is_wrong_url(said.status) => AtRefresh::Operator,
            None => AtRefresh::Passing,
        }
    }

    /// Returns the meaning of an answer to a revocation. A 2xx is a success with any body (RFC 7009 section 2.2),
    /// except if a code says otherwise. If the provider cannot revoke this kind of token, nothing more can be done.
    /// After an unclear answer, the call is tried again.
    fn blame_logout(&self, said: &Said<'_>) -> LogoutBlame {
        LogoutBlame::from(match said.row {
            Some(row) => row.logout,
            None if matches!(said.status, 200..=299) => AtLogout::Done,
            None if said.is_final() => AtLogout::Refused,
            None => AtLogout::Passing,
        })
    }

    /// Returns the provider's words for a plain wrong password. They say no more than the reason code.
    fn wrong_password(&self) -> Option<&'static str> {
        None
    }

    /// Returns the members of an error answer that the next step of a login needs. They are passed on for every
    /// provider.
    fn challenge(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the questions that `portcullis doctor` asks a provider of this kind, besides the two grants.
    fn doctor_questions(&self) -> &'static [Question] {
        &[]
    }

    /// Returns the reading of what its webhook sends to an app of this client. `None`: it sends nothing.
    fn webhook(
        &self,
        _settings: &config::Webhook,
        _client_id: &str,
        _provider: &config::IdentityProvider,
    ) -> Option<Box<dyn Webhook>> {
        None
    }
}

/// Returns the form of the refresh grant (RFC 6749 section 6).
pub(super) fn refresh_grant(refresh_token: &str) -> Form {
    Form::new().field("grant_type", "refresh_token").field("refresh_token", refresh_token)
}

/// Words for an answer that is made for a browser.
pub(super) const PAGE: &str = "the answer is a page for a browser";

/// The body of a call, and how the client proves who it is.
pub(super) enum Body<'a> {
    /// A form, with the client's authentication. A grant also has the client's own parameters.
    Form(Form),
    /// A JSON text. It has no authentication of the client.
    Json(Zeroizing<Vec<u8>>),
    /// No body: everything is in the query. It has no authentication of the client.
    Query(Vec<(&'static str, &'a str)>),
}

/// The content of an answer without tokens.
pub(super) struct Said<'a> {
    /// The status code.
    pub(super) status: u16,
    /// The media type, as in [`Answer`](crate::identity_provider::provider_answer::Answer).
    pub(super) media_type: &'a str,
    /// The body's members, and the shape of the body.
    pub(super) error: &'a ErrorAnswer,
    /// The row of its code, if it has a known one.
    pub(super) row: Option<&'static Row>,
}

impl Said<'_> {
    /// Tells whether the answer says nothing except its status.
    pub(super) fn is_bare(&self) -> bool {
        self.error.shape() == Shape::Bare
    }

    /// Tells whether a revocation without a known code is refused for good, by the provider's own bare answer or by a
    /// wrong URL.
    pub(super) fn is_final(&self) -> bool {
        is_wrong_url(self.status) || (self.is_bare() && matches!(self.status, 400 | 401 | 403))
    }

    /// Tells whether the answer is made for a browser.
    pub(super) fn is_page(&self) -> bool {
        self.media_type == "text/html"
    }
}

/// The meaning of an answer to a logout.
pub(super) struct LogoutBlame {
    /// The meaning.
    pub(super) meaning: AtLogout,
    /// Words for the log that say more than the answer's own words.
    pub(super) words: Option<&'static str>,
}

impl From<AtLogout> for LogoutBlame {
    fn from(meaning: AtLogout) -> Self {
        Self { meaning, words: None }
    }
}

/// A question of `portcullis doctor`: a call with a refresh token that does not exist.
pub(super) struct Question {
    /// The call.
    pub(super) call: Asked,
    /// The finding if the answer is as it should be.
    pub(super) good: &'static str,
    /// The words that come before the fault of the answer.
    pub(super) bad: &'static str,
    /// The operator's remedy.
    pub(super) fix: &'static str,
}

/// The call of a [`Question`].
pub(super) enum Asked {
    /// A refresh. The right answer is that the token is dead.
    Refresh,
    /// A logout, with the answers that are right. `no_endpoint` is the finding if there is no endpoint for it.
    Logout { is_right: fn(&Said<'_>) -> bool, no_endpoint: &'static str },
}
