//! A small identity provider: discovery, JWKS, the password and refresh grants with rotation, revocation.
//!
//! It answers as a real one does, and tells the [`Journal`] what it saw.

mod answer;
mod client;
mod keys;
mod logins;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use self::answer::{OAuthError, uncached};
use self::client::Form;
use self::keys::SigningKey;
pub(crate) use self::logins::Logins;
pub(crate) use self::logins::Tokens;
use self::logins::{Refresh, Whose};
use self::users::Directory;
pub(crate) use self::users::USERS;
use crate::DemoError;
use crate::journal::{Journal, ProviderCall, What, fingerprint, now_in_ms};
use crate::replicas::REPLICA_PARAMETER;

const SCOPES: [&str; 4] = ["openid", "offline_access", "profile", "email"];

/// The provider's whole state.
pub(crate) struct Provider {
    issuer: String,
    directory: Directory,
    logins: Arc<Logins>,
    journal: Arc<Journal>,
}

impl Provider {
    /// A provider with a fresh key whose JWTs live for `lifetime`.
    pub(crate) fn new(issuer: String, lifetime: Duration, journal: Arc<Journal>) -> Result<Self, DemoError> {
        let logins = Arc::new(Logins::new(issuer.clone(), SigningKey::generate()?, lifetime));
        Ok(Self { issuer, directory: Directory::new(), logins, journal })
    }

    /// The logins, for the side panel and its thief.
    pub(crate) fn logins(&self) -> Arc<Logins> {
        Arc::clone(&self.logins)
    }

    /// The provider's endpoints.
    pub(crate) fn into_router(self) -> Router {
        Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/.well-known/jwks.json", get(jwks))
            .route("/oauth2/token", post(token))
            .route("/oauth2/revoke", post(revoke))
            .layer(DefaultBodyLimit::max(64 * 1024))
            .with_state(Arc::new(self))
    }

    fn record(&self, client_id: Option<&str>, started: f64, call: ProviderCall) {
        self.journal.record(client_id, started, What::Provider(call));
    }

    fn metadata_call(&self, path: &str, outcome: &str) {
        let call = ProviderCall {
            request: format!("GET {path}"),
            grant: "metadata".into(),
            status: 200,
            outcome: outcome.into(),
            ..ProviderCall::default()
        };
        self.record(None, now_in_ms(), call);
    }

    /// The token endpoint's decision; `call` is told what was seen on the way.
    fn grant(&self, client_id: &str, form: &Form, call: &mut ProviderCall) -> Result<Value, OAuthError> {
        let scope = form.get("scope").unwrap_or("openid");
        if scope.split(' ').any(|word| !SCOPES.contains(&word)) {
            return Err(OAuthError::new(StatusCode::BAD_REQUEST, "invalid_scope", "unknown scope"));
        }
        call.replica = form.get(REPLICA_PARAMETER).map(|number| number.chars().take(1).collect());
        let tokens = match form.require("grant_type")? {
            "password" => self.password_grant(client_id, form, call)?,
            "refresh_token" => self.refresh_grant(client_id, form, call)?,
            _ => {
                let text = "only password and refresh_token";
                return Err(OAuthError::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", text));
            }
        };
        let lifetime = self.logins.lifetime();
        let issued = self.logins.issued(&tokens);
        call.outcome = format!("{} ({lifetime} s), {}", issued.jwt, issued.refresh_token);
        call.issued = Some(issued);
        Ok(json!({
            "access_token": tokens.access_token, "token_type": "Bearer", "expires_in": lifetime,
            "refresh_token": tokens.refresh_token, "scope": scope,
        }))
    }

    fn password_grant(
        &self,
        client_id: &str,
        form: &Form,
        call: &mut ProviderCall,
    ) -> Result<Tokens, OAuthError> {
        call.grant = "password".into();
        let (username, password) = (form.require("username")?, form.require("password")?);
        call.detail = format!("grant_type=password, {}", username.chars().take(40).collect::<String>());
        let user = self.directory.authenticate(username, password);
        let user = user.ok_or_else(|| OAuthError::invalid_grant("invalid user credentials"))?;
        let (tokens, whose) = self.logins.start(client_id, user).map_err(|_| server_error())?;
        is_about(call, whose);
        Ok(tokens)
    }

    fn refresh_grant(
        &self,
        client_id: &str,
        form: &Form,
        call: &mut ProviderCall,
    ) -> Result<Tokens, OAuthError> {
        call.grant = "refresh_token".into();
        let refresh_token = form.require("refresh_token")?;
        let presented = fingerprint("rt", refresh_token);
        call.detail = format!("grant_type=refresh_token, {presented}");
        call.presented = Some(presented);
        let refresh = self.logins.refresh(client_id, refresh_token).map_err(|_| server_error())?;
        let text = match refresh {
            Refresh::Rotated(tokens, whose) => {
                is_about(call, whose);
                return Ok(tokens);
            }
            Refresh::Reused(whose) => {
                is_about(call, whose);
                call.reuse = true;
                "refresh token reused, the whole family is revoked"
            }
            Refresh::Dead(whose) => {
                is_about(call, whose);
                "session not active"
            }
            Refresh::Unknown => "invalid refresh token",
        };
        Err(OAuthError::invalid_grant(text))
    }
}

fn is_about(call: &mut ProviderCall, whose: Whose) {
    call.sub = Some(whose.sub.into());
    call.family = Some(whose.family);
}

fn server_error() -> OAuthError {
    OAuthError::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "no token could be made")
}

