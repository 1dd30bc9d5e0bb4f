//! An app's addresses: resolved, health-checked, balanced.

pub(crate) mod http2;
pub(crate) mod web_socket;

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::{Extensions, HeaderValue, header};
use pingora_core::Error;
use pingora_core::ErrorType::{ConnectError, InvalidHTTPHeader};
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::{WrappedX509, parse_x509};
use pingora_http::RequestHeader;
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::{HealthCheck, HttpHealthCheck, TcpHealthCheck};
use pingora_load_balancing::selection::RoundRobin;
use pingora_load_balancing::{Backend, Backends, LoadBalancer};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

use crate::config;
use crate::lookup::Lookup;

/// How often host names are resolved again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// The same while no address is known.
const RESOLVE_AGAIN: Duration = Duration::from_secs(1);

/// For one host name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an idle connection to an app is kept.
const POOLED_CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

/// Addresses that one selection looks at.
const MAX_ITERATIONS: usize = 256;

/// The addresses of one app.
pub(crate) struct Upstreams {
    app: String,
    /// One for each configured upstream, complete but for the address.
    templates: Vec<HttpPeer>,
    /// The one address of an app that has no choice and no name to resolve.
    single: Option<SocketAddr>,
    balancer: LoadBalancer<RoundRobin>,
    health_check: config::HealthCheck,
}

/// Which configured upstream an address belongs to.
#[derive(Clone, Copy)]
struct UpstreamIndex(usize);

impl std::fmt::Debug for Upstreams {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Upstreams").field("app", &self.app).finish_non_exhaustive()
    }
}

impl Upstreams {
    /// The upstreams of an app, not resolved yet: see [`Upstreams::run`].
    pub(crate) fn new(app: &config::App, lookup: &Arc<dyn Lookup>) -> Self {
        let single = match app.upstreams.as_slice() {
            [upstream] => upstream.host.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, upstream.port)),
            _ => None,
        };
        let discovery = Names {
            app: app.name.clone(),
            upstreams: app.upstreams.clone(),
            lookup: Arc::clone(lookup),
            known: Mutex::default(),
        };
        let mut backends = Backends::new(Box::new(discovery));
        if single.is_none() {
            backends.set_health_check(health_check(app));
        }
        Self {
            app: app.name.clone(),
            templates: app.upstreams.iter().map(|upstream| template(upstream, app)).collect(),
            single,
            balancer: LoadBalancer::from_backends(backends),
            health_check: app.health_check.clone(),
        }
    }

    /// Resolves the names once, so that the first request finds an address. `false`: none is known.
    pub(crate) async fn resolve(&self) -> bool {
        let updated = self.balancer.update().await;
        if let Err(error) = &updated {
            warn!(app = self.app, %error, "no upstream address yet");
        }
        updated.is_ok()
    }

    /// Keeps names resolved and addresses checked until shutdown.
    pub(crate) async fn run(&self, shutdown: watch::Receiver<bool>) {
        if self.single.is_some() {
            return;
        }
        tokio::join!(self.keep_resolved(shutdown.clone()), self.keep_checked(shutdown));
    }

    async fn keep_resolved(&self, mut shutdown: watch::Receiver<bool>) {
        loop {
            let known = self.resolve().await;
            let pause = if known { RESOLVE_EVERY } else { RESOLVE_AGAIN };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopped(&mut shutdown) => return,
            }
        }
    }

    async fn keep_checked(&self, mut shutdown: watch::Receiver<bool>) {
        let mut check = tokio::time::interval(self.health_check.interval);
        loop {
            tokio::select! {
                _ = check.tick() => self.balancer.backends().run_health_check(true).await,
                () = stopped(&mut shutdown) => return,
            }
        }
    }

    /// A peer to connect to: a healthy one that has not been tried, else any that has not.
    pub(crate) fn peer(&self, tried: &[SocketAddr], for_web_socket: bool) -> Option<Box<HttpPeer>> {
        let mut peer = self.select(tried)?;
        if for_web_socket {
            web_socket::prepare(&mut peer);
        }
        Some(peer)
    }

    fn select(&self, tried: &[SocketAddr]) -> Option<Box<HttpPeer>> {
        if let Some(address) = self.single {
            return tried.is_empty().then(|| self.peer_at(0, address)).flatten();
        }
        let untried =
            |backend: &Backend| backend.addr.as_inet().is_some_and(|address| !tried.contains(address));
        let backend = self
            .balancer
            .select_with(b"", MAX_ITERATIONS, |backend, healthy| healthy && untried(backend))
            .or_else(|| self.balancer.select_with(b"", MAX_ITERATIONS, |backend, _| untried(backend)))?;
        let UpstreamIndex(index) = backend.ext.get().copied()?;
        self.peer_at(index, *backend.addr.as_inet()?)
    }

    fn peer_at(&self, index: usize, address: SocketAddr) -> Option<Box<HttpPeer>> {
        let mut peer = Box::new(self.templates.get(index)?.clone());
        peer._address = PeerAddress::Inet(address);
        Some(peer)
    }

    /// Each address that is known, and whether it is in use.
    pub(crate) fn health(&self) -> Vec<(String, bool)> {
        if let Some(address) = self.single {
            return vec![(address.to_string(), true)];
        }
        let backends = self.balancer.backends();
        let all = backends.get_backend();
        all.iter().map(|backend| (backend.addr.to_string(), backends.ready(backend))).collect()
    }

    /// Whether there may be another address to try.
    pub(crate) fn has_choice(&self) -> bool {
        self.single.is_none()
    }
}

