//! The server: it binds its addresses, runs, drains and stops.

use std::future::Future;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::HttpServerApp;
use pingora_core::apps::http_app::HttpServer;
use pingora_core::server::configuration::ServerConf;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{oneshot, watch as channel};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::admin::{Listening, Process};
use crate::config::{self, Config};
use crate::connection::tls::certificate_store::CertificateStore;
use crate::gateway::{Gateway, State, bound_streams};
use crate::identity_provider::SetupError;
use crate::system::clock::{Clock, SystemClock};
use crate::system::name_lookup::{Lookup, SystemLookup};
use crate::telemetry::metrics::METRICS;

use crate::connection::connection_limit::Connections;
use crate::connection::exchange_control::EndReason;
use crate::connection::listener::{BACKLOG, Front, accept};
use crate::process::reload::CurrentAdmin;
use crate::process::reload::Reloader;
use crate::process::upgrade::{Estate, Purpose, Successor};
use crate::process::upgrade::{Inherited, NotWanted};
use crate::process::{reload, upgrade};

/// Idle connections of HTTP/2 to apps that are kept, for each worker thread.
const POOLED_CONNECTIONS: usize = 1024;

/// Pingora's own bound on tries; the gateway's is lower.
const MAX_TRIES: usize = 16;

/// Connections to the admin listener at once.
const MAX_ADMIN_CONNECTIONS: usize = 64;

/// How long connections that were told to end may take for it.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address cannot be listened on.
    #[error("cannot listen on `{address}` (`{key}`): {source}{}", what_to_do(source))]
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
    /// The process that runs goes on.
    #[error(transparent)]
    NotWanted(#[from] NotWanted),
    /// A certificate cannot be used.
    #[error("`server.tls.certificates`: {0}")]
    Certificate(String),
}

/// What helps where an address cannot be listened on.
fn what_to_do(error: &std::io::Error) -> &'static str {
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
    reloader: Reloader,
    /// True: nothing more is accepted.
    stop: channel::Sender<bool>,
    /// True: nothing is served any more.
    over: channel::Sender<bool>,
    public: Vec<TcpListener>,
    public_tls: Vec<TcpListener>,
    tls: Option<Tls>,
    admin: Option<TcpListener>,
    successor: Option<Successor>,
}

