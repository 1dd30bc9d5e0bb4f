//! The list of dialects, and which of them a configuration chooses.

use crate::config::{self, LogoutMethod, ProviderKind, RefreshApi};
use crate::identity_provider::dialect::Dialect;
use crate::identity_provider::dialect::fusionauth::FusionAuth;
use crate::identity_provider::dialect::keycloak::Keycloak;
use crate::identity_provider::dialect::oauth2::OAuth2;

const BY_GRANT: &FusionAuth = &FusionAuth { refresh_api: RefreshApi::OAuth2 };
const BY_JWT_API: &FusionAuth = &FusionAuth { refresh_api: RefreshApi::Jwt };

/// One of each kind. Their codes count for every provider: many are run without the right `kind`.
pub(in crate::identity_provider) const ALL: [&dyn Dialect; 3] = [BY_GRANT, &Keycloak, &OAuth2];

/// The dialect of a configured provider.
pub(in crate::identity_provider) fn of(config: &config::IdentityProvider) -> &'static dyn Dialect {
    match (config.kind, config.logout) {
        (ProviderKind::OAuth2, LogoutMethod::Revocation) => &OAuth2,
        (ProviderKind::OAuth2, LogoutMethod::EndSession) => &Keycloak,
        (ProviderKind::FusionAuth { refresh_api: RefreshApi::OAuth2 }, _) => BY_GRANT,
        (ProviderKind::FusionAuth { refresh_api: RefreshApi::Jwt }, _) => BY_JWT_API,
    }
}

#[cfg(test)]
pub(in crate::identity_provider) mod tests {
    use super::*;

    /// The dialects for tests of what reads answers.
    pub(in crate::identity_provider) const STANDARD: &dyn Dialect = &OAuth2;
    pub(in crate::identity_provider) const ENDS_SESSIONS: &dyn Dialect = &Keycloak;
    pub(in crate::identity_provider) const JWT_API: &dyn Dialect = BY_JWT_API;
}
