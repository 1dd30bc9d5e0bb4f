//! The kinds of providers, and the facts about each kind that the configuration needs. The dialect of a kind is in
//! `identity_provider/dialect/`.

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
        /// The refresh API that is used. FusionAuth has two.
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
    /// Returns the name of the kind in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OAuth2 => "oauth2",
            Self::FusionAuth { .. } => "fusionauth",
        }
    }

    /// Returns the reason why `logout` cannot be chosen, if there is one.
    pub(super) const fn own_logout(self) -> Option<&'static str> {
        match self {
            Self::OAuth2 => None,
            Self::FusionAuth { .. } => Some("FusionAuth has a logout of its own, which is used in any case"),
        }
    }

    /// Returns true if all endpoints are next to this token endpoint. The issuer of such a provider is often a free
    /// text.
    pub(super) fn finds_all_beside(self, token_endpoint: &Url) -> bool {
        match self {
            Self::OAuth2 => false,
            Self::FusionAuth { .. } => token_endpoint.path().ends_with("/oauth2/token"),
        }
    }

    /// Returns true if the provider sends the signed events of `[apps.*.fusionauth_webhook]`.
    pub(super) const fn sends_webhooks(self) -> bool {
        matches!(self, Self::FusionAuth { .. })
    }
}

/// Reads `kind`, and the keys that are only for one kind.
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
