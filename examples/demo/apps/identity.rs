//! The user who asks, by the gateway's identity headers and nothing else.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};

use super::Problem;

/// The signed-in user of a request.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// `X-Auth-User`: the only key under which an app keeps a user's data.
    pub(crate) id: String,
    pub(crate) email: Option<String>,
    pub(crate) roles: Vec<String>,
}

impl Identity {
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let text =
            |name: &str| headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
        let roles =
            text("x-auth-roles").unwrap_or("").split(',').map(str::trim).filter(|role| !role.is_empty());
        Some(Self {
            id: text("x-auth-user").filter(|id| !id.is_empty())?.to_owned(),
            email: text("x-auth-email").map(str::to_owned),
            roles: roles.map(str::to_owned).collect(),
        })
    }

    pub(crate) fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }

    /// Returns the user's name for display: the e-mail address up to its `@`.
    pub(crate) fn display_name(&self) -> String {
        let local =
            self.email.as_deref().and_then(|email| email.split('@').next()).filter(|local| !local.is_empty());
        local.unwrap_or(&self.id).chars().take(40).collect()
    }
}

/// For handlers that need a user. The gateway lets nobody else through to them; that an app checks again costs nothing.
impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let detail = "no identity header came with the request";
        Self::from_headers(&parts.headers)
            .ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "Not signed in", detail))
    }
}

/// For handlers that can do without.
impl<S: Sync> OptionalFromRequestParts<S> for Identity {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Infallible> {
        Ok(Self::from_headers(&parts.headers))
    }
}
