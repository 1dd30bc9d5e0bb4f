//! The provider's keys. They are fetched in the background and on demand, and kept while the provider is down.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::Algorithm;
use serde_json::Value;
use tokio::time::Instant;

use crate::access::jwk_notation::canonicalise;
use crate::access::key_set::KeySet;
use crate::config;
use crate::identity_provider::discovery::Discovery;
use crate::identity_provider::http_client::{HttpClient, measured};
use crate::identity_provider::jwks_backoff::{LastFetches, UnknownKeySource};
use crate::identity_provider::shared_fetch::SharedFetch;

/// The members that identify a JWK (RFC 7517, RFC 7518, RFC 8037).
const IDENTIFYING: [&str; 8] = ["kid", "kty", "alg", "crv", "n", "e", "x", "y"];

/// Holds the key set and renews it.
#[derive(Debug)]
pub(super) struct KeyStore {
    provider: String,
    algorithms: Vec<Algorithm>,
    request_timeout: Duration,
    cooldown: Duration,
    /// Tells whether the key is an HMAC secret. Then there is nothing to fetch.
    fixed: bool,
    http: HttpClient,
    discovery: Arc<Discovery>,
    current: ArcSwap<KeySet>,
    generation: AtomicU64,
    fetches: SharedFetch,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The current keys, independent of their order and notation in the JWKS.
    fingerprint: BTreeSet<String>,
    fetched: Option<Instant>,
    last_error: Option<String>,
    last_fetches: LastFetches,
}

impl KeyStore {
    /// Prepares the store. Makes no connection.
    pub(super) fn new(
        config: &config::IdentityProvider,
        http: HttpClient,
        discovery: Arc<Discovery>,
    ) -> Self {
        let secret = config.hmac_secret.as_ref();
        let keys = secret.map(|secret| KeySet::from_hmac_secret(secret.expose().as_bytes()));
        Self {
            provider: config.name.clone(),
            algorithms: config.algorithms.clone(),
            request_timeout: config.request_timeout,
            cooldown: config.jwks_cooldown,
            fixed: keys.is_some(),
            http,
            discovery,
            current: ArcSwap::from_pointee(keys.unwrap_or_default()),
            generation: AtomicU64::new(0),
            fetches: SharedFetch::default(),
            state: Mutex::default(),
        }
    }

    /// Takes over the keys that were fetched before, if they come from the same JWKS and are for the same algorithms.
    /// `discovery` must have taken over its part first, because it may know the address of the JWKS.
    pub(super) fn take_over(&self, before: &Self) {
        let (place, place_before) = (self.discovery.endpoints(), before.discovery.endpoints());
        let is_same = place.jwks.is_some() && place.jwks == place_before.jwks;
        let algorithms =
            |store: &Self| store.algorithms.iter().map(|one| format!("{one:?}")).collect::<BTreeSet<_>>();
        if self.fixed || before.fixed || !is_same || algorithms(self) != algorithms(before) {
            return;
        }
        let known = before.state();
        self.current.store(before.current());
        *self.state() = State {
            fingerprint: known.fingerprint.clone(),
            fetched: known.fetched,
            last_error: known.last_error.clone(),
            // The limit against a flood of unknown key ids goes on as well.
            last_fetches: known.last_fetches,
        };
    }

    /// Returns the keys that are known now, without I/O and without a lock.
    pub(super) fn current(&self) -> Arc<KeySet> {
        self.current.load_full()
    }

    /// Returns a number that grows each time the keys change, just after the change.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Tells whether the keys never change.
    pub(super) fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// Returns the time since the last successful fetch.
    pub(super) fn age(&self) -> Option<Duration> {
        self.state().fetched.map(|fetched| fetched.elapsed())
    }

    /// Returns the reason why the last fetch failed, if it failed.
    pub(super) fn last_error(&self) -> Option<String> {
        self.state().last_error.clone()
    }