async fn discovery(State(provider): State<Arc<Provider>>) -> Response {
    provider.metadata_call("/.well-known/openid-configuration", "endpoints");
    let issuer = &provider.issuer;
    let client_authentication = ["client_secret_basic", "client_secret_post"];
    let metadata = json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "revocation_endpoint": format!("{issuer}/oauth2/revoke"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "grant_types_supported": ["password", "refresh_token"],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "scopes_supported": SCOPES,
        "token_endpoint_auth_methods_supported": client_authentication,
        "revocation_endpoint_auth_methods_supported": client_authentication,
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    axum::Json(metadata).into_response()
}

async fn jwks(State(provider): State<Arc<Provider>>) -> Response {
    provider.metadata_call("/.well-known/jwks.json", "public keys");
    axum::Json(provider.logins.key().jwks().clone()).into_response()
}

async fn token(State(provider): State<Arc<Provider>>, headers: HeaderMap, body: Bytes) -> Response {
    let started = now_in_ms();
    let mut call = ProviderCall { request: "POST /oauth2/token".into(), ..ProviderCall::default() };
    let mut client_id = None;
    let outcome = Form::parse(&headers, &body).and_then(|form| {
        let client = client::authenticate(&headers, &form)?;
        client_id = Some(client);
        provider.grant(client, &form, &mut call)
    });
    finish(&provider, client_id, started, call, outcome)
}

/// RFC 7009: what is unknown is as good as revoked.
async fn revoke(State(provider): State<Arc<Provider>>, headers: HeaderMap, body: Bytes) -> Response {
    let started = now_in_ms();
    let mut call = ProviderCall {
        request: "POST /oauth2/revoke".into(),
        grant: "revocation".into(),
        ..ProviderCall::default()
    };
    let mut client_id = None;
    let outcome = Form::parse(&headers, &body).and_then(|form| {
        let client = client::authenticate(&headers, &form)?;
        client_id = Some(client);
        let token = form.require("token")?;
        call.detail = fingerprint("rt", token);
        call.presented = Some(call.detail.clone());
        call.outcome = "not known here".into();
        if let Some(whose) = provider.logins.revoke(client, token) {
            is_about(&mut call, whose);
            call.outcome = "family revoked".into();
        }
        Ok(json!({}))
    });
    finish(&provider, client_id, started, call, outcome)
}

fn finish(
    provider: &Provider,
    client_id: Option<&'static str>,
    started: f64,
    mut call: ProviderCall,
    outcome: Result<Value, OAuthError>,
) -> Response {
    let response = match outcome {
        Ok(body) => uncached(StatusCode::OK, &body),
        Err(error) => {
            call.outcome = format!("{}: {}", error.error, error.description);
            error.into_response()
        }
    };
    call.status = response.status().as_u16();
    provider.record(client_id, started, call);
    response
}
