//! By which numbers things of an app are remembered and sealed into cookies.
//!
//! They are made of names, not of places in the file, so that they are the same in every order of the configuration, after a
//! restart and in another process. Whoever makes rules of a configuration gets them: the gateway, and what explains it.

use aws_lc_rs::digest::{Context, SHA256};

use crate::config::{App, IdentityProvider};

/// The numbers of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Of the app with its client: another app never has it, whatever becomes of the configuration.
    pub(super) app: usize,
    /// Of its provider.
    pub(super) provider: usize,
    /// Of its client at its issuer, which two apps may share.
    pub(super) sessions: usize,
}

impl Numbers {
    pub(super) fn of(app: &App, provider: &IdentityProvider) -> Self {
        let client = [provider.issuer.as_str(), &app.client_id];
        Self {
            app: number(&["app", &app.name, client[0], client[1]]),
            provider: of_provider(provider),
            sessions: number(&["sessions", client[0], client[1]]),
        }
    }
}

/// What a provider's revocations hang on: `sid`, `sub` and `jti` are an issuer's own (RFC 7519 section 4.1), whatever its
/// table is called here.
pub fn of_provider(settings: &IdentityProvider) -> usize {
    number(&["identity_provider", &settings.issuer])
}

fn number(names: &[&str]) -> usize {
    let mut context = Context::new(&SHA256);
    for name in names {
        // The length, so that no two lists of names read alike.
        context.update(&(name.len() as u64).to_be_bytes());
        context.update(name.as_bytes());
    }
    let digest = context.finish();
    usize::from_be_bytes(digest.as_ref().first_chunk().copied().unwrap_or_default())
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
            Numbers::of(app, &config.identity_providers[app.identity_provider])
        };
        let alone = numbers(&(provider("main", "id") + &app("store", "main")));
        let others = provider("another", "other") + &app("forums", "another");
        assert_eq!(numbers(&(others.clone() + &provider("main", "id") + &app("store", "main"))), alone);
        assert_eq!(numbers(&(provider("main", "id") + &app("store", "main") + &others)), alone);
        assert_eq!(numbers(&(provider("renamed", "id") + &app("store", "renamed"))), alone);
        let moved = numbers(&(provider("main", "moved") + &app("store", "main")));
        assert!(
            moved.app != alone.app && moved.provider != alone.provider && moved.sessions != alone.sessions
        );
    }
}
