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

/// The seconds between two warnings of a clock that differs. Otherwise each login and refresh would warn.
const CLOCK_WARNINGS: u64 = 300;

/// One identity provider at run time.
#[derive(Debug)]
pub struct IdentityProvider {
    pub(super) config: config::IdentityProvider,
    pub(super) dialect: &'static dyn Dialect,
    pub(super) http: HttpClient,
    pub(super) discovery: Arc<Discovery>,
    pub(super) keys: Arc<KeyStore>,
    /// The time of the last warning in Unix seconds. 0 means never.
    warned_of_clock: AtomicU64,
}

impl IdentityProvider {
    /// Prepares the provider. Makes no connection.
    pub fn new(config: &config::IdentityProvider) -> Result<Self, SetupError> {
        Self::speaking(kinds::of(config), config)
    }

    /// Prepares the provider with this dialect.
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

    /// Prepares the provider, and takes over the knowledge about the issuer from before, if it follows from unchanged
    /// settings. So after a change of other settings, the gateway goes on with the known keys even if the provider
    /// cannot be reached. The knowledge is still fetched again.
    pub fn following(config: &config::IdentityProvider, before: Option<&Self>) -> Result<Self, SetupError> {
        let provider = Self::new(config)?;
        if let Some(before) = before.filter(|before| before.config.issuer == config.issuer) {
            provider.discovery.take_over(&before.discovery);
            provider.keys.take_over(&before.keys);
        }
        Ok(provider)
    }

    /// Returns the name of the provider's table in the configuration.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Returns the time for which the provider takes a replaced refresh token once more.
    pub fn refresh_grace(&self) -> Duration {
        self.config.refresh_grace
    }

    /// Returns the keys that are known now, without I/O and without a lock.
    pub fn key_set(&self) -> Arc<KeySet> {
        self.keys.current()
    }

    /// Returns a number that grows by one each time the keys really change, just after the change. A caller that
    /// remembers the result of a verification must read this before [`key_set`](Self::key_set), never after it.
    pub fn key_set_generation(&self) -> u64 {
        self.keys.generation()
    }

    /// Fetches the JWKS because a key is missing, at most once in each cool-down of `source`. Callers share a fetch
    /// that is under way. Returns true if a fetch succeeded. Then it makes sense to look at the keys again.
    pub async fn fetch_unknown_key(&self, source: UnknownKeySource) -> bool {
        self.keys.fetch_limited(source).await
    }

    /// Verifies something with the keys that are known now. If it names an unknown key, fetches the keys and verifies
    /// it once more.
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

    /// Finds the endpoints and fetches the JWKS, once. Returns true if the provider can then be used.
    pub async fn prepare(&self) -> bool {
        self.renew().await || self.readiness().is_ok()
    }

    /// Runs one round of the background task.
    async fn renew(&self) -> bool {
        // If only the endpoint for logouts is missing, there is no hurry here, because each logout asks for it too.
        let discovered =
            self.discovery.is_settled() || self.discovery.attempt().await || self.discovery.is_complete();
        let fetched = self.keys.is_fixed() || {
            // Without an address, there is nothing to fetch. Discovery has just logged the reason.
            let known = self.discovery.endpoints().jwks.is_some();
            known && self.keys.fetch().await
        };
        discovered && fetched
    }

    /// Tells whether the provider can be used. It can if the endpoints are known and there are keys. Its last answers
    /// do not matter.
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

    /// Returns the time since the last successful fetch of the JWKS. Returns `None` before the first one, and for an
    /// HMAC secret.
    pub fn jwks_age(&self) -> Option<Duration> {
        self.keys.age()
    }

    /// Returns the reason, in words for a log, why the last attempt to find the endpoints or to fetch the JWKS failed.
    /// Returns `None` if it did not fail. A provider that is ready goes on with the endpoints and keys that it has.
    pub fn last_error(&self) -> Option<String> {
        if self.discovery.is_complete() {
            self.keys.last_error()
        } else {
            Some(self.endpoints_missing().to_string())
        }
    }

    /// Returns the accepted signature algorithms, by their names in a JWT's `alg` (RFC 7518 section 3.1).
    pub fn algorithms(&self) -> impl Iterator<Item = String> {
        self.config.algorithms.iter().map(|algorithm| format!("{algorithm:?}"))
    }

    /// Tells whether a warning is due that the provider's clock differs from ours. After that, no warning is due for
    /// some minutes.
    pub(crate) fn may_warn_of_clock(&self, now: u64) -> bool {
        let last = self.warned_of_clock.load(Ordering::Relaxed);
        // A warning is also due if our clock was put back in the meantime.
        let is_due = last == 0 || now.abs_diff(last) >= CLOCK_WARNINGS;
        is_due
            && self.warned_of_clock.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Returns the name that its JWTs have for it.
    pub fn issuer(&self) -> &str {
        &self.config.issuer
    }

    /// Returns the reason why the endpoints are not known.
    pub(super) fn endpoints_missing(&self) -> Explained {
        let last_error = self.discovery.last_error();
        last_error.map_or_else(|| Explained::from("discovery has not been tried yet"), Explained::from)
    }
}

async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender was dropped together with the server.
    drop(shutdown.wait_for(|stop| *stop).await);
}
