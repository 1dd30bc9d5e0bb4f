//! Whether requests may come: the one rule of `/readyz` and the status page.

use serde::Serialize;

use crate::admin::process::Process;
use crate::gateway::State;

/// Why it is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NotReady {
    /// The provider that is not; `None`: it is not about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identity_provider: Option<String>,
    /// In words.
    pub(super) reason: String,
}

/// Every reason; none: it is ready. The apps do not matter, nor does a provider's outage once its keys are known.
pub(super) fn reasons(state: &State, process: &Process) -> Vec<NotReady> {
    let of_providers = state.providers.iter().filter_map(|provider| {
        let reason = provider.readiness().err()?.to_string();
        Some(NotReady { identity_provider: Some(provider.name().to_owned()), reason })
    });
    let stopping = NotReady { identity_provider: None, reason: String::from("the server stops") };
    of_providers.chain(process.status.is_stopping().then_some(stopping)).collect()
}
