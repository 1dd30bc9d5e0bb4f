//! The connections to the engine's primary.

use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::answers;
use crate::engine::commands::{ClaimAnswer, Verdict};
use crate::engine::connection::Connection;
use crate::engine::faults::Fault;
use crate::engine::scripts::Call;

/// The time for which other nodes may take to copy a claim.
const WAIT: Duration = Duration::from_millis(50);

/// The connections to the primary. They are made together, and given up together.
#[derive(Debug)]
pub(super) struct Primary {
    pub(super) host: String,
    pub(super) port: u16,
    commands: Connection,
    /// WAIT holds up all later commands of its connection, so claims have their own.
    claims: Option<Connection>,
    failed: watch::Sender<Option<Fault>>,
}

impl Primary {
    pub(super) fn new(host: String, port: u16, commands: Connection, claims: Option<Connection>) -> Self {
        Self { host, port, commands, claims, failed: watch::Sender::new(None) }
    }

    /// Sends a command.
    pub(super) async fn ask(&self, command: &Cmd, limit: Duration) -> Result<Value, Fault> {
        self.commands.ask(command, limit).await
    }

    /// Calls a script.
    pub(super) async fn call(&self, call: &Call, limit: Duration) -> Result<Value, Fault> {
        let deadline = Instant::now() + limit;
        match self.commands.ask_until(&call.by_hash(), deadline).await {
            Err(Fault::NoScript) => self.commands.ask_until(&call.with_source(), deadline).await,
            answer => answer,
        }
    }

    /// Claims, and waits until `nodes` other nodes have the claim.
    pub(super) async fn claim(&self, call: &Call, nodes: u32, limit: Duration) -> Result<ClaimAnswer, Fault> {
        let Some(claims) = &self.claims else { return answers::claim(self.call(call, limit).await?) };
        let deadline = Instant::now() + limit + WAIT;
        match Self::claim_by(claims, call.by_hash(), nodes, deadline).await {
            Err(Fault::NoScript) => Self::claim_by(claims, call.with_source(), nodes, deadline).await,
            answer => answer,
        }
    }

    async fn claim_by(
        claims: &Connection,
        claim: Cmd,
        nodes: u32,
        deadline: Instant,
    ) -> Result<ClaimAnswer, Fault> {
        let mut both = redis::pipe();
        both.add_command(claim);
        both.cmd("WAIT").arg(nodes).arg(u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX));
        let answers = claims.ask_all_until(&both, deadline).await?;
        let [claim, copies] = <[_; 2]>::try_from(answers).map_err(|_| Fault::unexpected(&Value::Nil))?;
        let mut answer = answers::claim(claim?)?;
        if answer.verdict == Verdict::Mine && answers::number(&copies?)? < u64::from(nodes) {
            answer.verdict = Verdict::TooFewNodes;
        }
        Ok(answer)
    }

    /// Notes that the connections must be given up.
    pub(super) fn fail(&self, fault: Fault) {
        self.failed.send_if_modified(|failed| {
            let is_first = failed.is_none();
            if is_first {
                *failed = Some(fault);
            }
            is_first
        });
    }

    /// Waits until the connections must be given up, and returns the reason.
    pub(super) async fn failed(&self) -> Fault {
        let mut failed = self.failed.subscribe();
        let claims_closed = async {
            match &self.claims {
                Some(claims) => claims.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            fault = failed.wait_for(Option::is_some) => {
                fault.ok().and_then(|fault| fault.clone()).unwrap_or(Fault::TooLate)
            }
            () = self.commands.closed() => closed(),
            () = claims_closed => closed(),
        }
    }
}

fn closed() -> Fault {
    Fault::Broken(String::from("it has closed the connection"))
}
