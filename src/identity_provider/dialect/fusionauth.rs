//! `kind = "fusionauth"`: FusionAuth, with endpoints beside each other, a refresh API and a logout of its own.

mod webhook;

use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::config::{self, RefreshApi};
use crate::identity_provider::code_row::Member::Reason;
use crate::identity_provider::code_row::{AtLogout, AtRefresh, Row, row};
use crate::identity_provider::dialect::fusionauth::webhook::WebhookRules;
use crate::identity_provider::dialect::{Asked, Body, Dialect, Question, Said, refresh_grant};
use crate::identity_provider::endpoints::{Endpoints, below, check_url, issuer_url};
use crate::identity_provider::error_answer::Shape;
use crate::identity_provider::not_ready::SetupError;
use crate::identity_provider::outcome::ChallengeKind::{AccountAction, PasswordChange, TwoFactor};
use crate::identity_provider::outcome::TokenSet;
use crate::identity_provider::token_answer::{self, Zeroized};
use crate::identity_provider::webhook::Webhook;

/// FusionAuth.
#[derive(Debug)]
pub(in crate::identity_provider) struct FusionAuth {
    /// One of its two refresh APIs.
    pub(in crate::identity_provider) refresh_api: RefreshApi,
}

/// By `error_reason`, which is more precise than its `error`.
const CODES: &[Row] = &[
    row(
        Reason,
        &["invalid_user_credentials", "login_prevented", "user_expired", "user_locked", "user_not_found"],
        "FusionAuth",
    )
    .wrong(AtRefresh::Dead, AtLogout::Refused),
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
];

const JWT_API_QUESTIONS: &[Question] = &[Question {
    call: Asked::Refresh,
    good: "POST /api/jwt/refresh answers",
    bad: "POST /api/jwt/refresh",
    fix: "enable \"JWT refresh\" for the application, or set `refresh_api = \"oauth2\"`",
}];

impl Dialect for FusionAuth {
    /// The endpoints are next to each other; the issuer is often a free text.
    fn endpoints(
        &self,
        config: &config::IdentityProvider,
        configured: Endpoints,
    ) -> Result<Endpoints, SetupError> {
        let base = base(config).ok_or_else(|| SetupError::NoBase {
            issuer: config.issuer.clone(),
            hint: "set `token_endpoint` to FusionAuth's `https://HOST/oauth2/token`",
        })?;
        Ok(configured.or(Endpoints {
            token: Some(below(&base, "oauth2/token")),
            refresh: Some(below(&base, "api/jwt/refresh")),
            revocation: Some(below(&base, "api/logout")),
            end_session: None,
            jwks: Some(below(&base, ".well-known/jwks.json")),
        }))
    }

    fn refresh_endpoint<'a>(&self, endpoints: &'a Endpoints) -> Option<&'a Url> {
        match self.refresh_api {
            RefreshApi::OAuth2 => endpoints.token.as_ref(),
            RefreshApi::Jwt => endpoints.refresh.as_ref(),
        }
    }

    /// The refresh grant, or `POST /api/jwt/refresh`, which takes the old access token, too.
    fn refresh<'a>(&self, refresh_token: &'a str, access_token: Option<&'a str>) -> Body<'a> {
        match self.refresh_api {
            RefreshApi::OAuth2 => Body::Form(refresh_grant(refresh_token)),
            RefreshApi::Jwt => Body::Json(jwt_refresh(refresh_token, access_token)),
        }
    }

    /// `POST /api/logout`, for this session alone.
    fn revoke<'a>(&self, refresh_token: &'a str) -> Body<'a> {
        Body::Query(vec![("global", "false"), ("refreshToken", refresh_token)])
    }

    fn read_refresh(&self, json: &[u8]) -> Result<TokenSet, &'static str> {
        match self.refresh_api {
            RefreshApi::OAuth2 => token_answer::parse(json),
            RefreshApi::Jwt => read_jwt_refresh(json),
        }
    }

    fn codes(&self) -> &'static [Row] {
        CODES
    }

    /// `POST /api/jwt/refresh` authenticates no client, and says "expired, revoked or unknown" by 400 or 404 without a
    /// body, or by a 400 that finds fault with the refresh token.
    fn refuses_refresh_token(&self, said: &Said<'_>) -> bool {
        match (self.refresh_api, said.error.shape()) {
            (RefreshApi::OAuth2, shape) => said.status == 400 && shape == Shape::Bare,
            (RefreshApi::Jwt, Shape::Bare) => matches!(said.status, 400 | 404),
            (RefreshApi::Jwt, Shape::Json) => {
                let fields = said.error.member("fieldErrors").and_then(serde_json::Value::as_object);
                said.status == 400 && fields.is_some_and(|fields| fields.contains_key("refreshToken"))
            }
            (RefreshApi::Jwt, Shape::Code | Shape::Foreign) => false,
        }
    }

    fn challenge(&self) -> &'static [&'static str] {
        &["two_factor_id", "two_factor_methods", "change_password_id"]
    }

    fn doctor_questions(&self) -> &'static [Question] {
        match self.refresh_api {
            RefreshApi::OAuth2 => &[],
            RefreshApi::Jwt => JWT_API_QUESTIONS,
        }
    }

    fn webhook(
        &self,
        settings: &config::Webhook,
        client_id: &str,
        provider: &config::IdentityProvider,
    ) -> Option<Box<dyn Webhook>> {
        Some(Box::new(WebhookRules::new(settings, client_id, provider)))
    }
}

/// Finds where FusionAuth is: its `token_endpoint` says so better than an issuer, which is a free text there.
fn base(config: &config::IdentityProvider) -> Option<Url> {
    let Some(token) = &config.token_endpoint else { return issuer_url(&config.issuer) };
    let Some(path) = token.path().strip_suffix("/oauth2/token") else {
        // An issuer that must not be asked is only a name.
        let asked = issuer_url(&config.issuer).filter(|url| check_url(url, config.plain_http()).is_ok());
        return asked.or_else(|| token.join("/").ok());
    };
    let mut base = token.clone();
    base.set_path(path);
    base.set_query(None);
    Some(base)
}

/// `{"refreshToken": .., "token": ..}`, written into a buffer that is zeroised.
fn jwt_refresh(refresh_token: &str, access_token: Option<&str>) -> Zeroizing<Vec<u8>> {
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
    // Two texts can always be written into a buffer.
    let _ = serde_json::to_writer(&mut *json, &body);
    json
}

/// Reads the answer of `POST /api/jwt/refresh`, which has names of its own.
fn read_jwt_refresh(json: &[u8]) -> Result<TokenSet, &'static str> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<Zeroized>,
        #[serde(rename = "refreshToken")]
        refresh_token: Option<Zeroized>,
    }
    let answer: Answer =
        serde_json::from_slice(json).map_err(|_| "the refresh answer is not the JSON expected")?;
    token_answer::token_set(answer.token, answer.refresh_token)
}

#[cfg(test)]
mod tests;
