//! Puts the provider, the apps and the gateway together.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::apps::control::Control;
use crate::apps::{self, forums, store, thief};
use crate::gateway::Gateway;
use crate::journal::Journal;
use crate::provider::{Provider, USERS};
use crate::settings::{APPS, Settings};
use crate::{DemoError, Options, gateway};

/// How long Ctrl-C waits for requests in flight.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// A running demo.
pub(crate) struct Demo {
    gateway: Gateway,
    servers: Vec<JoinHandle<()>>,
    issuer: String,
}

impl Demo {
    /// Starts everything; what it prints later works from here on.
    pub(crate) async fn start(options: &Options) -> Result<Self, DemoError> {
        let text = std::fs::read_to_string(&options.config)
            .map_err(|error| DemoError::Config(format!("{}: {error}", options.config.display())))?;
        let mut settings = Settings::parse(&text)?;
        if options.free_ports {
            settings.free_all_ports()?;
        } else {
            for address in settings.gateway_addresses()? {
                // The gateway binds them itself; asking here gives a better message.
                drop(bind(address, "the gateway").await?);
            }
        }
        let port = |configured: Result<u16, DemoError>| if options.free_ports { Ok(0) } else { configured };

        let journal = Arc::new(Journal::new());
        let provider_port = port(settings.provider_port())?;
        let listener = bind((Ipv4Addr::LOCALHOST, provider_port).into(), "the identity provider").await?;
        let issuer = format!("http://{}", listener.local_addr()?);
        settings.set_issuer(&issuer)?;
        let provider = Provider::new(issuer.clone(), options.jwt_lifetime, Arc::clone(&journal))?;
        let logins = provider.logins();
        let mut servers = vec![serve(listener, provider.into_router())];

        let thief = thief::client().map_err(|error| DemoError::Gateway(error.to_string()))?;
        let mut targets = Vec::new();
        for app in APPS {
            let listener = bind((Ipv4Addr::LOCALHOST, port(settings.app_port(app))?).into(), app).await?;
            settings.set_upstream(app, listener.local_addr()?)?;
            let target = Arc::new(OnceLock::new());
            let (journal, logins, cell) = (Arc::clone(&journal), Arc::clone(&logins), Arc::clone(&target));
            let control = Control::new(app, protected_path(app), journal, logins, cell, thief.clone());
            servers.push(serve(listener, apps::complete(api(app), control)));
            targets.push((app, target));
        }

        // Untouched where the ports are its own, so that error messages point at the file as it is.
        let text = if options.free_ports { settings.to_text()? } else { text };
        let gateway = gateway::start(&text).await?;
        for (app, target) in targets {
            // The cell is fresh: it cannot be taken.
            let _ = target.set(gateway.target(app)?);
        }
        Ok(Self { gateway, servers, issuer })
    }

    /// For people.
    pub(crate) fn greeting(&self) -> String {
        let mut text = String::from("\n  Portcullis demo\n\n");
        for app in APPS {
            let _ = writeln!(text, "    {app:8} {}", self.url(app));
        }
        let _ = writeln!(text, "    {:8} {}\n\n  Sign in as", "provider", self.issuer);
        for user in &USERS {
            let _ = writeln!(text, "    {:6} {:11} {}", user.username, user.password, user.roles.join(", "));
        }
        text.push_str("\n  Ctrl-C stops it.\n");
        text
    }

    /// For the browser tests.
    pub(crate) fn as_json(&self) -> String {
        json!({ "store": self.url("store"), "forums": self.url("forums"), "provider": self.issuer })
            .to_string()
    }

    /// Serves until Ctrl-C or the end of the gateway.
    pub(crate) async fn run_until_interrupted(mut self) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = &mut self.gateway.running => return,
        }
        // First the apps: their event streams would keep the gateway waiting.
        for server in self.servers {
            server.abort();
        }
        // A connection that will not end must not keep anybody waiting.
        let _ = tokio::time::timeout(STOP_TIMEOUT, self.gateway.stop()).await;
    }

    fn url(&self, app: &str) -> String {
        self.gateway.target(app).map(|target| format!("http://{}", target.host)).unwrap_or_default()
    }
}

pub(crate) fn api(app: &str) -> Router {
    if app == "store" { store::router() } else { forums::router() }
}

/// Something that only a signed-in user gets.
pub(crate) fn protected_path(app: &str) -> &'static str {
    if app == "store" { "/api/shopping-cart" } else { "/api/profile" }
}

pub(crate) async fn bind(address: SocketAddr, what: &str) -> Result<TcpListener, DemoError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| DemoError::Port { port: address.port(), what: what.to_owned(), source })
}

pub(crate) fn serve(listener: TcpListener, router: Router) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            eprintln!("error: {error}");
        }
    })
}
