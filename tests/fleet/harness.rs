//! The ground of the tests: the engine, the replicas, and browsers that use them all at once.

pub(crate) mod engine;
pub(crate) mod fleet;
pub(crate) mod forwarder;
pub(crate) mod load;
pub(crate) mod outcomes;
pub(crate) mod process;
pub(crate) mod replica;
pub(crate) mod resp;
pub(crate) mod socket;

pub(crate) use engine::Engine;
pub(crate) use fleet::{Fleet, Plan};
pub(crate) use forwarder::Forwarder;
pub(crate) use load::Load;

use std::time::Duration;

/// Waits for what the fleet has to do within a second. Five times as much keeps a busy machine from deciding.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(Duration::from_secs(5), future).await;
    outcome.unwrap_or_else(|_| panic!("not soon: {what}"))
}
