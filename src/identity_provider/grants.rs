//! The calls of an app's client to its provider: login, refresh and logout.

use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::config::{LogoutMethod, ProviderKind, RefreshApi};
use crate::identity_provider::call_error::CallError;
use crate::identity_provider::classify;
use crate::identity_provider::client::{Client, Credentials};
use crate::identity_provider::client_authentication::authenticate;
use crate::identity_provider::error_answer::ErrorAnswer;
use crate::identity_provider::form_body::Form;
use crate::identity_provider::http_client::measured;
use crate::identity_provider::outcome::{LoginError, RefreshError, RevokeError, TokenSet};
use crate::identity_provider::provider::IdentityProvider;
use crate::identity_provider::provider_answer::Answer;

/// How long a refresh's answer is read at least, from when the refresh is asked for. Never for less than a request waits: a
/// rotated refresh token would be lost with the answer.
pub const REFRESH_READ_LIMIT: Duration = Duration::from_secs(20);

impl IdentityProvider {
    /// Exchanges a user's credentials for tokens (RFC 6749 section 4.3), within `request_timeout`.
    pub async fn password_grant(
        &self,
        client: &Client,
        credentials: &Credentials,
    ) -> Result<TokenSet, LoginError> {
        let deadline = Instant::now() + self.config.request_timeout;
        let call = self.send_password_grant(client, credentials);
        let answer = match tokio::time::timeout_at(deadline, call).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(problem)) => return Err(LoginError::Unavailable(problem, None)),
            Err(_) => return Err(LoginError::Unavailable(timed_out(self.config.request_timeout), None)),
        };
        let secrets = secrets_of(client, &[&credentials.password]);
        let outcome = classify::login(&answer, &secrets);
        if matches!(outcome, Err(LoginError::InvalidCredentials(_))) {
            // A provider that answers a wrong client secret like a wrong password is found out by this line only.
            let answer = ErrorAnswer::read(&answer).describe(&answer, &secrets);
            tracing::debug!(identity_provider = self.name(), client_id = client.id, answer, "login refused");
        }
        outcome
    }

    /// Sends a password grant: what it means is not looked at.
    pub(super) async fn send_password_grant(
        &self,
        client: &Client,
        credentials: &Credentials,
    ) -> Result<Answer, String> {
        // Nothing but user name and password comes from the user.
        let mut form = Form::new()
            .field("grant_type", "password")
            .field("username", &credentials.username)
            .field("password", &credentials.password);
        if let Some(scope) = &self.config.scope {
            form = form.field("scope", scope);
        }
        self.send_grant(client, "login", form.parameters(client), self.config.request_timeout).await
    }

    /// Exchanges a refresh token for new tokens (RFC 6749 section 6, or FusionAuth's own API, which takes the old
    /// access token, too). Reads the answer for up to [`REFRESH_READ_LIMIT`], or `request_timeout` where that is longer, and never repeats the call: a caller
    /// that cannot wait so long stops waiting, but should let this run to its end.
    pub async fn refresh_grant(
        &self,
        client: &Client,
        refresh_token: &str,
        access_token: Option<&str>,
    ) -> Result<TokenSet, RefreshError> {
        let secrets = secrets_of(client, &[refresh_token, access_token.unwrap_or_default()]);
        let unavailable = |problem| RefreshError::Unavailable(problem, None);
        let with_jwt_api = self.config.kind == ProviderKind::FusionAuth { refresh_api: RefreshApi::Jwt };
        if with_jwt_api {
            let answer = self.send_jwt_refresh(refresh_token, access_token).await.map_err(unavailable)?;
            classify::jwt_refresh(&answer, &secrets)
        } else {
            let answer = self.send_refresh_grant(client, refresh_token).await.map_err(unavailable)?;
            classify::refresh(&answer, &secrets)
        }
    }

    fn refresh_read_limit(&self) -> Duration {
        REFRESH_READ_LIMIT.max(self.config.request_timeout)
    }

    /// Sends a refresh grant: what it means is not looked at.
    pub(super) async fn send_refresh_grant(
        &self,
        client: &Client,
        refresh_token: &str,
    ) -> Result<Answer, String> {
        let form = Form::new().field("grant_type", "refresh_token").field("refresh_token", refresh_token);
        self.send_grant(client, "refresh", form.parameters(client), self.refresh_read_limit()).await
    }

    /// FusionAuth's `POST /api/jwt/refresh`.
    async fn send_jwt_refresh(
        &self,
        refresh_token: &str,
        access_token: Option<&str>,
    ) -> Result<Answer, String> {
        let endpoints = self.discovery.endpoints();
        let url = endpoints.jwt_refresh.as_ref().ok_or("the refresh API's address is not known")?;
        let body = jwt_refresh_body(refresh_token, access_token)?;
        let call = self.http.post_json(url, body, self.refresh_read_limit());
        measured(self.name(), "refresh", call).await.map_err(|error| error.to_string())
    }

    async fn send_grant(
        &self,
        client: &Client,
        endpoint: &'static str,
        form: Form,
        limit: Duration,
    ) -> Result<Answer, String> {
        let endpoints = self.discovery.endpoints_with(|endpoints| endpoints.token.is_some()).await;
        let Some(url) = &endpoints.token else { return Err(self.endpoints_missing()) };
        let (form, authorization) = authenticate(self.config.client_auth, client, form);
        let call = self.http.post_form(url, authorization, form, limit);
        measured(self.name(), endpoint, call).await.map_err(|error| error.to_string())
    }

    /// Revokes a refresh token (RFC 7009, or FusionAuth's logout) or, with `logout = "end_session"`, ends the provider's
    /// session that it belongs to, within `request_timeout`. A provider without a revocation endpoint is none to fail at.
    pub async fn revoke(&self, client: &Client, refresh_token: &str) -> Result<(), RevokeError> {
        let limit = self.config.request_timeout;
        let answer = match tokio::time::timeout(limit, self.send_revocation(client, refresh_token)).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) if self.config.logout == LogoutMethod::EndSession => {
                return Err(RevokeError::Refused(String::from("no end_session_endpoint is known")));
            }
            Ok(Ok(None)) => {
                tracing::debug!(identity_provider = self.name(), "no revocation endpoint, nothing revoked");
                return Ok(());
            }
            Ok(Err(error)) => return Err(RevokeError::Unavailable(error.to_string())),
            Err(_) => return Err(RevokeError::Unavailable(timed_out(limit))),
        };
        let secrets = secrets_of(client, &[refresh_token]);
        match self.config.logout {
            LogoutMethod::Revocation => classify::revocation(&answer, &secrets),
            LogoutMethod::EndSession => classify::end_session(&answer, &secrets),
        }
    }

    pub(super) async fn send_revocation(
        &self,
        client: &Client,
        refresh_token: &str,
    ) -> Result<Option<Answer>, CallError> {
        let (method, limit) = (self.config.logout, self.config.request_timeout);
        let endpoints = self.discovery.endpoints_with(|endpoints| endpoints.logout(method).is_some()).await;
        let Some(url) = endpoints.logout(method) else {
            return match self.discovery.last_error().filter(|_| !self.discovery.is_settled()) {
                Some(error) => Err(CallError::Connection(error.to_string())),
                None => Ok(None),
            };
        };
        if matches!(self.config.kind, ProviderKind::FusionAuth { .. }) {
            let mut url = url.clone();
            url.query_pairs_mut().append_pair("global", "false").append_pair("refreshToken", refresh_token);
            let call = self.http.post_empty(&url, limit);
            return measured(self.name(), "revocation", call).await.map(Some);
        }
        let form = match method {
            LogoutMethod::Revocation => {
                Form::new().field("token", refresh_token).field("token_type_hint", "refresh_token")
            }
            // Not in OpenID Connect RP-Initiated Logout, which is for browsers: Keycloak's own way.
            LogoutMethod::EndSession => Form::new().field("refresh_token", refresh_token),
        };
        let (form, authorization): (Form, Option<HeaderValue>) =
            authenticate(self.config.revocation_client_auth, client, form);
        let call = self.http.post_form(url, authorization, form, limit);
        measured(self.name(), "revocation", call).await.map(Some)
    }
}

fn timed_out(limit: Duration) -> String {
    CallError::TimedOut(limit).to_string()
}

/// What no text for a log may repeat.
fn secrets_of<'a>(client: &'a Client, of_call: &[&'a str]) -> Vec<&'a str> {
    of_call.iter().copied().chain(client.secrets()).collect()
}

/// `{"refreshToken": .., "token": ..}`, written into a buffer that is zeroised.
fn jwt_refresh_body(refresh_token: &str, access_token: Option<&str>) -> Result<Zeroizing<Vec<u8>>, String> {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        #[serde(rename = "refreshToken")]
        refresh_token: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
    }
    let capacity = refresh_token.len().saturating_add(access_token.map_or(0, str::len)).saturating_mul(2);
    let mut json = Zeroizing::new(Vec::with_capacity(capacity.saturating_add(64)));
    let body = Body { refresh_token, token: access_token };
    serde_json::to_writer(&mut *json, &body).map_err(|error| error.to_string())?;
    Ok(json)
}
