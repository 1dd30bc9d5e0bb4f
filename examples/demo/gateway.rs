//! The gateway, started as any embedder would: a configuration, a server, a future that ends it. With `--replicas`,
//! each replica does this in a process of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use portcullis::config::{self, AccessLog, App, Config, Log, LogFormat};
use portcullis::process::{Reloader, Server};
use portcullis::telemetry::{self, LogEnd};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::DemoError;
use crate::apps::thief::Target;

/// The running gateway, or all replicas of it.
pub(crate) struct Gateway {
    pub(crate) targets: Vec<(String, Target)>,
    /// The address that browsers use.
    pub(crate) address: SocketAddr,
    /// The address of its status page.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) seal: Arc<SealSwitch>,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) running: JoinHandle<()>,
    /// The log of this process, if the gateway runs here.
    #[expect(dead_code, reason = "it writes the rest of the log when it is dropped")]
    pub(crate) log: Option<LogEnd>,
}

/// The configuration with and without `session.seal_keys`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Texts {
    pub(crate) sealed: String,
    pub(crate) unsealed: String,
}

/// Loads the running gateway's configuration again, with `session.seal_keys` or without, as SIGHUP would after an edit.
pub(crate) struct SealSwitch {
    gateways: Box<dyn Reload>,
    sealed: AtomicBool,
}

/// The way to the configuration of a gateway, or of all replicas.
#[async_trait]
pub(crate) trait Reload: Send + Sync {
    /// Loads it again, with `session.seal_keys` or without.
    async fn reload(&self, sealed: bool) -> Result<(), DemoError>;
}

/// A gateway in this process.
struct Here {
    reloader: Reloader,
    texts: Texts,
}

#[async_trait]
impl Reload for Here {
    async fn reload(&self, sealed: bool) -> Result<(), DemoError> {
        let text = if sealed { &self.texts.sealed } else { &self.texts.unsealed };
        let result = self.reloader.reload(parse(text)?).await;
        result.map(drop).map_err(|error| DemoError::Gateway(error.to_string()))
    }
}

impl SealSwitch {
    pub(crate) fn new(gateways: impl Reload + 'static, sealed: bool) -> Self {
        Self { gateways: Box::new(gateways), sealed: AtomicBool::new(sealed) }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.sealed.load(Ordering::Relaxed)
    }

    pub(crate) async fn set(&self, sealed: bool) -> Result<(), DemoError> {
        self.gateways.reload(sealed).await?;
        self.sealed.store(sealed, Ordering::Relaxed);
        Ok(())
    }
}

impl Gateway {
    /// Returns the way of a browser, or of a thief, to an app.
    pub(crate) fn target(&self, app: &str) -> Result<Target, DemoError> {
        let found = self.targets.iter().find(|(name, _)| name == app);
        found
            .map(|(_, target)| target.clone())
            .ok_or_else(|| DemoError::Config(format!("the demo needs `apps.{app}`")))
    }

    /// Returns the URL of an app for a browser.
    pub(crate) fn url(&self, app: &str) -> String {
        self.target(app).map(|target| format!("http://{}", target.host)).unwrap_or_default()
    }

    /// Returns the URL of the status page for a browser.
    pub(crate) fn status_page(&self) -> Option<String> {
        let address = self.admin?;
        // One that listens on every address is found on this machine's own.
        let here =
            if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        let ip = if address.ip().is_unspecified() { here } else { address.ip() };
        Some(format!("http://{}/", SocketAddr::new(ip, address.port())))
    }

    /// Lets requests in flight end, and waits for that.
    pub(crate) async fn stop(self) {
        // An error says that it has ended already.
        let _ = self.stop.send(());
        let _ = self.running.await;
    }
}

/// Reads a configuration.
pub(crate) fn parse(text: &str) -> Result<Config, DemoError> {
    config::parse(text).map(|parsed| parsed.config).map_err(|error| DemoError::Gateway(error.to_string()))
}

/// Starts the gateway.
pub(crate) async fn start(texts: Texts, sealed: bool) -> Result<Gateway, DemoError> {
    let config = parse(if sealed { &texts.sealed } else { &texts.unsealed })?;
    // Quieter than in production: the side panel tells what happens. `RUST_LOG` changes it.
    let log =
        telemetry::start(&Log { format: LogFormat::Text, level: "warn".into(), access: AccessLog::Off });
    let server = Server::bind(config.clone()).await.map_err(|error| DemoError::Gateway(error.to_string()))?;
    let address = server.addresses().first().copied();
    let address = address.ok_or_else(|| DemoError::Gateway("it listens nowhere".into()))?;
    let admin = server.admin_address();
    let seal = Arc::new(SealSwitch::new(Here { reloader: server.reloader(), texts }, sealed));
    let (stop, stopped) = oneshot::channel();
    let running = tokio::spawn(async move {
        let stopped = async {
            // A dropped sender means the same as a message.
            let _ = stopped.await;
        };
        // It takes over from nobody.
        let _ = server.run(stopped).await;
    });
    let targets = targets(&config, address);
    Ok(Gateway { targets, address, admin, seal, stop, running, log: Some(log) })
}

/// Returns the ways to all apps through the gateway, or the balancer, at `address`.
pub(crate) fn targets(config: &Config, address: SocketAddr) -> Vec<(String, Target)> {
    let window = config.refresh.replay_window;
    config.apps.iter().map(|app| (app.name.clone(), target(app, address, window))).collect()
}

fn target(app: &App, gateway: SocketAddr, replay_window: Duration) -> Target {
    let host = app.hosts.first().map_or("localhost", String::as_str);
    Target {
        gateway,
        host: format!("{host}:{}", gateway.port()),
        access_token_cookie: app.cookies.access_token.clone(),
        refresh_token_cookie: app.cookies.refresh_token.clone(),
        replay_window,
    }
}
