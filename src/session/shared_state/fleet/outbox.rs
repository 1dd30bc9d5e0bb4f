//! Does the errands of the outbox: what the engine must be told, as soon as it answers.

use tracing::warn;

use crate::engine::commands::EngineError;
use crate::session::shared_state::fleet::claim_protocol::Errand;
use crate::session::shared_state::fleet::replica::Replica;
use crate::system::elapsed::elapsed;

impl Replica {
    /// Does the errands that are due. Stops if the engine is away.
    pub(super) async fn do_errands(&self) {
        loop {
            let due = self.protocol().due(elapsed());
            if due.is_empty() || !self.engine.is_up() {
                return;
            }
            let mut done = Vec::new();
            for (number, errand) in due {
                match self.carry_out(&errand).await {
                    Ok(()) => done.push(number),
                    // The others may be taken. This one is tried again later.
                    Err(EngineError::Refused(reason)) => warn!(reason, "the engine has refused an errand"),
                    Err(_) => break,
                }
            }
            self.protocol().done(&done);
            if done.is_empty() {
                return;
            }
        }
    }

    async fn carry_out(&self, errand: &Errand) -> Result<(), EngineError> {
        match errand {
            Errand::Release(names, nonce) => self.engine.release(names, nonce).await,
            Errand::Shorten(names, nonce, lasts) => self.engine.shorten(names, nonce, *lasts).await,
            Errand::Assert(assertion) => self.engine.assert(assertion).await.map(drop),
            Errand::ForgetEnd(names) => self.engine.forget_end(names).await,
            Errand::Publish(message) => self.engine.publish(message).await,
            Errand::Revoke(entry, kept) => {
                self.engine.add_revocations(std::slice::from_ref(entry), *kept).await
            }
        }
    }
}
