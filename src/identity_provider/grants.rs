//! The calls of an app's client to its provider: login, refresh and logout.

use std::time::Duration;

use url::Url;

use crate::config::{ClientAuthentication, LogoutMethod};
use crate::identity_provider::call_error::CallError;
use crate::identity_provider::classify;
use crate::identity_provider::client::{Client, Credentials};
use crate::identity_provider::client_authentication::authenticate;
use crate::identity_provider::dialect::{Body, refresh_grant};
use crate::identity_provider::error_answer::ErrorAnswer;
use crate::identity_provider::http_client::measured;
use crate::identity_provider::outcome::{LoginError, RefreshError, RevokeError, TokenSet};
use crate::identity_provider::provider::IdentityProvider;
use crate::identity_provider::provider_answer::Answer;

impl IdentityProvider {
    /// Exchanges a user's credentials for tokens (RFC 6749 section 4.3), within `request_timeout`.
    pub async fn password_grant(
        &self,
        client: &Client,
        credentials: &Credentials,
    ) -> Result<TokenSet, LoginError> {
        let limit = self.config.request_timeout;
        let unavailable = |error: CallError| LoginError::Unavailable(error.into(), None);
        let answer = match tokio::time::timeout(limit, self.send_login(client, credentials)).await {
            Ok(answer) => answer.map_err(unavailable)?,
            Err(_) => return Err(unavailable(CallError::TimedOut(limit))),
        };
        let secrets = secrets_of(client, &[&credentials.password]);
        let outcome = classify::login(self.dialect, &answer, &secrets);
        if matches!(outcome, Err(LoginError::InvalidCredentials(_))) {
            // If a provider answers a wrong client secret like a wrong password, only this line shows it.
            let answer = ErrorAnswer::read(&answer).describe(&answer, &secrets);
            tracing::debug!(identity_provider = self.name(), client_id = client.id, answer, "login refused");
        }
        outcome
    }

    /// Sends a login, without reading the meaning of the answer.
    pub(super) async fn send_login(
        &self,
        client: &Client,
        credentials: &Credentials,
    ) -> Result<Answer, CallError> {
        let endpoints = self.discovery.endpoints_with(|endpoints| endpoints.token.is_some()).await;
        let url = endpoints.token.as_ref().ok_or_else(|| self.no_endpoint())?;
        let body = self.dialect.login(credentials, self.config.scope.as_deref());
        self.send_grant("login", url, client, body, self.config.request_timeout).await
    }

    /// Exchanges a refresh token for new tokens. Some providers also take the old access token. Reads the answer for up
    /// to [`REFRESH_READ_LIMIT`](crate::config::REFRESH_READ_LIMIT), or for up to `request_timeout` if that is longer.
    /// Never repeats the call. A caller that cannot wait so long may stop waiting, but should let this run to its end.
    pub async fn refresh_grant(
        &self,
        client: &Client,
        refresh_token: &str,
        access_token: Option<&str>,
    ) -> Result<TokenSet, RefreshError> {
        let secrets = secrets_of(client, &[refresh_token, access_token.unwrap_or_default()]);
        let answer = self.send_refresh(client, refresh_token, access_token).await;
        let answer = answer.map_err(|error| {
            let fate = error.token_fate();
            RefreshError::Unavailable(error.into(), None, fate)
        })?;
        classify::refresh(self.dialect, &answer, &secrets)
    }

    /// Sends a refresh, without reading the meaning of the answer.
    pub(super) async fn send_refresh(
        &self,
        client: &Client,
        refresh_token: &str,
        access_token: Option<&str>,
    ) -> Result<Answer, CallError> {
        let dialect = self.dialect;
        let endpoints =
            self.discovery.endpoints_with(|endpoints| dialect.refresh_endpoint(endpoints).is_some()).await;
        let url = dialect.refresh_endpoint(&endpoints).ok_or_else(|| self.no_endpoint())?;
        let body = dialect.refresh(refresh_token, access_token);
        self.send_grant("refresh", url, client, body, self.config.refresh_read_limit()).await
    }

