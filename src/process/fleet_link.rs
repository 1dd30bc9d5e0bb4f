//! The link of this process to its fleet: the client of the engine, and the tasks that keep both up to date.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::error;
use tracing::info;

use crate::config::Config;
use crate::engine::redis_engine::RedisEngine;
use crate::engine::sealing::FleetKeys;
use crate::session::{EngineLink, Fleet};
use crate::telemetry::replica_id;

/// The link of this process.
#[derive(Debug)]
pub(crate) struct FleetLink {
    engine: Arc<RedisEngine>,
    /// Turns true when the link is not needed any more.
    is_over: watch::Sender<bool>,
}

impl FleetLink {
    /// Makes the link if the configuration has `[shared_state]`. It makes no connection.
    pub(super) fn new(config: &Config) -> Option<(Self, EngineLink)> {
        let settings = config.shared_state.as_ref()?;
        let replica = format!("{:016x}", fastrand::u64(..));
        replica_id::set(&replica);
        let fingerprints = FleetKeys::new(&settings.keys)?.fingerprints();
        let keys: Vec<_> =
            fingerprints.into_iter().map(|key| format!("{:016x}", u64::from_be_bytes(key))).collect();
        let heartbeat = format!("{} {}", env!("CARGO_PKG_VERSION"), keys.join(",")).into_bytes();
        let (engine, events) = RedisEngine::new(settings, &replica, Arc::new(move || heartbeat.clone()));
        let link = EngineLink { engine: Arc::clone(&engine) as _, events, replica };
        Some((Self { engine, is_over: watch::Sender::new(false) }, link))
    }

    /// Starts the tasks of the link.
    pub(super) fn start(&self, fleet: &Fleet, tasks: &mut JoinSet<()>) {
        info!(replica = fleet.facts().replica, "this process is a replica of a fleet");
        let (of_fleet, of_engine) = (self.is_over.subscribe(), self.is_over.subscribe());
        let running = fleet.clone();
        let mut both = JoinSet::new();
        both.spawn(async move { running.run(of_fleet).await });
        both.spawn(Arc::clone(&self.engine).run(of_engine));
        let (fleet, is_over) = (fleet.clone(), self.is_over.clone());
        tasks.spawn(async move {
            while let Some(ended) = both.join_next().await {
                if ended.is_err() {
                    // Without its tasks, this replica hears of no revocation. Without the engine it refreshes nothing.
                    error!("a task of the fleet has failed: this replica takes no more requests");
                    fleet.fail();
                    let _ = is_over.send(true);
                }
            }
        });
    }

    /// Tells the engine what it must still know, takes leave of the other replicas, and ends the link.
    pub(super) async fn end(&self, fleet: &Fleet) {
        fleet.leave().await;
        let _ = self.is_over.send(true);
    }
}