/// Waits for the shutdown, or for whoever could announce it to be gone.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stopping| *stopping).await;
}

fn template(upstream: &config::Upstream, app: &config::App) -> HttpPeer {
    let timeouts = &app.timeouts;
    let placeholder = SocketAddr::from(([127, 0, 0, 1], upstream.port));
    // The name is for TLS only; without one there is nothing to copy for each request.
    let server_name = if upstream.tls { upstream.host.clone() } else { String::new() };
    let mut peer = HttpPeer::new(placeholder, upstream.tls, server_name);
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    peer.options.read_timeout = Some(timeouts.idle);
    peer.options.write_timeout = Some(timeouts.idle);
    peer.options.idle_timeout = Some(POOLED_CONNECTION_LIFETIME);
    set_trust(&mut peer, &app.upstream_tls);
    http2::offer(&mut peer, upstream, &app.upstream_tls);
    peer
}

/// How a TLS upstream is verified.
fn set_trust(peer: &mut HttpPeer, tls: &config::UpstreamTls) {
    if let Some(name) = &tls.server_name {
        peer.sni.clone_from(name);
    }
    if let Some(config::Authorities(certificates)) = &tls.ca {
        let wrapped = certificates.iter().map(|der| WrappedX509::new(der.clone(), parse_x509));
        peer.options.ca = Some(wrapped.collect());
        // What one authority has vouched for is not lent to an app that trusts another.
        let mut hasher = DefaultHasher::new();
        certificates.hash(&mut hasher);
        peer.group_key = hasher.finish();
    }
}

fn health_check(app: &config::App) -> Box<dyn HealthCheck + Send + Sync> {
    let settings = &app.health_check;
    let first = app.upstreams.first();
    let (Some(path), Some(upstream)) = (&settings.path, first) else {
        let mut check = TcpHealthCheck::new();
        check.peer_template.options.connection_timeout = Some(settings.timeout);
        return check;
    };
    let mut check = HttpHealthCheck::new(&upstream.host, upstream.tls);
    check.peer_template.options.connection_timeout = Some(settings.timeout);
    check.peer_template.options.read_timeout = Some(settings.timeout);
    set_trust(&mut check.peer_template, &app.upstream_tls);
    http2::offer(&mut check.peer_template, upstream, &app.upstream_tls);
    if let Ok(mut request) = RequestHeader::build("GET", path.as_bytes(), None) {
        let host =
            app.hosts.first().map(|host| if host.contains(':') { format!("[{host}]") } else { host.clone() });
        if let Some(host) = host.and_then(|host| HeaderValue::from_str(&host).ok()) {
            let _ = request.insert_header(header::HOST, host);
        }
        check.req = request;
    }
    check.validator = Some(Box::new(|response| {
        if response.status.is_success() || response.status.is_redirection() {
            Ok(())
        } else {
            Error::e_explain(InvalidHTTPHeader, "the health check's status is neither 2xx nor 3xx")
        }
    }));
    Box::new(check)
}

/// Finds the addresses of host names. A name that cannot be resolved now keeps the addresses it had.
struct Names {
    app: String,
    upstreams: Vec<config::Upstream>,
    lookup: Arc<dyn Lookup>,
    known: Mutex<HashMap<usize, Vec<SocketAddr>>>,
}

impl Names {
    async fn lookup(&self, index: usize, upstream: &config::Upstream) {
        let lookup = async {
            match upstream.host.parse() {
                Ok(literal) => Ok(vec![literal]),
                Err(_) => self.lookup.addresses(&upstream.host).await,
            }
        };
        match timeout(RESOLVE_TIMEOUT, lookup).await {
            Ok(Ok(addresses)) => {
                let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, upstream.port)).collect();
                self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(index, addresses);
            }
            Ok(Err(error)) => {
                warn!(app = self.app, upstream = upstream.host, %error, "host name not resolved");
            }
            Err(_) => warn!(app = self.app, upstream = upstream.host, "host name not resolved in time"),
        }
    }
}

#[async_trait]
impl ServiceDiscovery for Names {
    async fn discover(&self) -> pingora_core::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        for (index, upstream) in self.upstreams.iter().enumerate() {
            self.lookup(index, upstream).await;
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let backends: BTreeSet<_> = known
            .iter()
            .flat_map(|(index, addresses)| addresses.iter().map(|address| backend(*index, *address)))
            .collect();
        if backends.is_empty() {
            return Error::e_explain(ConnectError, "no upstream host name could be resolved");
        }
        Ok((backends, HashMap::new()))
    }
}

fn backend(index: usize, address: SocketAddr) -> Backend {
    let mut ext = Extensions::new();
    ext.insert(UpstreamIndex(index));
    Backend { addr: PeerAddress::Inet(address), weight: 1, ext }
}
