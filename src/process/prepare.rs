//! Prepares a state before its use: looks up its new providers and host names.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use crate::gateway::State;

/// The longest time to look up new providers and host names. Without the results, requests would fail that succeed with
/// the old configuration. After this time, the new configuration is used without them, as at a start while the
/// providers are down.
const PREPARATION: Duration = Duration::from_secs(10);

/// Looks up the providers and host names that the next state has and the previous state did not have.
pub(crate) async fn prepare(before: Option<&State>, next: &State) {
    let providers = before.map_or(&[][..], |before| &before.providers);
    let mut preparing = JoinSet::new();
    for provider in next.providers.iter().filter(|new| !has(providers, new)) {
        let provider = Arc::clone(provider);
        preparing.spawn(async move {
            if !provider.prepare().await {
                warn!(
                    identity_provider = provider.name(),
                    "the provider is not ready: its endpoints or keys are not known"
                );
            }
        });
    }
    let known: Vec<_> =
        before.iter().flat_map(|before| &before.apps).map(|app| Arc::clone(&app.upstreams)).collect();
    for app in next.apps.iter().filter(|app| !has(&known, &app.upstreams)) {
        let upstreams = Arc::clone(&app.upstreams);
        preparing.spawn(async move {
            upstreams.resolve().await;
        });
    }
    if timeout(PREPARATION, async { while preparing.join_next().await.is_some() {} }).await.is_err() {
        warn!("what the new configuration needs could not be looked up in time");
    }
}

fn has<T>(all: &[Arc<T>], one: &Arc<T>) -> bool {
    all.iter().any(|other| Arc::ptr_eq(other, one))
}
