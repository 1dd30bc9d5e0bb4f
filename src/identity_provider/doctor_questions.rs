//! The questions that `portcullis doctor` asks a live provider. None of them changes anything there.

use std::sync::Arc;

use url::Url;

use crate::access::key_set::{KeySet, KeySetError};
use crate::identity_provider::call_error::CallError;
use crate::identity_provider::client::{Client, Credentials};
use crate::identity_provider::code_row::{AtLogin, AtRefresh};
use crate::identity_provider::codes;
use crate::identity_provider::dialect::{Asked, Dialect, PAGE, Question};
use crate::identity_provider::discovery_error::DiscoveryError;
use crate::identity_provider::error_answer::{ErrorAnswer, Shape};
use crate::identity_provider::log_text::escaped;
use crate::identity_provider::outcome::RefreshError;
use crate::identity_provider::provider::IdentityProvider;
use crate::identity_provider::provider_answer::Answer;
use crate::identity_provider::{classify, token_answer};
use crate::system::explained::Explained;

/// A user name that nobody has. The probe of the password grant must not count as a failed attempt of a real user.
const NO_USER: &str = "portcullis-doctor-no-such-user";

/// A refresh token that no provider has issued.
const NO_TOKEN: &str = "portcullis-doctor-no-such-token";

/// An answer to a probe: its meaning, its form, and the provider's `Date` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed<T> {
    /// The meaning of the answer.
    pub verdict: T,
    /// The form of the answer, such as `status 400, error invalid_grant`.
    pub form: String,
    /// The `Date` header, as received.
    pub date: Option<String>,
}

/// The provider's view of the client and its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientVerdict {
    /// It refused only the refresh token.
    Accepted,
    /// It refused the client.
    Refused(String),
    /// It knows the client, but does not permit it the refresh grant.
    NoRefreshGrant(String),
    /// The answer has more than one possible meaning.
    Unclear(String),
    /// The answer is not in the words of a provider. It comes from something in front of the provider.
    NotTheProvider(String),
    /// There is no answer to judge by.
    Unavailable(Explained),
}

/// The provider's view of the client's password grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordGrantVerdict {
    /// The provider refused only the user.
    Allowed,
    /// It refused the grant.
    NotAllowed(String),
    /// It refused the scope.
    ScopeRefused(String),
    /// It refused the target of the token (RFC 8707).
    TargetRefused(String),
    /// It signed in a user that cannot exist.
    AcceptsAnyone,
    /// The answer has more than one possible meaning.
    Unclear(String),
    /// The answer is not in the words of a provider. It comes from something in front of the provider.
    NotTheProvider(String),
    /// There is no answer to judge by.
    Unavailable(Explained),
}

/// The reason why there is no JWKS to look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    /// The provider did not return one.
    #[error("{0}")]
    OfProvider(Explained),
    /// The proxy in between did not let us ask.
    #[error("{0}")]
    OfProxy(Explained),
}

/// The keys that a JWKS offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysFound {
    /// The number of keys that can be used. It is 0 if there is a `problem`.
    pub usable: usize,
    /// The algorithms or key types that the JWKS names, for a hint.
    pub offered: Vec<String>,
    /// The faults of keys that would otherwise be usable.
    pub faulty: Vec<&'static str>,
    /// The reason why no key can be used.
    pub problem: Option<String>,
}

/// A provider's answer to a question about its dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialectFinding {
    /// The provider answers as it should.
    Good(&'static str),
    /// The provider answers otherwise.
    Bad {
        /// The fault of its answer.
        problem: Explained,
        /// The remedy, if the problem does not name a better one.
        fix: &'static str,
    },
}

impl IdentityProvider {
    /// Finds the endpoints that are not configured.
    pub async fn probe_discovery(&self) -> Result<(), DiscoveryError> {
        if self.discovery.is_settled() || self.discovery.attempt().await {
            return Ok(());
        }
        self.discovery.last_error().map_or(Ok(()), Err)
    }

