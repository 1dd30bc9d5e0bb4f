//! Puts the provider, the apps and the gateway together.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::apps::control::{Control, Reach};
use crate::apps::{self, forums, store, thief};
use crate::gateway::{Gateway, Texts};
use crate::journal::Journal;
use crate::provider::{Provider, USERS};
use crate::replicas::Fleet;
use crate::settings::{APPS, Settings};
use crate::{DemoError, Options, gateway, replicas};

/// The time that Ctrl-C leaves requests in flight.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// A running demo.
pub(crate) struct Demo {
    gateway: Gateway,
    /// With `--replicas`.
    fleet: Option<Fleet>,
    servers: Vec<JoinHandle<()>>,
    issuer: String,
}

impl Demo {
    /// Starts everything; what it prints later works from here on.
    pub(crate) async fn start(options: &Options) -> Result<Self, DemoError> {
        let text = std::fs::read_to_string(&options.config)
            .map_err(|error| DemoError::Config(format!("{}: {error}", options.config.display())))?;
        // As it is, so that error messages point at the file's own lines.
        let sealed = !gateway::parse(&text)?.session.seal_keys.is_empty();
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
        let mut cells = Vec::new();
        for app in APPS {
            let listener = bind((Ipv4Addr::LOCALHOST, port(settings.app_port(app))?).into(), app).await?;
            settings.set_upstream(app, listener.local_addr()?)?;
            settings.name_tokens(app)?;
            let cell = Arc::new(OnceLock::new());
            let control = Control {
                app,
                protected_path: protected_path(app),
                journal: Arc::clone(&journal),
                logins: Arc::clone(&logins),
                gateway: Arc::clone(&cell),
                thief: thief.clone(),
            };
            servers.push(serve(listener, apps::complete(api(app), control)));
            cells.push((app, cell));
        }

        let texts = Texts { sealed: settings.sealed()?, unsealed: settings.unsealed()? };
        journal.set_sealed(sealed);
        let (gateway, fleet) =
            start_gateways(options.replicas, texts, sealed, settings.listen_address()?).await?;
        let links = links(&gateway, &issuer);
        let turn = Arc::new(Mutex::new(()));
        for (app, cell) in cells {
            let (target, links) = (gateway.target(app)?, links.clone());
            let (seal, turn) = (Arc::clone(&gateway.seal), Arc::clone(&turn));
            let reach = Reach { target, links, replicas: options.replicas, seal, turn };
            // The cell is fresh: it cannot be taken.
            let _ = cell.set(reach);
        }
        Ok(Self { gateway, fleet, servers, issuer })
    }

    /// For people.
    pub(crate) fn greeting(&self) -> String {
        let mut text = String::from("\n  Portcullis demo\n\n");
        for app in APPS {
            let _ = writeln!(text, "    {app:12} {}", self.gateway.url(app));
        }
        let _ = writeln!(text, "    {:12} {}", "provider", self.issuer);
        if let Some(fleet) = &self.fleet {
            text.push_str(&fleet.greeting());
        } else {
            let status_page = self.gateway.status_page();
            let status_page = status_page.as_deref().unwrap_or("none: `server.admin_listen` is false");
            let _ = writeln!(text, "    {:12} {status_page}", "status page");
        }
        text.push_str("\n  Sign in as\n");
        for user in &USERS {
            let _ = writeln!(text, "    {:6} {:11} {}", user.username, user.password, user.roles.join(", "));
        }
        text.push_str("\n  Ctrl-C stops it.\n");
        text
    }

    /// For the browser tests.
    pub(crate) fn as_json(&self) -> String {
        let mut addresses = links(&self.gateway, &self.issuer);
        if let (Some(addresses), Some(fleet)) = (addresses.as_object_mut(), &self.fleet) {
            addresses.insert("fleet".into(), fleet.as_json());
        }
        addresses.to_string()
    }

    /// Serves until Ctrl-C, SIGTERM or the end of the gateway.
    pub(crate) async fn run_until_interrupted(mut self) {
        let mut terminate = signal(SignalKind::terminate()).ok();
        let terminated = async {
            match &mut terminate {
                Some(terminate) => terminate.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated => {}
            _ = &mut self.gateway.running => return,
        }
        // First the apps: their event streams would keep the gateway waiting.
        for server in self.servers {
            server.abort();
        }
        // A connection that will not end must not keep anybody waiting.
        let _ = tokio::time::timeout(STOP_TIMEOUT, self.gateway.stop()).await;
    }
}

/// Starts one gateway, or several with an engine and a balancer.
async fn start_gateways(
    replicas: u8,
    texts: Texts,
    sealed: bool,
    listen: SocketAddr,
) -> Result<(Gateway, Option<Fleet>), DemoError> {
    if replicas == 1 {
        return Ok((gateway::start(texts, sealed).await?, None));
    }
    let (gateway, fleet) = replicas::start(texts, sealed, replicas.into(), listen).await?;
    Ok((gateway, Some(fleet)))
}

/// Returns the addresses that a browser may open.
fn links(gateway: &Gateway, issuer: &str) -> Value {
    let (store, forums) = (gateway.url("store"), gateway.url("forums"));
    json!({ "store": store, "forums": forums, "status": gateway.status_page(), "provider": issuer })
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
