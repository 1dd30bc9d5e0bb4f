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
use crate::process::prepare::prepare;
use crate::process::reload::Reloader;
use crate::process::upgrade::{Inherited, NotWanted, Purpose, Successor};
use crate::system::clock::{Clock, SystemClock};
use crate::system::name_lookup::{Lookup, SystemLookup};

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address cannot be listened on.
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
    /// The process that runs goes on.
    #[error(transparent)]
    NotWanted(#[from] NotWanted),
    /// A certificate cannot be used.
    #[error("`server.tls.certificates`: {0}")]
    Certificate(String),
}

/// The end of the message for an address that cannot be listened on: what helps.
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
    /// Binds every address of the configuration for which no listener is inherited.
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
    // So that a restart does not wait for old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// A gateway that is bound to its addresses and not running yet.
#[derive(Debug)]
pub struct Server {
    pub(super) reloader: Reloader,
    /// True: nothing more is accepted.
    pub(super) stop: channel::Sender<bool>,
    /// True: nothing is served any more.
    pub(super) over: channel::Sender<bool>,
    pub(super) listeners: Listeners,
    pub(super) tls: Option<Tls>,
    pub(super) successor: Option<Successor>,
}

impl Server {
    /// Binds every address. Connections wait until [`Server::run`].
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        Self::bind_with(config, Arc::new(SystemClock), Arc::new(SystemLookup::default())).await
    }

    /// Does the same with the listeners of another process, which goes on until this one runs and accepts.
    pub async fn take_over(config: Config, inherited: Inherited) -> Result<Self, BindError> {
        let lookup = Arc::new(SystemLookup::default());
        Self::bind_or_inherit(config, Arc::new(SystemClock), lookup, Some(inherited)).await
    }

    /// Does the same with another clock, and another way to look up the host names of apps.
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
        let state = Arc::new(builder.first(&config)?);
        let tls = config.server.tls.as_ref().map(Tls::new).transpose()?;
        let listeners = Listeners::bind(&config.server, inherited.as_mut())?;
        let mut successor = None;
        if let Some(inherited) = inherited {
            successor = Some(follow(inherited, &state).await?);
            // The old process serves meanwhile, and better than one that has no keys.
            prepare(None, &state).await;
        } else {
            resolve_upstreams(&state).await;
        }
        let (stop, _) = channel::channel(false);
        // What goes on in the background is there for what is served, not for what comes: a stop may take an hour.
        let (over, is_over) = channel::channel(false);
        let reloader = Reloader::new(config, builder, state, is_over);
        Ok(Self { reloader, stop, over, listeners, tls, successor })
    }

    /// Returns where browsers connect without TLS, with the ports that port 0 became.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.listeners.public)
    }

    /// Returns where browsers connect with TLS, likewise.
    pub fn tls_addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.listeners.public_tls)
    }

    /// Returns where the admin listener is.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        addresses(self.listeners.admin.as_slice()).pop()
    }

    /// Returns the handle that gives it another configuration while it runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

/// Takes what the process before has revoked.
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
