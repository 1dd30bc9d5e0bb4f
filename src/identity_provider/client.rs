//! The parties for which a provider is called: an app as its client, and the user whose credentials the app passes on.

use crate::config;
use crate::syntax::redacted::SecretText;

/// The client of an app at its provider.
#[derive(Debug, Clone)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// `client_secret`; `None` for a public client.
    pub secret: Option<config::Secret>,
    /// The parameters that the token endpoint wants beside its grants.
    pub parameters: Vec<config::TokenParameter>,
}

impl Client {
    /// Returns the client of an app.
    pub fn of(app: &config::App) -> Self {
        Self {
            id: app.client_id.clone(),
            secret: app.client_secret.clone(),
            parameters: app.token_parameters.clone(),
        }
    }

    /// Returns the secrets that are sent with its calls. A text that repeats one of them does not go into a log.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let values = self.parameters.iter().flat_map(|parameter| &parameter.values);
        let of_parameters = values.filter(|value| value.is_secret).map(|value| value.text.expose());
        self.secret.as_ref().map(config::Secret::expose).into_iter().chain(of_parameters)
    }
}

/// The credentials that a user typed into the app's login form.
#[derive(Debug)]
pub struct Credentials {
    /// The user name, as typed.
    pub username: SecretText,
    /// The password.
    pub password: SecretText,
}
