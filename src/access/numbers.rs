//! The numbers by which providers, apps and their clients are remembered and sealed into cookies.
//!
//! They are made of names, not of places in the file. So they are the same in every order of the configuration, after a
//! restart, and in another process. No number is made elsewhere.

use aws_lc_rs::digest::{Context, SHA256};

use crate::config::{App, IdentityProvider};

/// The number of an identity provider. It follows from the issuer alone, because `sid`, `sub` and `jti` belong to an
/// issuer (RFC 7519 section 4.1). The name of its table in the configuration does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderNumber(u64);

/// The number of an app with its client: another app never has it, whatever becomes of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppNumber(u64);

/// The number of an OAuth client at its issuer, by which refresh tokens are known. Two apps may share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientNumber(u64);

impl ProviderNumber {
    /// Returns the number of the provider with this issuer.
    pub fn of_issuer(issuer: &str) -> Self {
        Self(number(&["identity_provider", issuer]))
    }

    /// Returns the bytes that are part of the names of revocations.
    pub(super) const fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl AppNumber {
    pub(super) fn of(app: &App, provider: &IdentityProvider) -> Self {
        Self(number(&["app", &app.name, &provider.issuer, &app.client_id]))
    }
}

impl ClientNumber {
    pub(super) fn of(app: &App, provider: &IdentityProvider) -> Self {
        Self(number(&["sessions", &provider.issuer, &app.client_id]))
    }

    /// Returns the bytes that are part of digests of cookies and of messages to other replicas.
    pub(crate) const fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// Restores a number from a message of another replica.
    pub(crate) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }
}

fn number(names: &[&str]) -> u64 {
    let mut context = Context::new(&SHA256);
    for name in names {
        // The length, so that no two lists of names read alike.
        context.update(&(name.len() as u64).to_be_bytes());
        context.update(name.as_bytes());
    }
    let digest = context.finish();
    u64::from_be_bytes(digest.as_ref().first_chunk().copied().unwrap_or_default())
}

/// Numbers that no configuration has, for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::{AppNumber, ClientNumber, ProviderNumber};

    pub(crate) const PROVIDER: ProviderNumber = ProviderNumber(0);
    pub(crate) const OTHER_PROVIDER: ProviderNumber = ProviderNumber(1);
    pub(crate) const APP: AppNumber = AppNumber(0);
    pub(crate) const OTHER_APP: AppNumber = AppNumber(1);
    pub(crate) const CLIENT: ClientNumber = ClientNumber(0);
    pub(crate) const OTHER_CLIENT: ClientNumber = ClientNumber(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn names_have_their_own_numbers() {
        assert_eq!(number(&["store", "a"]), number(&["store", "a"]));
        assert_ne!(number(&["store", "a"]), number(&["storea"]));
        assert_ne!(number(&["store", "a"]), number(&["stor", "ea"]));
        assert_ne!(number(&["a", "b"]), number(&["b", "a"]));
    }

    #[test]
    fn the_number_of_a_provider_never_changes() {
        // Sealed cookies and the processes of an upgrade carry digests of it.
        let number = ProviderNumber::of_issuer("https://id.example.com");
        assert_eq!(number, ProviderNumber(0xbb89_a6c8_4297_2b2a));
    }

    #[test]
    fn the_order_of_the_file_and_the_names_of_providers_change_no_number() {
        let provider = |name: &str, issuer: &str| {
            format!("[identity_providers.{name}]\nissuer = 'https://{issuer}.example.com'\n")
        };
        let app = |name: &str, provider: &str| {
            format!(
                "[apps.{name}]\nidentity_provider = '{provider}'\nhosts = ['{name}.example.com']\n\
                 upstreams = ['http://127.0.0.1:3000']\nclient_id = '{name}'\nclient_secret = 's'\n"
            )
        };
        let numbers = |text: &str| {
            let config = config::parse(text).unwrap().config;
            let app = config.apps.iter().find(|app| app.name == "store").unwrap();
            let provider = &config.identity_providers[app.identity_provider];
            (
                AppNumber::of(app, provider),
                ProviderNumber::of_issuer(&provider.issuer),
                ClientNumber::of(app, provider),
            )
        };
        let alone = numbers(&(provider("main", "id") + &app("store", "main")));
        let others = provider("another", "other") + &app("forums", "another");
        assert_eq!(numbers(&(others.clone() + &provider("main", "id") + &app("store", "main"))), alone);
        assert_eq!(numbers(&(provider("main", "id") + &app("store", "main") + &others)), alone);
        assert_eq!(numbers(&(provider("renamed", "id") + &app("store", "renamed"))), alone);
        let moved = numbers(&(provider("main", "moved") + &app("store", "main")));
        assert!(moved.0 != alone.0 && moved.1 != alone.1 && moved.2 != alone.2);
    }
}
