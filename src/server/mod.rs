//! The server: listeners, connections, and their end.
//!
//! We accept connections ourselves and hand Pingora one checked message at a time (see `connection.rs`); Pingora's own
//! `Server` and `Service` are not used.

mod body_rate;
mod body_read;
mod chunked;
mod closing;
mod connection;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod head_fields;
mod http2;
mod listener;
mod message;
mod message_stream;
mod request_head;
mod timer;
mod tls_stream;
pub(crate) mod watch;
mod web_socket_frames;
mod wire;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::HttpServerApp;
use pingora_core::apps::http_app::HttpServer;
use pingora_core::server::configuration::ServerConf;
use tokio::net::TcpSocket;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::admin::Admin;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::gateway::{Gateway, State, open_streams};
use crate::identity_provider::SetupError;
use crate::tls::CertificateStore;

use connection::ConnectionSettings;
use listener::{Connections, Front, accept};
use watch::EndReason;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Idle connections to apps that are kept, for each worker thread.
const POOLED_CONNECTIONS: usize = 1024;

/// Pingora's own bound on tries; the gateway's is lower.
const MAX_TRIES: usize = 8;

/// Connections to the admin listener at once.
const MAX_ADMIN_CONNECTIONS: usize = 64;

/// How long connections that were told to end may take for it.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address cannot be listened on.
    #[error("cannot listen on `{address}` (`{key}`): {source}")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// An identity provider cannot be prepared.
    #[error(transparent)]
    Provider(#[from] SetupError),
    /// A certificate cannot be used.
    #[error("`server.tls.certificates`: {0}")]
    Certificate(String),
}

/// What the TLS listeners have in common.
#[derive(Debug)]
struct Tls {
    certificates: Arc<CertificateStore>,
    config: Arc<rustls::ServerConfig>,
}

impl Tls {
    fn new(settings: &config::Tls) -> Result<Self, BindError> {
        let refused = |error: &dyn std::error::Error| BindError::Certificate(error.to_string());
        let certificates = Arc::new(CertificateStore::load(settings).map_err(|error| refused(&error))?);
        let config = Arc::new(certificates.server_config(settings).map_err(|error| refused(&error))?);
        Ok(Self { certificates, config })
    }
}

/// A gateway that is bound to its addresses and not running yet.
#[derive(Debug)]
pub struct Server {
    config: Config,
    state: Arc<State>,
    public: Vec<TcpListener>,
    public_tls: Vec<TcpListener>,
    tls: Option<Tls>,
    admin: Option<TcpListener>,
}

impl Server {
    /// Binds every address. Connections wait until [`Server::run`].
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        Self::bind_with_clock(config, Arc::new(SystemClock)).await
    }

    /// The same with another clock.
    pub async fn bind_with_clock(config: Config, clock: Arc<dyn Clock>) -> Result<Self, BindError> {
        let state = Arc::new(State::new(&config, clock)?);
        let listen =
            |key, address| bind(address).map_err(|source| BindError::Listen { key, address, source });
        let listen_to_all = |key, addresses: &[SocketAddr]| {
            addresses.iter().map(|address| listen(key, *address)).collect::<Result<Vec<_>, _>>()
        };
        let tls = config.server.tls.as_ref().map(Tls::new).transpose()?;
        let public = listen_to_all("server.listen", &config.server.listen)?;
        let public_tls = listen_to_all("server.listen_tls", &config.server.listen_tls)?;
        let admin =
            config.server.admin_listen.map(|address| listen("server.admin_listen", address)).transpose()?;
        let mut resolving = JoinSet::new();
        for app in state.apps.iter().cloned() {
            resolving.spawn(async move { app.upstreams.resolve().await });
        }
        resolving.join_all().await;
        Ok(Self { config, state, public, public_tls, tls, admin })
    }

    /// Where browsers connect without TLS, with the ports that port 0 became.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.public.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Where browsers connect with TLS, likewise.
    pub fn tls_addresses(&self) -> Vec<SocketAddr> {
        self.public_tls.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `shutdown` is ready, then lets requests in flight end, for at most `server.shutdown_grace`.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let (stop, stopping) = channel::channel(false);
        let limits = &self.config.server.limits;
        let settings = ConnectionSettings::new(limits, self.config.server.log.access);
        let connections = Connections::new(limits.max_connections);
        let gateway = self.proxy();
        let mut background = JoinSet::new();
        for provider in &self.state.providers {
            background.spawn(Arc::clone(provider).run(stopping.clone()));
        }
        for app in self.state.apps.iter().cloned() {
            let stopping = stopping.clone();
            background.spawn(async move { app.upstreams.run(stopping).await });
        }
        background.spawn(open_streams::run(Arc::clone(&self.state), stopping.clone()));
        let public = Arc::new(Front {
            app: Arc::new(gateway),
            settings: settings.clone(),
            connections: Arc::clone(&connections),
        });
        let mut accepting = JoinSet::new();
        for listener in self.public {
            spawn_accept(&mut accepting, listener, None, &public, &stopping);
        }
        if let Some(Tls { certificates, config }) = self.tls {
            for listener in self.public_tls {
                spawn_accept(&mut accepting, listener, Some(&config), &public, &stopping);
            }
            background.spawn(certificates.run(stopping.clone()));
        }
        let admin_app = Arc::new(HttpServer::new_app(Admin::new(
            Arc::clone(&self.state),
            self.config.server.admin_token.clone(),
        )));
        let admin_connections = Connections::new(MAX_ADMIN_CONNECTIONS);
        let admin = Arc::new(Front { app: admin_app, settings, connections: admin_connections });
        let mut admin_accepting = JoinSet::new();
        if let Some(listener) = self.admin {
            spawn_accept(&mut admin_accepting, listener, None, &admin, &stopping);
        }

        shutdown.await;
        let grace = self.config.server.shutdown_grace;
        info!(connections = connections.count(), grace_seconds = grace.as_secs(), "stopping");
        let _ = stop.send(true);
        while accepting.join_next().await.is_some() {}
        if timeout(grace, connections.drained()).await.is_err() {
            warn!(connections = connections.count(), "the grace period is over: connections are ended");
            connections.end_all(EndReason::Shutdown);
            let _ = timeout(END_TIMEOUT, connections.drained()).await;
        }
        public.app.http_cleanup().await;
        info!("stopped");
    }

    fn proxy(&self) -> pingora_proxy::HttpProxy<Gateway> {
        let conf = ServerConf {
            threads: self.config.server.worker_threads,
            upstream_keepalive_pool_size: POOLED_CONNECTIONS,
            max_retries: MAX_TRIES,
            ..ServerConf::default()
        };
        pingora_proxy::http_proxy(&Arc::new(conf), Gateway::new(Arc::clone(&self.state)))
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // So that a restart does not wait for old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

fn spawn_accept<A: HttpServerApp + Send + Sync + 'static>(
    tasks: &mut JoinSet<()>,
    listener: TcpListener,
    tls: Option<&Arc<rustls::ServerConfig>>,
    front: &Arc<Front<A>>,
    stopping: &channel::Receiver<bool>,
) {
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => {
            tasks.spawn(accept(listener, tls.cloned(), Arc::clone(front), stopping.clone()));
        }
        Err(error) => tracing::error!(%error, "a listener cannot be used"),
    }
}