impl Server {
    /// Binds every address. Connections wait until [`Server::run`].
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        Self::bind_with(config, Arc::new(SystemClock), Arc::new(SystemLookup::default())).await
    }

    /// The same with the listeners of another process, which goes on until this one runs and accepts.
    pub async fn take_over(config: Config, inherited: Inherited) -> Result<Self, BindError> {
        let lookup = Arc::new(SystemLookup::default());
        Self::bind_or_inherit(config, Arc::new(SystemClock), lookup, Some(inherited)).await
    }

    /// The same with another clock, and another way to look up the host names of apps.
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
        let state = Arc::new(State::new(&config, clock, lookup)?);
        let mut listen = |key, purpose, address| {
            let known = inherited.as_mut().and_then(|inherited| inherited.take(purpose, address));
            let listener = known.map_or_else(|| bind(address), Ok).and_then(TcpListener::from_std);
            listener.map_err(|source| BindError::Listen { key, address, source })
        };
        let tls = config.server.tls.as_ref().map(Tls::new).transpose()?;
        let addresses = config.server.listen.iter();
        let public = addresses
            .map(|address| listen("server.listen", Purpose::Public, *address))
            .collect::<Result<Vec<_>, _>>()?;
        let addresses = config.server.listen_tls.iter();
        let public_tls = addresses
            .map(|address| listen("server.listen_tls", Purpose::PublicTls, *address))
            .collect::<Result<Vec<_>, _>>()?;
        let admin = config
            .server
            .admin_listen
            .map(|address| listen("server.admin_listen", Purpose::Admin, address))
            .transpose()?;
        let mut successor = None;
        if let Some(inherited) = inherited {
            for address in inherited.left_over() {
                warn!(%address, "the process before listens there, and this one will not");
            }
            let list = Arc::clone(&state);
            let hear = Arc::new(move |records: &[_]| list.take_revocations(records));
            successor = Some(inherited.follow(state.memory(), hear).await?);
            // The old process serves meanwhile, and better than one that has no keys.
            reload::prepare(None, &state).await;
        } else {
            let mut resolving = JoinSet::new();
            for app in state.apps.iter().cloned() {
                resolving.spawn(async move { app.upstreams.resolve().await });
            }
            resolving.join_all().await;
        }
        let (stop, _) = channel::channel(false);
        // What goes on in the background is there for what is served, not for what comes: a stop may take an hour.
        let (over, is_over) = channel::channel(false);
        let reloader = Reloader::new(config, state, is_over);
        Ok(Self { reloader, stop, over, public, public_tls, tls, admin, successor })
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

    /// What gives it another configuration while it runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Serves until `shutdown` is ready or another process has taken over. Then it is not ready any more, goes on for `server.shutdown_delay`, and lets requests
    /// in flight end, for at most `server.shutdown_grace`. An error: it was to take over from a process that goes on, and did not serve for long.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), NotWanted> {
        let reloader = &self.reloader;
        let (stopping, is_over) = (self.stop.subscribe(), self.over.subscribe());
        let (settings, connections) = (reloader.settings(), reloader.connections());
        reloader.follow_state();
        let process = Arc::new(self.process());
        let (hand_over, mut handed_over) = oneshot::channel();
        let (drained, is_drained) = oneshot::channel();
        let current = Arc::clone(reloader.current());
        let estate = Estate {
            listeners: self.offered(),
            memory: Arc::clone(reloader.state().memory()),
            hear: Arc::new(move |records| current.load().take_revocations(records)),
            handed_over: hand_over,
            is_drained,
        };
        let mut background = JoinSet::new();
        background.spawn(bound_streams::run(Arc::clone(reloader.current()), is_over.clone()));
        let public = Arc::new(Front {
            app: Arc::new(self.proxy()),
            settings: Arc::clone(settings),
            connections: Arc::clone(connections),
            others: None,
            gauge: Some(&METRICS.connections),
        });
        let mut accepting = JoinSet::new();
        for listener in self.public {
            spawn_accept(&mut accepting, listener, None, &public, &stopping);
        }
        if let Some(Tls { certificates, config }) = self.tls {
            for listener in self.public_tls {
                spawn_accept(&mut accepting, listener, Some(&config), &public, &stopping);
            }
            background.spawn(certificates.run(is_over.clone()));
        }
        let current = Arc::clone(reloader.current());
        let admin_app = CurrentAdmin { current, process: Arc::clone(&process) };
        let admin_app = Arc::new(HttpServer::new_app(admin_app));
        let admin_connections = Connections::new(MAX_ADMIN_CONNECTIONS);
        let admin = Arc::new(Front {
            app: admin_app,
            settings: Arc::clone(settings),
            connections: admin_connections,
            others: Some(Arc::clone(connections)),
            gauge: None,
        });
        let (admin_stop, admin_stopping) = channel::channel(false);
        let mut admin_accepting = JoinSet::new();
        if let Some(listener) = self.admin {
            background.spawn(process.run(admin_stopping.clone()));
            spawn_accept(&mut admin_accepting, listener, None, &admin, &admin_stopping);
        }

        let upgrade_socket = reloader.config().server.upgrade_socket.clone();
        let mut upgrading = JoinSet::new();
        upgrading.spawn(upgrade::run(upgrade_socket, self.successor, estate));
        let mut outcome = Ok(());
        let is_handed_over = tokio::select! {
            () = shutdown => {
                reloader.announce_stop().await;
                handed_over.try_recv().is_ok()
            }
            Ok(()) = &mut handed_over => true,
            Some(Ok(Err(error))) = upgrading.join_next() => {
                error!(%error, "the upgrade has failed");
                outcome = Err(error);
                false
            }
        };
        if is_handed_over {
            info!("handed over to another process");
            // It answers the probes from now on.
            let _ = admin_stop.send(true);
        } else {
            upgrading.abort_all();
        }
        let grace = reloader.config().server.shutdown_grace;
        info!(connections = connections.count(), grace_seconds = grace.as_secs(), "stopping");
        let _ = self.stop.send(true);
        drain(&mut accepting, connections, grace).await;
        let _ = self.over.send(true);
        // To the end, so that a probe can tell a process that drains from one that is gone.
        let _ = admin_stop.send(true);
        while admin_accepting.join_next().await.is_some() {}
        let _ = drained.send(());
        let _ = timeout(END_TIMEOUT, upgrading.join_next()).await;
        public.app.http_cleanup().await;
        if let Some(traces) = &reloader.state().traces {
            traces.flush(END_TIMEOUT).await;
        }
        info!("stopped");
        outcome
    }

    /// What another process may take over. A listener that cannot be offered is not: whoever would take over is refused its address, and
    /// this process goes on.
    fn offered(&self) -> Vec<upgrade::Listening> {
        let of = |purpose, listeners: &[TcpListener]| {
            let offered = listeners.iter().filter_map(|listener| {
                let descriptor = listener.as_fd().try_clone_to_owned().ok()?;
                Some((purpose, std::net::TcpListener::from(descriptor)))
            });
            offered.collect::<Vec<_>>()
        };
        let (public, public_tls) =
            (of(Purpose::Public, &self.public), of(Purpose::PublicTls, &self.public_tls));
        let admin = of(Purpose::Admin, self.admin.as_slice());
        public.into_iter().chain(public_tls).chain(admin).collect()
    }

    /// What its admin listener tells of it.
    fn process(&self) -> Process {
        let addresses = |key, addresses: Vec<SocketAddr>| {
            addresses.into_iter().map(move |address| Listening { key, address })
        };
        let listening = addresses("server.listen", self.addresses())
            .chain(addresses("server.listen_tls", self.tls_addresses()))
            .chain(addresses("server.admin_listen", self.admin_address().into_iter().collect()));
        Process::new(listening.collect(), self.tls.as_ref().map(|tls| Arc::clone(&tls.certificates)))
    }

    fn proxy(&self) -> pingora_proxy::HttpProxy<Gateway> {
        let conf = ServerConf {
            threads: self.reloader.config().server.worker_threads,
            upstream_keepalive_pool_size: POOLED_CONNECTIONS,
            max_retries: MAX_TRIES,
            ..ServerConf::default()
        };
        let clients = Arc::clone(self.reloader.connections());
        let gateway = Gateway::new(Arc::clone(self.reloader.current()), clients);
        pingora_proxy::http_proxy(&Arc::new(conf), gateway)
    }
}

/// Lets what is under way come to its end, for at most `grace`, and then ends it.
async fn drain(accepting: &mut JoinSet<()>, connections: &Connections, grace: Duration) {
    let draining = async {
        while accepting.join_next().await.is_some() {}
        connections.drained().await;
    };
    if timeout(grace, draining).await.is_err() {
        warn!(connections = connections.count(), "the grace period is over: connections are ended");
        connections.end_all(EndReason::Shutdown);
        let _ = timeout(END_TIMEOUT, connections.drained()).await;
    }
}

fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
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
    tasks.spawn(accept(listener, tls.cloned(), Arc::clone(front), stopping.clone()));
}
