//! Does the errands of the outbox: what the engine must be told, as soon as it answers.

use crate::engine::commands::EngineError;
use crate::session::shared_state::fleet::claim_protocol::Errand;
use crate::session::shared_state::fleet::replica::Replica;
use crate::session::shared_state::fleet::report;
use crate::system::elapsed::elapsed;

impl Replica {
    /// Does the errands that are due. Stops if the engine is away.
    pub(super) async fn do_errands(&self) {
        loop {
            let due = self.protocol().due(elapsed());
            if due.is_empty() || !self.engine.is_up() {
                return;
            }
            let (mut done, mut refused, mut is_away) = (Vec::new(), Vec::new(), false);
            for (number, errand) in due {
                match self.carry_out(&errand).await {
                    Ok(()) => done.push(number),
                    // The others may be taken.
                    Err(EngineError::Refused(reason)) => {
                        report::refused_errand(&reason);
                        refused.push(number);
                    }
                    Err(_) => {
                        is_away = true;
                        break;
                    }
                }
            }
            let mut protocol = self.protocol();
            protocol.done(&done);
            protocol.postpone(&refused, elapsed());
            report::dropped_errands(protocol.take_dropped());
            drop(protocol);
            if is_away {
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
