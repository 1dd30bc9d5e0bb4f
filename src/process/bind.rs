//! A server that is bound to its addresses, by itself or with the listeners of another process.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use tracing::warn;

use crate::config::{self, Config};
use crate::connection::listener::BACKLOG;
use crate::connection::tls::certificate_store::CertificateStore;
use crate::gateway::State;
use crate::identity_provider::SetupError;
use crate::process::build::StateBuilder;
use crate::process::fleet_link::FleetLink;
use crate::process::prepare::prepare;
use crate::process::reload::Reloader;
use crate::process::upgrade::{Inherited, NotWanted, Purpose, Successor};
use crate::system::clock::{Clock, SystemClock};
use crate::system::name_lookup::{Lookup, SystemLookup};

/// The reason why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The process cannot listen on an address.
    #[error("cannot listen on `{address}` (`{key}`): {source}{}", remedy(source))]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// An identity provider cannot be prepared.
    #[error(transparent)]
    Provider(#[from] SetupError),
    /// The running process does not hand over and goes on serving.
    #[error(transparent)]
    NotWanted(#[from] NotWanted),
    /// A certificate cannot be used.
    #[error("`server.tls.certificates`: {0}")]
    Certificate(String),
}

/// Returns the end of the message about an address: the way to correct the error.
fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; end what listens there (`ss -ltnp` names it), or choose another port"
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "; no interface of this machine has that address: write one that it has, or `0.0.0.0` for all"
        }
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need the capability `CAP_NET_BIND_SERVICE`: give it, or choose a port above"
        }
        _ => "",
    }
}

/// The certificates and settings that all TLS listeners share.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) certificates: Arc<CertificateStore>,
    pub(super) config: Arc<rustls::ServerConfig>,
}

impl Tls {
    fn new(settings: &config::Tls) -> Result<Self, BindError> {
        let refused = |error: &dyn std::error::Error| BindError::Certificate(error.to_string());
        let certificates = Arc::new(CertificateStore::load(settings).map_err(|error| refused(&error))?);
        let config = Arc::new(certificates.server_config(settings).map_err(|error| refused(&error))?);
        Ok(Self { certificates, config })
    }
}

/// The listeners of a process.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) public: Vec<TcpListener>,
    pub(super) public_tls: Vec<TcpListener>,
    pub(super) admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds the addresses of the configuration. If a listener for an address is inherited, it uses that listener.
    fn bind(settings: &config::Server, mut inherited: Option<&mut Inherited>) -> Result<Self, BindError> {
        let mut listen = |key, purpose, address| {
            let known = inherited.as_mut().and_then(|inherited| inherited.take(purpose, address));
            let listener = known.map_or_else(|| bind(address), Ok).and_then(TcpListener::from_std);
            listener.map_err(|source| BindError::Listen { key, address, source })
        };
        let mut listen_on_all = |key, purpose, addresses: &[SocketAddr]| {
            addresses.iter().map(|address| listen(key, purpose, *address)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            public: listen_on_all("server.listen", Purpose::Public, &settings.listen)?,
            public_tls: listen_on_all("server.listen_tls", Purpose::PublicTls, &settings.listen_tls)?,
            admin: listen_on_all("server.admin_listen", Purpose::Admin, settings.admin_listen.as_slice())?
                .pop(),
        })
    }
}

fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // With this option, a restart need not wait until the system has forgotten the old connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// A gateway that is bound to its addresses, but does not run yet.
#[derive(Debug)]
pub struct Server {
    pub(super) reloader: Reloader,
    /// True if no more connections are accepted.
    pub(super) stop: channel::Sender<bool>,
    /// True if nothing is served any more.
    pub(super) over: channel::Sender<bool>,
    pub(super) listeners: Listeners,
    pub(super) tls: Option<Tls>,
    pub(super) successor: Option<Successor>,
    /// `None` if this process is not a replica of a fleet.
    pub(super) fleet_link: Option<FleetLink>,
}

impl Server {
    /// Binds every address. Connections wait until [`Server::run`] accepts them.
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        Self::bind_with(config, Arc::new(SystemClock), Arc::new(SystemLookup::default())).await
    }

    /// Does the same with the listeners of another process. The other process goes on until this one runs and accepts.
    pub async fn take_over(config: Config, inherited: Inherited) -> Result<Self, BindError> {
        let lookup = Arc::new(SystemLookup::default());
        Self::bind_or_inherit(config, Arc::new(SystemClock), lookup, Some(inherited)).await
    }

    /// Does the same with another clock, and with another way of looking up the host names of apps.
    pub async fn bind_with(
        config: Config,
        clock: Arc<dyn Clock>,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, BindError> {
        Self::bind_or_inherit(config, clock, lookup, None).await
    }

    async fn bind_or_inherit(
        config: Config,
        clock: Arc<dyn Clock>,
        lookup: Arc<dyn Lookup>,
        mut inherited: Option<Inherited>,
    ) -> Result<Self, BindError> {
        let builder = StateBuilder::new(&config, clock, lookup);
        let (fleet_link, engine_link) = FleetLink::new(&config).unzip();
        let state = Arc::new(builder.first(&config, engine_link)?);
        let loaded_at = state.now();
        let tls = config.server.tls.as_ref().map(Tls::new).transpose()?;
        let listeners = Listeners::bind(&config.server, inherited.as_mut())?;
        let mut successor = None;
        if let Some(inherited) = inherited {
            successor = Some(follow(inherited, &state).await?);
            // The old process serves during the preparation. It has keys, so it serves better than this process could
            // without them.
            prepare(None, &state).await;
        } else {
            resolve_upstreams(&state).await;
        }
        let (stop, _) = channel::channel(false);
        // The background tasks run until the last request is served. A stop may take an hour, so they must not end at
        // its start.
        let (over, is_over) = channel::channel(false);
        let reloader = Reloader::new(config, builder, state, loaded_at, is_over);
        Ok(Self { reloader, stop, over, listeners, tls, successor, fleet_link })
    }

    /// Returns the addresses where browsers connect without TLS. If a port was 0, the result has the port that the
    /// system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.listeners.public)
    }

    /// Returns the addresses where browsers connect with TLS. If a port was 0, the result has the port that the system
    /// chose.
    pub fn tls_addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.listeners.public_tls)
    }

    /// Returns the address of the admin listener.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        addresses(self.listeners.admin.as_slice()).pop()
    }

    /// Returns the handle that gives another configuration to the server while it runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

/// Takes the revocations of the old process.
async fn follow(inherited: Inherited, state: &Arc<State>) -> Result<Successor, NotWanted> {
    for address in inherited.left_over() {
        warn!(%address, "the process before listens there, and this one will not");
    }
    let list = Arc::clone(state);
    let hear = Arc::new(move |records: &[_]| list.take_revocations(records));
    inherited.follow(state.memory(), hear).await
}

/// Looks up the host names of all apps, so that the first requests find addresses.
async fn resolve_upstreams(state: &State) {
    let mut resolving = JoinSet::new();
    for app in state.apps.iter().cloned() {
        resolving.spawn(async move { app.upstreams.resolve().await });
    }
    resolving.join_all().await;
}
