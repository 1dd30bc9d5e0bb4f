//! Helpers that the tests of this module share.

pub(crate) mod server;

use std::time::Duration;

use crate::config::{ClientAuthentication, IdentityProvider, LogoutMethod, ProviderKind};

/// A provider of the default kind with the default settings, at `issuer`.
pub(crate) fn config(issuer: &str) -> IdentityProvider {
    IdentityProvider {
        name: String::from("main"),
        kind: ProviderKind::OAuth2,
        issuer: issuer.to_owned(),
        scope: Some(String::from("openid offline_access")),
        token_parameters: Vec::new(),
        client_auth: ClientAuthentication::Basic,
        revocation_client_auth: ClientAuthentication::Basic,
        algorithms: vec![jsonwebtoken::Algorithm::EdDSA],
        hmac_secret: None,
        access_token_is_id_token: false,
        leeway: Duration::from_secs(5),
        token_endpoint: None,
        revocation_endpoint: None,
        logout: LogoutMethod::Revocation,
        end_session_endpoint: None,
        jwks_uri: None,
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(5),
        jwks_refresh: Duration::from_mins(5),
        jwks_cooldown: Duration::from_secs(10),
        refresh_grace: Duration::ZERO,
        allow_insecure_http: false,
        ca: None,
        proxy: None,
    }
}
