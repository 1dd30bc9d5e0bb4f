//! The gateway, started as any embedder would: a configuration, a server, a future that ends it.

use std::net::SocketAddr;
use std::time::Duration;

use portcullis::config::{self, AccessLog, App, Log, LogFormat};
use portcullis::server::Server;
use portcullis::telemetry::{self, LogEnd};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::DemoError;
use crate::apps::thief::Target;

/// The running gateway.
pub(crate) struct Gateway {
    targets: Vec<(String, Target)>,
    stop: oneshot::Sender<()>,
    pub(crate) running: JoinHandle<()>,
    _log: LogEnd,
}

impl Gateway {
    /// How a browser, or a thief, reaches an app.
    pub(crate) fn target(&self, app: &str) -> Result<Target, DemoError> {
        let found = self.targets.iter().find(|(name, _)| name == app);
        found
            .map(|(_, target)| target.clone())
            .ok_or_else(|| DemoError::Config(format!("the demo needs `apps.{app}`")))
    }

    /// Lets requests in flight end, and waits for that.
    pub(crate) async fn stop(self) {
        // An error says that it has ended already.
        let _ = self.stop.send(());
        let _ = self.running.await;
    }
}

/// Starts the gateway on a configuration's text.
pub(crate) async fn start(text: &str) -> Result<Gateway, DemoError> {
    let config = config::parse(text).map_err(|error| DemoError::Gateway(error.to_string()))?.config;
    // Quieter than in production: the side panel tells what happens. `RUST_LOG` changes it.
    let log =
        telemetry::start(&Log { format: LogFormat::Text, level: "warn".into(), access: AccessLog::Off });
    let (apps, replay_window) = (config.apps.clone(), config.refresh.replay_window);
    let sealed = !config.session.seal_keys.is_empty();
    let server = Server::bind(config).await.map_err(|error| DemoError::Gateway(error.to_string()))?;
    let address = server.addresses().first().copied();
    let address = address.ok_or_else(|| DemoError::Gateway("it listens nowhere".into()))?;
    let (stop, stopped) = oneshot::channel();
    let running = tokio::spawn(async move {
        let stopped = async {
            // A dropped sender means the same as a message.
            let _ = stopped.await;
        };
        // It takes over from nobody.
        let _ = server.run(stopped).await;
    });
    let targets =
        apps.iter().map(|app| (app.name.clone(), target(app, address, replay_window, sealed))).collect();
    Ok(Gateway { targets, stop, running, _log: log })
}

fn target(app: &App, gateway: SocketAddr, replay_window: Duration, sealed: bool) -> Target {
    let host = app.hosts.first().map_or("localhost", String::as_str);
    Target {
        gateway,
        host: format!("{host}:{}", gateway.port()),
        access_token_cookie: app.cookies.access_token.clone(),
        refresh_token_cookie: app.cookies.refresh_token.clone(),
        replay_window,
        sealed,
    }
}
