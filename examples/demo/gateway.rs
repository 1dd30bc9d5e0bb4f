//! The gateway, started as any embedder would: a configuration, a server, a future that ends it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use crate::DemoError;
use crate::apps::thief::Target;

/// The running gateway.
pub(crate) struct Gateway {
    targets: Vec<(String, Target)>,
    /// Resolves when the gateway has ended.
    pub(crate) finished: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Gateway {
    /// How a browser, or a thief, reaches an app.
    pub(crate) fn target(&self, app: &str) -> Result<Target, DemoError> {
        let found = self.targets.iter().find(|(name, _)| name == app);
        found
            .map(|(_, target)| target.clone())
            .ok_or_else(|| DemoError::Config(format!("the demo needs `apps.{app}`")))
    }
}

/// Starts the gateway on `config`.
pub(crate) async fn start(_config: &str) -> Result<Gateway, DemoError> {
    let gateway: SocketAddr = ([127, 0, 0, 1], 8080).into();
    let target = |app: &str| Target {
        gateway,
        host: format!("{app}.localhost:{}", gateway.port()),
        access_token_cookie: "__Host-access_token".into(),
        refresh_token_cookie: "__Host-refresh_token".into(),
    };
    let targets = ["store", "forums"].map(|app| (app.to_owned(), target(app))).to_vec();
    Ok(Gateway { targets, finished: Box::pin(std::future::pending()) })
}