    /// Sends the refresh grant, even if this provider refreshes in another way. The refresh grant authenticates the
    /// client.
    pub(super) async fn send_refresh_grant(
        &self,
        client: &Client,
        refresh_token: &str,
    ) -> Result<Answer, CallError> {
        let endpoints = self.discovery.endpoints_with(|endpoints| endpoints.token.is_some()).await;
        let url = endpoints.token.as_ref().ok_or_else(|| self.no_endpoint())?;
        let body = Body::Form(refresh_grant(refresh_token));
        self.send_grant("refresh", url, client, body, self.config.refresh_read_limit()).await
    }

    async fn send_grant(
        &self,
        purpose: &'static str,
        url: &Url,
        client: &Client,
        body: Body<'_>,
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let body = match body {
            Body::Form(form) => Body::Form(form.parameters(client)),
            other => other,
        };
        self.send(purpose, url, (client, self.config.client_auth), body, limit).await
    }

    /// Revokes a refresh token (RFC 7009, or the provider's own way), within `request_timeout`. If the
    /// configuration says `logout = "end_session"`, ends the token's session at the provider instead. It is not an
    /// error if the provider has no revocation endpoint.
    pub async fn revoke(&self, client: &Client, refresh_token: &str) -> Result<(), RevokeError> {
        let limit = self.config.request_timeout;
        let answer = match tokio::time::timeout(limit, self.send_logout(client, refresh_token)).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) if self.config.logout == LogoutMethod::EndSession => {
                return Err(RevokeError::Refused(String::from("no end_session_endpoint is known")));
            }
            Ok(Ok(None)) => {
                tracing::debug!(identity_provider = self.name(), "no revocation endpoint, nothing revoked");
                return Ok(());
            }
            Ok(Err(error)) => return Err(RevokeError::Unavailable(error.into())),
            Err(_) => return Err(RevokeError::Unavailable(CallError::TimedOut(limit).into())),
        };
        classify::logout(self.dialect, &answer, &secrets_of(client, &[refresh_token]))
    }

    /// Sends a logout, without reading the meaning of the answer. Returns `None` if there is no endpoint for it.
    pub(super) async fn send_logout(
        &self,
        client: &Client,
        refresh_token: &str,
    ) -> Result<Option<Answer>, CallError> {
        let method = self.config.logout;
        let endpoints = self.discovery.endpoints_with(|endpoints| endpoints.logout(method).is_some()).await;
        let Some(url) = endpoints.logout(method) else {
            return match self.discovery.last_error().filter(|_| !self.discovery.is_settled()) {
                Some(error) => Err(CallError::NotConnected(error.into())),
                None => Ok(None),
            };
        };
        let body = self.dialect.revoke(refresh_token);
        let authentication = (client, self.config.revocation_client_auth);
        self.send("revocation", url, authentication, body, self.config.request_timeout).await.map(Some)
    }

    async fn send(
        &self,
        purpose: &'static str,
        url: &Url,
        (client, method): (&Client, ClientAuthentication),
        body: Body<'_>,
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let call = async {
            match body {
                Body::Form(form) => {
                    let (form, authorization) = authenticate(method, client, form);
                    self.http.post_form(url, authorization, form, limit).await
                }
                Body::Json(json) => self.http.post_json(url, json, limit).await,
                Body::Query(pairs) => self.http.post_query(url, &pairs, limit).await,
            }
        };
        measured(self.name(), purpose, call).await
    }

    fn no_endpoint(&self) -> CallError {
        CallError::NoEndpoint(self.endpoints_missing())
    }
}

/// Collects the secrets that no text for a log may repeat.
fn secrets_of<'a>(client: &'a Client, of_call: &[&'a str]) -> Vec<&'a str> {
    of_call.iter().copied().chain(client.secrets()).collect()
}