    /// Returns the token endpoint, the endpoint that logouts go to, and the JWKS, as far as they are known.
    pub fn known_endpoints(&self) -> [Option<Url>; 3] {
        let known = self.discovery.endpoints();
        [known.token.clone(), known.logout(self.config.logout).cloned(), known.jwks.clone()]
    }

    /// Fetches the JWKS and looks at its keys. Returns an error if there is none to look at.
    pub async fn probe_keys(&self) -> Result<Probed<KeysFound>, NoKeys> {
        let endpoints = self.discovery.endpoints();
        let no_url = || NoKeys::OfProvider(Explained::from("no jwks_uri is known"));
        let url = endpoints.jwks.as_ref().ok_or_else(no_url)?;
        let answer = self.http.get(url, self.config.request_timeout).await.map_err(|error| match error {
            error @ CallError::Proxy { .. } => NoKeys::OfProxy(error.into()),
            error => NoKeys::OfProvider(error.into()),
        })?;
        if answer.status != 200 {
            return Err(NoKeys::OfProvider(format!("status {}", answer.status).into()));
        }
        let keys = KeySet::from_jwks(answer.json(), &self.config.algorithms);
        let faulty = match &keys {
            Ok(keys) => keys.faulty().to_vec(),
            Err(KeySetError::NoUsableKey { faulty, .. }) => faulty.clone(),
            Err(KeySetError::Malformed(_)) => Vec::new(),
        };
        let verdict = KeysFound {
            faulty,
            usable: keys.as_ref().map_or(0, KeySet::len),
            offered: offered(answer.json()),
            problem: keys.err().map(|error| error.to_string()),
        };
        Ok(Probed { verdict, form: String::from("status 200"), date: answer.date })
    }

    /// Fetches the keys that JWTs are verified with. Returns an error that says why there are none.
    pub async fn probe_key_set(&self) -> Result<Arc<KeySet>, String> {
        self.probe_discovery().await.map_err(|error| error.to_string())?;
        if self.keys.fetch().await {
            return Ok(self.key_set());
        }
        Err(self.keys.last_error().unwrap_or_else(|| String::from("no key could be fetched")))
    }

    /// Tries the client's credentials by a refresh grant with a token that does not exist.
    pub async fn probe_client(&self, client: &Client) -> Probed<ClientVerdict> {
        match self.send_refresh_grant(client, NO_TOKEN).await {
            Ok(answer) => {
                probed(answer, |answer| client_verdict(self.dialect, answer, client.secret.is_some()))
            }
            Err(error) => not_probed(error.into(), ClientVerdict::Unavailable),
        }
    }

    /// Tries whether the client may use the password grant, with a user that does not exist.
    pub async fn probe_password_grant(&self, client: &Client) -> Probed<PasswordGrantVerdict> {
        let nobody = Credentials { username: NO_USER.into(), password: NO_TOKEN.into() };
        match self.send_login(client, &nobody).await {
            Ok(answer) => probed(answer, |answer| password_grant_verdict(self.dialect, answer)),
            Err(error) => not_probed(error.into(), PasswordGrantVerdict::Unavailable),
        }
    }

    /// Asks the questions of the provider's dialect.
    pub async fn probe_dialect(&self, client: &Client) -> Vec<DialectFinding> {
        let mut findings = Vec::new();
        for question in self.dialect.doctor_questions() {
            let problem = self.ask(question, client).await.err();
            let (good, bad, fix) = (question.good, question.bad, question.fix);
            findings.push(match problem {
                None => DialectFinding::Good(good),
                Some(problem) => DialectFinding::Bad { problem: problem.after(&format!("{bad}: ")), fix },
            });
        }
        findings
    }

