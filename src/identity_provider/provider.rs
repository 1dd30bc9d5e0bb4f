//! The identity provider at run time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::access::key_set::KeySet;
use crate::config;
use crate::identity_provider::dialect::{Dialect, kinds};
use crate::identity_provider::discovery::Discovery;
use crate::identity_provider::http_client::HttpClient;
use crate::identity_provider::jwks::KeyStore;
use crate::identity_provider::jwks_backoff::{Pauses, UnknownKeySource};
use crate::identity_provider::not_ready::{NotReady, SetupError};
use crate::identity_provider::webhook::Webhook;
use crate::system::explained::Explained;

/// Seconds between two warnings of a clock that differs: each login and refresh would give one.
const CLOCK_WARNINGS: u64 = 300;

/// One identity provider at run time.
#[derive(Debug)]
pub struct IdentityProvider {
    pub(super) config: config::IdentityProvider,
    pub(super) dialect: &'static dyn Dialect,
    pub(super) http: HttpClient,
    pub(super) discovery: Arc<Discovery>,
    pub(super) keys: Arc<KeyStore>,
    /// Unix seconds; 0: never.
    warned_of_clock: AtomicU64,
}

impl IdentityProvider {
    /// Prepares the provider; makes no connection.
    pub fn new(config: &config::IdentityProvider) -> Result<Self, SetupError> {
        Self::speaking(kinds::of(config), config)
    }

    /// The same, in this dialect.
    pub(super) fn speaking(
        dialect: &'static dyn Dialect,
        config: &config::IdentityProvider,
    ) -> Result<Self, SetupError> {
        let http = HttpClient::new(config).map_err(SetupError::HttpClient)?;
        let discovery = Arc::new(Discovery::new(config, dialect, http.clone())?);
        let keys = Arc::new(KeyStore::new(config, http.clone(), Arc::clone(&discovery)));
        let warned_of_clock = AtomicU64::new(0);
        Ok(Self { config: config.clone(), dialect, http, discovery, keys, warned_of_clock })
    }

    /// The same, with what is known of the issuer from before, as far as the settings that it follows from are the
    /// same: so a change of something else serves on with the keys though the provider cannot be reached. Asked for
    /// anew all the same.
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

    /// Fetches the JWKS because a key is missing: at most once per cool-down of `source`. Callers share a fetch that
    /// is under way. Returns whether a fetch succeeded; it is worth looking at the keys again then.
    pub async fn fetch_unknown_key(&self, source: UnknownKeySource) -> bool {
        self.keys.fetch_limited(source).await
    }

    /// Verifies something with the keys known now, and, if it names an unknown key, once more with freshly fetched
    /// ones.
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

    /// Returns the reading of what its webhook sends to an app; `None`: the app takes nothing from it.
    pub fn webhook(&self, app: &config::App) -> Option<Box<dyn Webhook>> {
        self.dialect.webhook(app.webhook.as_ref()?, &app.client_id, &self.config)
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

    /// Says whether the provider can be used: the endpoints are known and there are keys. Its last answers do not
    /// matter.
    pub fn readiness(&self) -> Result<(), NotReady> {
        if !self.discovery.is_complete() {
            return Err(NotReady::NoEndpoints(self.endpoints_missing().to_string()));
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

    /// Says why the last attempt to find the endpoints or to fetch the JWKS failed, in words for a log; `None`: it did
    /// not. A provider that is ready goes on with what it has.
    pub fn last_error(&self) -> Option<String> {
        if self.discovery.is_complete() {
            self.keys.last_error()
        } else {
            Some(self.endpoints_missing().to_string())
        }
    }

    /// The algorithms of signatures that are accepted, by their names in a JWT's `alg` (RFC 7518 section 3.1).
    pub fn algorithms(&self) -> impl Iterator<Item = String> {
        self.config.algorithms.iter().map(|algorithm| format!("{algorithm:?}"))
    }

    /// Says whether it is time to say (again) that its clock differs from ours; from then on it is not, for some
    /// minutes.
    pub(crate) fn may_warn_of_clock(&self, now: u64) -> bool {
        let last = self.warned_of_clock.load(Ordering::Relaxed);
        // Also where our clock was put back since.
        let is_due = last == 0 || now.abs_diff(last) >= CLOCK_WARNINGS;
        is_due
            && self.warned_of_clock.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Returns the name that its JWTs have for it.
    pub fn issuer(&self) -> &str {
        &self.config.issuer
    }

    /// Says why the endpoints are not known.
    pub(super) fn endpoints_missing(&self) -> Explained {
        let last_error = self.discovery.last_error();
        last_error.map_or_else(|| Explained::from("discovery has not been tried yet"), Explained::from)
    }
}

async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error: the sender is gone, and with it the server.
    drop(shutdown.wait_for(|stop| *stop).await);
}
