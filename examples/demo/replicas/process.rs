//! A replica is a process of its own: this program with `--replica`. The demo tells it by its standard input what to
//! do, one line of JSON at a time, and it answers by its standard output.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::DemoError;
use crate::gateway::{self, Texts};

/// The time that a replica has for its last requests.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The first line that a replica reads.
#[derive(Debug, Serialize, Deserialize)]
struct Start {
    texts: Texts,
    sealed: bool,
}

/// The addresses at which a replica listens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
}

/// Serves as a replica until its standard input ends, or until SIGTERM.
pub(crate) async fn serve() -> Result<(), DemoError> {
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let Some(first) = orders.next_line().await? else { return Ok(()) };
    let Start { texts, sealed } = serde_json::from_str(&first).map_err(std::io::Error::from)?;
    let mut gateway = match gateway::start(texts, sealed).await {
        Ok(gateway) => gateway,
        Err(error) => {
            answer(&Err::<Addresses, _>(error.to_string()))?;
            return Ok(());
        }
    };
    answer(&Ok::<_, String>(Addresses { listen: gateway.address, admin: gateway.admin }))?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            order = orders.next_line() => {
                let Some(order) = order? else { break };
                let sealed = serde_json::from_str(&order).map_err(std::io::Error::from)?;
                answer(&gateway.seal.set(sealed).await.map_err(|error| error.to_string()))?;
            }
            _ = terminate.recv() => break,
            _ = &mut gateway.running => return Ok(()),
        }
    }
    // A connection that will not end must not keep anybody waiting.
    let _ = timeout(STOP_TIMEOUT, gateway.stop()).await;
    Ok(())
}

fn answer<T: Serialize>(answer: &Result<T, String>) -> Result<(), DemoError> {
    println!("{}", serde_json::to_string(answer).map_err(std::io::Error::from)?);
    Ok(())
}

/// A replica, as the demo sees it.
pub(crate) struct Replica {
    child: Mutex<Child>,
    /// Closed: the replica stops.
    line: Mutex<Option<Line>>,
    pub(crate) addresses: Addresses,
    /// The id of its process.
    pub(crate) id: Option<u32>,
}

struct Line {
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Line {
    /// Sends an order, and returns the answer. `None`: the replica is gone.
    async fn ask<T: DeserializeOwned>(&mut self, order: &impl Serialize) -> Option<Result<T, String>> {
        let order = serde_json::to_string(order).ok()?;
        self.orders.write_all(format!("{order}\n").as_bytes()).await.ok()?;
        let answer = self.answers.next_line().await.ok()??;
        serde_json::from_str(&answer).ok()
    }
}

impl Replica {
    pub(crate) async fn start(texts: Texts, sealed: bool) -> Result<Self, DemoError> {
        // Ctrl-C is for the demo, which ends its replicas in order.
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--replica")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let gone = || DemoError::Replica("its process ended at once".into());
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(gone());
        };
        let mut line = Line { orders, answers: BufReader::new(answers).lines() };
        let addresses = line.ask(&Start { texts, sealed }).await.ok_or_else(gone)?;
        let addresses = addresses.map_err(DemoError::Replica)?;
        let id = child.id();
        Ok(Self { child: Mutex::new(child), line: Mutex::new(Some(line)), addresses, id })
    }

    /// Has it load its configuration again. One that is gone has none.
    pub(crate) async fn seal(&self, sealed: bool) -> Result<(), DemoError> {
        let mut line = self.line.lock().await;
        let Some(line) = line.as_mut() else { return Ok(()) };
        line.ask(&sealed).await.unwrap_or(Ok(())).map_err(DemoError::Replica)
    }

    /// Lets its requests in flight end, and waits for that.
    pub(crate) async fn stop(&self) {
        drop(self.line.lock().await.take());
        let _ = self.child.lock().await.wait().await;
    }
}
