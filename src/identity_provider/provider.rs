//! The identity provider at run time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::sync::watch;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::access::key_set::KeySet;
use crate::config::{self, LogoutMethod, ProviderKind, RefreshApi};
use crate::identity_provider::call_error::CallError;
use crate::identity_provider::classify;
use crate::identity_provider::client::{Client, Credentials};
use crate::identity_provider::client_authentication::authenticate;
use crate::identity_provider::discovery::Discovery;
use crate::identity_provider::error_answer::ErrorAnswer;
use crate::identity_provider::form_body::Form;
use crate::identity_provider::http_client::{HttpClient, measured};
use crate::identity_provider::jwks::KeyStore;
use crate::identity_provider::jwks_backoff::{Pauses, UnknownKeySource};
use crate::identity_provider::not_ready::{NotReady, SetupError};
use crate::identity_provider::outcome::{LoginError, RefreshError, RevokeError, TokenSet};
use crate::identity_provider::provider_answer::Answer;

/// How long a refresh's answer is read at least, from when the refresh is asked for. Never for less than a request waits: a
/// rotated refresh token would be lost with the answer.
pub const REFRESH_READ_LIMIT: Duration = Duration::from_secs(20);

/// Seconds between two warnings of a clock that differs: each login and refresh would give one.
const CLOCK_WARNINGS: u64 = 300;

/// One identity provider at run time.
#[derive(Debug)]
pub struct IdentityProvider {
    pub(super) config: config::IdentityProvider,
    pub(super) http: HttpClient,
    pub(super) discovery: Arc<Discovery>,
    pub(super) keys: Arc<KeyStore>,
    /// Unix seconds; 0: never.
    warned_of_clock: AtomicU64,
}

impl IdentityProvider {
    /// Prepares the provider; makes no connection.
    pub fn new(config: &config::IdentityProvider) -> Result<Self, SetupError> {
        let http = HttpClient::new(config).map_err(SetupError::HttpClient)?;
        let discovery = Arc::new(Discovery::new(config, http.clone())?);
        let keys = Arc::new(KeyStore::new(config, http.clone(), Arc::clone(&discovery)));
        Ok(Self { config: config.clone(), http, discovery, keys, warned_of_clock: AtomicU64::new(0) })
    }

    /// The same, with what is known of the issuer from before, as far as the settings that it follows from are the same: so a
    /// change of something else serves on with the keys though the provider cannot be reached. Asked for anew all the same.
    pub fn following(config: &config::IdentityProvider, before: Option<&Self>) -> Result<Self, SetupError> {
        let provider = Self::new(config)?;
        if let Some(before) = before.filter(|before| before.config.issuer == config.issuer) {
            provider.discovery.take_over(&before.discovery);
            provider.keys.take_over(&before.keys);
        }
        Ok(provider)
    }

    /// The name of its table in the configuration.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The keys known now: no I/O, no lock.
    pub fn key_set(&self) -> Arc<KeySet> {
        self.keys.current()
    }

    /// Grows by one each time the keys really change, just after they have. Who remembers what a key has verified
    /// reads this before [`key_set`](Self::key_set), never after it.
    pub fn key_set_generation(&self) -> u64 {
        self.keys.generation()
    }

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

    /// Fetches the JWKS because a key is missing: at most once per cool-down of `source`. Callers share a fetch that
    /// is under way. Returns whether a fetch succeeded; it is worth looking at the keys again then.
    pub async fn fetch_unknown_key(&self, source: UnknownKeySource) -> bool {
        self.keys.fetch_limited(source).await
    }

    /// Verifies something with the keys known now, and, if it names an unknown key, once more with freshly fetched ones.
    pub async fn with_keys<T, E>(
        &self,
        source: UnknownKeySource,
        is_unknown_key: impl Fn(&E) -> bool,
        verify: impl Fn(&KeySet) -> Result<T, E>,
    ) -> Result<T, E> {
        match verify(&self.key_set()) {
            Err(error) if is_unknown_key(&error) && self.fetch_unknown_key(source).await => {
                verify(&self.key_set())
            }
            result => result,
        }
    }

    /// The background task: finds the endpoints, fetches the JWKS at start and every `jwks_refresh`, and tries again
    /// with growing pauses while something is missing. Ends when `shutdown` turns true or its sender is gone.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let mut pauses = Pauses::default();
        loop {
            let succeeded = tokio::select! {
                () = stopped(&mut shutdown) => return,
                succeeded = self.renew() => succeeded,
            };
            let wait = if succeeded {
                pauses = Pauses::default();
                self.config.jwks_refresh
            } else {
                pauses.after_failure().min(self.config.jwks_refresh)
            };
            tokio::select! {
                () = stopped(&mut shutdown) => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Finds the endpoints and fetches the JWKS, once. Whether the provider can be used then.
    pub async fn prepare(&self) -> bool {
        self.renew().await || self.readiness().is_ok()
    }

    /// One round of the background task.
    async fn renew(&self) -> bool {
        // Where only the endpoint for logouts is missing, each logout asks for it, too: there is no hurry here.
        let discovered =
            self.discovery.is_settled() || self.discovery.attempt().await || self.discovery.is_complete();
        let fetched = self.keys.is_fixed() || {
            // Without an address there is nothing to fetch, and discovery has just said why.
            let known = self.discovery.endpoints().jwks.is_some();
            known && self.keys.fetch().await
        };
        discovered && fetched
    }

    /// Whether the provider can be used: the endpoints are known and there are keys. Its last answers do not matter.
    pub fn readiness(&self) -> Result<(), NotReady> {
        if !self.discovery.is_complete() {
            return Err(NotReady::NoEndpoints(self.endpoints_missing()));
        }
        if self.key_set().is_empty() {
            let reason = self.keys.last_error();
            return Err(NotReady::NoKeys(reason.unwrap_or_else(|| String::from("not fetched yet"))));
        }
        Ok(())
    }

    /// The time since the JWKS was last fetched with success; `None` before, and for an HMAC secret.
    pub fn jwks_age(&self) -> Option<Duration> {
        self.keys.age()
    }

    /// Why the last attempt to find the endpoints or to fetch the JWKS failed, in words for a log; `None`: it did not.
    /// A provider that is ready goes on with what it has.
    pub fn last_error(&self) -> Option<String> {
        if self.discovery.is_complete() { self.keys.last_error() } else { Some(self.endpoints_missing()) }
    }

    /// The algorithms of signatures that are accepted, by their names in a JWT's `alg` (RFC 7518 section 3.1).
    pub fn algorithms(&self) -> impl Iterator<Item = String> {
        self.config.algorithms.iter().map(|algorithm| format!("{algorithm:?}"))
    }

    /// Whether it is time to say (again) that its clock differs from ours; from then on it is not, for some minutes.
    pub(crate) fn may_warn_of_clock(&self, now: u64) -> bool {
        let last = self.warned_of_clock.load(Ordering::Relaxed);
        // Also where our clock was put back since.
        let is_due = last == 0 || now.abs_diff(last) >= CLOCK_WARNINGS;
        is_due
            && self.warned_of_clock.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// What its JWTs call it.
    pub fn issuer(&self) -> &str {
        &self.config.issuer
    }

    fn endpoints_missing(&self) -> String {
        self.discovery
            .last_error()
            .map_or_else(|| String::from("discovery has not been tried yet"), |error| error.to_string())
    }
}

async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error: the sender is gone, and with it the server.
    drop(shutdown.wait_for(|stop| *stop).await);
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
