//! Tells an engine that is new, or that has lost its data, everything that this replica knows.

use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::info;

use crate::engine::commands::{Assertion, Generation};
use crate::session::shared_state::fleet::replica::Replica;
use crate::system::elapsed::elapsed;
use crate::telemetry::metrics::fleet::FLEET_METRICS;

/// The number of assertions that are sent at the same time.
const AT_ONCE: usize = 64;

/// Notes the generation of an answer. If it is another one, tells the engine everything that this replica knows.
pub(super) fn note_generation(replica: &Arc<Replica>, generation: &Generation) {
    if replica.protocol().is_new_generation(generation, elapsed()) {
        let replica = Arc::clone(replica);
        tokio::spawn(async move { replica.assert_again().await });
    }
}

impl Replica {
    /// Tells the engine everything that this replica knows, because it may have lost it.
    async fn assert_again(self: Arc<Self>) {
        let assertions = self.protocol().assertions(elapsed());
        info!(records = assertions.len(), "the engine is new: it is told what this replica knows");
        let mut sending = JoinSet::new();
        for assertion in assertions {
            if sending.len() >= AT_ONCE {
                sending.join_next().await;
            }
            let replica = Arc::clone(&self);
            sending.spawn(async move { replica.assert_once(assertion).await });
        }
        while sending.join_next().await.is_some() {}
        // One replica writes its whole list of revocations. The lists of all replicas are the same.
        let generation = self.protocol().generation().cloned();
        if let Some(generation) = generation
            && self.revocations.len() > 0
            && self.engine.is_first_of_generation(&generation).await.unwrap_or(true)
        {
            let now = self.clock.now();
            self.post_revocations(self.revocations.all(now));
        }
    }

    async fn assert_once(&self, assertion: Assertion) {
        if self.engine.assert(&assertion).await.is_ok() {
            FLEET_METRICS.reasserted.inc();
        } else {
            self.protocol().post_assertion(assertion, elapsed());
            self.posted.notify_one();
        }
    }
}
