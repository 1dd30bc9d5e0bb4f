//! The list of the kinds of providers, and what the configuration has to know of each. How a kind speaks is in its
//! dialect, `identity_provider/dialect/`.

use url::Url;

use crate::config::reader::Section;
use crate::config::values::word;

/// `identity_providers.NAME.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// Any OpenID Connect or OAuth 2 provider.
    OAuth2,
    /// FusionAuth: its endpoints, its logout, its challenges.
    FusionAuth {
        /// The one of its two refresh APIs that is used.
        refresh_api: RefreshApi,
    },
}

/// `refresh_api` of a FusionAuth provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshApi {
    /// The refresh grant at `/oauth2/token`.
    OAuth2,
    /// `POST /api/jwt/refresh`.
    Jwt,
}

impl ProviderKind {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OAuth2 => "oauth2",
            Self::FusionAuth { .. } => "fusionauth",
        }
    }

    /// Tells why `logout` cannot be chosen, if it cannot.
    pub(super) const fn own_logout(self) -> Option<&'static str> {
        match self {
            Self::OAuth2 => None,
            Self::FusionAuth { .. } => Some("FusionAuth has a logout of its own, which is used in any case"),
        }
    }

    /// Tells whether all endpoints are next to this token endpoint. The issuer is often a free text then.
    pub(super) fn finds_all_beside(self, token_endpoint: &Url) -> bool {
        match self {
            Self::OAuth2 => false,
            Self::FusionAuth { .. } => token_endpoint.path().ends_with("/oauth2/token"),
        }
    }

    /// Tells whether it sends the signed events of `[apps.*.fusionauth_webhook]`.
    pub(super) const fn sends_webhooks(self) -> bool {
        matches!(self, Self::FusionAuth { .. })
    }
}

/// Reads `kind`, and the keys that only one kind has.
pub(super) fn provider_kind(section: &Section<'_>) -> Option<ProviderKind> {
    let is_fusionauth = section
        .defaulted("kind", "\"oauth2\"", |item| word(item, &[("oauth2", false), ("fusionauth", true)]));
    let refresh_api = section.defaulted("refresh_api", "\"oauth2\"", |item| {
        word(item, &[("oauth2", RefreshApi::OAuth2), ("jwt", RefreshApi::Jwt)])
    });
    if is_fusionauth? {
        return Some(ProviderKind::FusionAuth { refresh_api: refresh_api? });
    }
    if section.has("refresh_api") {
        return section.fault_at(
            "refresh_api",
            "only FusionAuth has two refresh APIs",
            "remove it, or write `kind = \"fusionauth\"`",
        );
    }
    Some(ProviderKind::OAuth2)
}