    /// Asks one question. Returns an error if the provider does not answer as it should.
    async fn ask(&self, question: &Question, client: &Client) -> Result<(), Explained> {
        match &question.call {
            Asked::Refresh => match self.refresh_grant(client, NO_TOKEN, None).await {
                Ok(_) | Err(RefreshError::Dead(_)) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Asked::Logout { is_right, no_endpoint } => {
                let answer = self.send_logout(client, NO_TOKEN).await?;
                let answer = answer.ok_or(*no_endpoint)?;
                let error = ErrorAnswer::read(&answer);
                let said = classify::said(self.dialect, &answer, &error);
                if is_right(&said) {
                    return Ok(());
                }
                Err(if said.is_page() { Explained::from(PAGE) } else { error.describe(&answer, &[]).into() })
            }
        }
    }
}

fn probed<T>(answer: Answer, judge: impl Fn(&Answer) -> T) -> Probed<T> {
    let form = ErrorAnswer::read(&answer).describe(&answer, &[]);
    Probed { verdict: judge(&answer), form, date: answer.date }
}

fn not_probed<T>(problem: Explained, verdict: impl Fn(Explained) -> T) -> Probed<T> {
    Probed { form: problem.to_string(), verdict: verdict(problem), date: None }
}

fn client_verdict(dialect: &dyn Dialect, answer: &Answer, has_secret: bool) -> ClientVerdict {
    let error = ErrorAnswer::read(answer);
    let text = error.describe(answer, &[]);
    let row = codes::find(dialect, &error, answer.status);
    match (answer.status, error.code(), row.map(|row| row.refresh)) {
        (408 | 425 | 429 | 500.., ..) => ClientVerdict::Unavailable(text.into()),
        (_, "invalid_client" | "unauthorized_client" | "incorrect_client_credentials", _) => {
            ClientVerdict::Refused(text)
        }
        (_, "unsupported_grant_type", _) => ClientVerdict::NoRefreshGrant(text),
        // A public client can have only a wrong id, and `invalid_client` says that.
        (_, "invalid_request" | "invalid_token", _) if has_secret => ClientVerdict::Unclear(text),
        (.., Some(AtRefresh::Dead)) => ClientVerdict::Accepted,
        _ if error.shape() == Shape::Foreign => ClientVerdict::NotTheProvider(text),
        _ => ClientVerdict::Unclear(text),
    }
}

fn password_grant_verdict(dialect: &dyn Dialect, answer: &Answer) -> PasswordGrantVerdict {
    let error = ErrorAnswer::read(answer);
    let text = error.describe(answer, &[]);
    let row = codes::find(dialect, &error, answer.status);
    match (answer.status, error.code(), row.map(|row| row.login)) {
        (200 | 201, ..) if token_answer::parse(answer.json()).is_ok() => PasswordGrantVerdict::AcceptsAnyone,
        (408 | 425 | 429 | 500.., ..) => PasswordGrantVerdict::Unavailable(text.into()),
        (_, "invalid_scope" | "not_allowed", _) => PasswordGrantVerdict::ScopeRefused(text),
        (_, "invalid_target" | "invalid_resource", _) => PasswordGrantVerdict::TargetRefused(text),
        (_, "unauthorized_client" | "unsupported_grant_type", _) => PasswordGrantVerdict::NotAllowed(text),
        (.., Some(AtLogin::Operator)) if row.is_some_and(classify::is_by_reason) => {
            PasswordGrantVerdict::NotAllowed(text)
        }
        (_, "invalid_request", _) => PasswordGrantVerdict::Unclear(text),
        (.., Some(AtLogin::WrongPassword)) => PasswordGrantVerdict::Allowed,
        (401 | 403, ..) if error.shape() == Shape::Bare => PasswordGrantVerdict::Allowed,
        _ if error.shape() == Shape::Foreign => PasswordGrantVerdict::NotTheProvider(text),
        _ => PasswordGrantVerdict::Unclear(text),
    }
}

/// Lists the algorithms or key types of the signature keys in a JWKS.
fn offered(json: &[u8]) -> Vec<String> {
    let document: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let keys = document.get("keys").and_then(serde_json::Value::as_array).map(Vec::as_slice);
    let member = |key: &serde_json::Value, name| key.get(name)?.as_str().map(escaped);
    let mut offered: Vec<String> = keys
        .unwrap_or_default()
        .iter()
        .filter(|key| member(key, "use").is_none_or(|purpose| purpose == "sig"))
        .filter_map(|key| member(key, "alg").or_else(|| member(key, "crv")).or_else(|| member(key, "kty")))
        .take(20)
        .collect();
    offered.sort();
    offered.dedup();
    offered
}

#[cfg(test)]
mod tests;