    /// Fetches the JWKS now, or joins a fetch that is under way. Returns true if it succeeded.
    pub(super) async fn fetch(self: &Arc<Self>) -> bool {
        let this = Arc::clone(self);
        !self.fixed && self.fetches.join_or_start(|| true, || async move { this.renew().await }).await
    }

    /// Does the work of [`fetch`](Self::fetch), but starts at most one fetch in each cool-down of `source`.
    pub(super) async fn fetch_limited(self: &Arc<Self>, source: UnknownKeySource) -> bool {
        let this = Arc::clone(self);
        let permitted = || self.state().last_fetches.permit(source, self.cooldown);
        !self.fixed && self.fetches.join_or_start(permitted, || async move { this.renew().await }).await
    }

    async fn renew(&self) -> bool {
        match self.fetch_document().await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(
                    identity_provider = self.provider,
                    keys = self.current.load().len(),
                    %error,
                    "JWKS not renewed, the keys known so far stay"
                );
                self.state().last_error = Some(error);
                false
            }
        }
    }

    async fn fetch_document(&self) -> Result<(), String> {
        let endpoints = self.discovery.endpoints_with(|endpoints| endpoints.jwks.is_some()).await;
        let Some(url) = &endpoints.jwks else { return Err(String::from("no jwks_uri is known yet")) };
        let call = self.http.get(url, self.request_timeout);
        let answer = measured(&self.provider, "jwks", call).await.map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("status {}", answer.status));
        }
        let keys = KeySet::from_jwks(answer.json(), &self.algorithms).map_err(|error| error.to_string())?;
        self.replace(keys, fingerprint(answer.json(), &self.algorithms));
        Ok(())
    }

    fn replace(&self, keys: KeySet, fingerprint: BTreeSet<String>) {
        let mut state = self.state();
        state.fetched = Some(Instant::now());
        state.last_error = None;
        if state.fingerprint == fingerprint {
            return;
        }
        state.fingerprint = fingerprint;
        let count = keys.len();
        for problem in keys.faulty() {
            tracing::warn!(identity_provider = self.provider, problem, "a key of the JWKS is left out");
        }
        // The order matters: a reader that reads first the generation and then the keys never takes old keys for new
        // ones.
        self.current.store(Arc::new(keys));
        self.generation.fetch_add(1, Ordering::Release);
        drop(state);
        tracing::info!(identity_provider = self.provider, keys = count, "JWKS loaded");
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the identifying members of each usable key of a JWKS.
fn fingerprint(json: &[u8], accepted: &[Algorithm]) -> BTreeSet<String> {
    let document: Value = serde_json::from_slice(json).unwrap_or_default();
    let keys = document.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_usable = |key: &&Value| {
        let alone = serde_json::json!({ "keys": [key] }).to_string();
        KeySet::from_jwks(alone.as_bytes(), accepted).is_ok()
    };
    let identify = |key: &Value| {
        let mut key = key.clone();
        // This cannot fail for a usable key.
        let _ = canonicalise(&mut key);
        IDENTIFYING.map(|member| key.get(member).unwrap_or(&Value::Null).to_string()).join(",")
    };
    keys.iter().filter(is_usable).map(identify).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OKP: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn of(json: &str) -> BTreeSet<String> {
        fingerprint(json.as_bytes(), &[Algorithm::EdDSA])
    }

    #[test]
    fn order_notation_and_useless_keys_make_no_difference() {
        let plain = of(&format!(r#"{{"keys":[{OKP}]}}"#));
        assert_eq!(plain.len(), 1);
        let reordered = r#"{"keys":[{"kty":"oct","k":"AAAA"},
            {"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"sig", "crv":"Ed25519","kty":"OKP"}],"n":1}"#;
        assert_eq!(of(reordered), plain);
        let renamed = OKP.replace('{', r#"{"kid":"2","#);
        assert_ne!(of(&format!(r#"{{"keys":[{renamed}]}}"#)), plain);
        assert_ne!(of(&format!(r#"{{"keys":[{OKP},{renamed}]}}"#)), plain);
    }
}
