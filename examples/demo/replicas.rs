//! `--replicas N`: several gateways that share their state in an engine, and a balancer in front of them.

mod balancer;
mod engine;
pub(crate) mod process;

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use self::engine::Engine;
use self::process::Replica;
use crate::DemoError;
use crate::demo::bind;
use crate::gateway::{self, Gateway, Reload, SealSwitch, Texts};
use crate::settings::{Settings, SharedState};

/// The header by which the balancer tells the page and the apps which replica it chose.
pub(crate) const REPLICA: &str = "x-demo-replica";

/// The parameter by which a replica tells the demo's provider which one it is.
pub(crate) const REPLICA_PARAMETER: &str = "demo_replica";

/// All gateways and their engine, as far as people want to know of them.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// The status page of each replica, and its process.
    pub(crate) replicas: Vec<(Option<SocketAddr>, Option<u32>)>,
    /// The engine's program, its port and its process.
    pub(crate) engine: (&'static str, u16, Option<u32>),
}

impl Fleet {
    /// Returns what people are told: the processes, and what to try with them.
    pub(crate) fn greeting(&self) -> String {
        let mut text = String::new();
        for (number, (admin, process)) in (1_usize..).zip(&self.replicas) {
            let admin = admin.map_or_else(|| "no status page".to_owned(), |at| format!("http://{at}/"));
            let name = format!("gateway {number}");
            let _ = writeln!(text, "    {name:12} {admin:24} (process {})", process.unwrap_or_default());
        }
        let (program, port, process) = self.engine;
        let (address, process) = (format!("127.0.0.1:{port}"), process.unwrap_or_default());
        let _ = writeln!(text, "    {program:12} {address:24} (process {process})");
        let _ = writeln!(text, "\n  The gateways' pages are status pages. Sign in, and try");
        let _ = writeln!(text, "    kill -9 PROCESS         a gateway fails");
        let _ = writeln!(text, "    kill -STOP {process:<12} {program} hangs, until kill -CONT {process}");
        text
    }

    /// Returns the same for the browser tests.
    pub(crate) fn as_json(&self) -> Value {
        let replicas =
            self.replicas.iter().map(|(admin, process)| json!({ "admin": admin, "process": process }));
        json!({ "replicas": replicas.collect::<Vec<_>>(), "engine": { "process": self.engine.2 } })
    }
}

/// All replicas, whose configurations are loaded again one after the other.
struct All(Arc<Vec<Replica>>);

#[async_trait]
impl Reload for All {
    async fn reload(&self, sealed: bool) -> Result<(), DemoError> {
        for replica in self.0.iter() {
            replica.seal(sealed).await?;
        }
        Ok(())
    }
}

/// Starts the engine, `count` gateways and the balancer. It listens where the configuration lets the gateway listen.
pub(crate) async fn start(
    texts: Texts,
    sealed: bool,
    count: usize,
    listen: SocketAddr,
) -> Result<(Gateway, Fleet), DemoError> {
    let config = gateway::parse(if sealed { &texts.sealed } else { &texts.unsealed })?;
    let listener = bind(listen, "the balancer").await?;
    let address = listener.local_addr()?;
    let engine = Engine::start().await?;
    let shared = SharedState { url: engine.url(), password: engine.password.clone(), key: secret()? };
    let mut replicas = Vec::new();
    for number in 1..=count {
        let texts = Texts {
            sealed: as_replica(&texts.sealed, number, address.ip(), &shared)?,
            unsealed: as_replica(&texts.unsealed, number, address.ip(), &shared)?,
        };
        replicas.push(Replica::start(texts, sealed).await?);
    }
    let fleet = Fleet {
        replicas: replicas.iter().map(|replica| (replica.addresses.admin, replica.id)).collect(),
        engine: (engine.program, engine.port, engine.id()),
    };
    let addresses = replicas.iter().map(|replica| replica.addresses.listen).collect();
    let balancer = tokio::spawn(balancer::serve(listener, addresses));
    let replicas = Arc::new(replicas);
    let seal = Arc::new(SealSwitch::new(All(Arc::clone(&replicas)), sealed));
    let (stop, stopped) = oneshot::channel();
    let running = tokio::spawn(async move {
        // A dropped sender means the same as a message.
        let _ = stopped.await;
        balancer.abort();
        // They end together, and the engine is the last.
        futures_util::future::join_all(replicas.iter().map(Replica::stop)).await;
        drop(engine);
    });
    let targets = gateway::targets(&config, address);
    let admin = fleet.replicas.first().and_then(|(admin, _)| *admin);
    Ok((Gateway { targets, address, admin, seal, stop, running, log: None }, fleet))
}

/// Returns a configuration as the replica of this number needs it.
fn as_replica(
    text: &str,
    number: usize,
    balancer: IpAddr,
    shared: &SharedState,
) -> Result<String, DemoError> {
    let mut settings = Settings::parse(text)?;
    settings.listen_behind(balancer, number == 1)?;
    settings.name_replica(REPLICA_PARAMETER, number)?;
    settings.share_state(shared)?;
    settings.to_text()
}

/// Returns 32 random bytes in base64.
fn secret() -> Result<String, DemoError> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| DemoError::Key)?;
    Ok(STANDARD.encode(bytes))
}
