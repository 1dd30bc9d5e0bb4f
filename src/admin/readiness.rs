//! The conditions for serving requests. `/readyz` and the status page both use this rule.

use serde::Serialize;

use crate::admin::process::Process;
use crate::gateway::State;

/// A reason why the process is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NotReady {
    /// The provider that is not ready. `None` means that the reason is not about a provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identity_provider: Option<String>,
    /// The reason in words.
    pub(super) reason: String,
}

/// Returns every reason. If there is none, the process is ready. The apps do not matter. A provider's outage does not
/// matter either, once its keys are known.
pub(super) fn reasons(state: &State, process: &Process) -> Vec<NotReady> {
    let of_providers = state.providers.iter().filter_map(|provider| {
        let reason = provider.readiness().err()?.to_string();
        Some(NotReady { identity_provider: Some(provider.name().to_owned()), reason })
    });
    let of_fleet = state.sessions.fleet().and_then(|fleet| fleet.readiness().err());
    let of_fleet = of_fleet.map(|reason| NotReady { identity_provider: None, reason });
    let stopping = NotReady { identity_provider: None, reason: String::from("the server stops") };
    of_providers.chain(of_fleet).chain(process.status.is_stopping().then_some(stopping)).collect()
}
