//! The apps without the rest, for a gateway and an identity provider elsewhere: `--app store=0.0.0.0:3001`.
//!
//! Their pages work as ever. What needs the demo's own provider and gateway, the buttons of the side panel,
//! is not offered.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::DemoError;
use crate::apps::control::Control;
use crate::apps::{self, thief};
use crate::demo::{api, bind, protected_path, serve};
use crate::journal::Journal;
use crate::provider::Provider;
use crate::settings::APPS;

/// An app, and where it listens.
#[derive(Debug, Clone)]
pub(crate) struct App {
    name: &'static str,
    address: SocketAddr,
}

/// Reads `store=0.0.0.0:3001`.
pub(crate) fn app(text: &str) -> Result<App, String> {
    let (name, address) = text.split_once('=').ok_or("write `store=0.0.0.0:3001`")?;
    let name = APPS.into_iter().find(|known| *known == name);
    let name = name.ok_or_else(|| format!("the apps are {}", APPS.join(" and ")))?;
    let address = address.parse().map_err(|_| format!("`{address}` is no address with a port"))?;
    Ok(App { name, address })
}

/// Serves until SIGTERM or Ctrl-C.
pub(crate) async fn serve_all(wanted: &[App]) -> Result<(), DemoError> {
    let journal = Arc::new(Journal::new());
    // Its logins stay empty: nobody can reach it.
    let provider = Provider::new(String::new(), Duration::from_secs(1), Arc::clone(&journal))?;
    let thief = thief::client().map_err(|error| DemoError::Gateway(error.to_string()))?;
    let mut servers = Vec::new();
    for App { name, address } in wanted {
        let listener = bind(*address, name).await?;
        let control = Control {
            app: name,
            protected_path: protected_path(name),
            journal: Arc::clone(&journal),
            logins: provider.logins(),
            gateway: Arc::new(OnceLock::new()),
            thief: thief.clone(),
        };
        servers.push(serve(listener, apps::complete(api(name), control)));
        println!("{name} at http://{address}");
    }
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    for server in servers {
        server.abort();
    }
    Ok(())
}
