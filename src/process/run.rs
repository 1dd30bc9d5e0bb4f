//! Runs a server. It accepts and serves connections until it is told to stop, or until another process has taken over.

use std::future::Future;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use async_trait::async_trait;
use http::Response;
use pingora_core::apps::HttpServerApp;
use pingora_core::apps::http_app::{HttpServer, ServeHttp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch as channel};
use tokio::task::JoinSet;

use crate::admin::{Admin, Listening, Process};
use crate::connection::connection_limit::Connections;
use crate::connection::listener::{Front, accept};
use crate::gateway::{CurrentState, Gateway, bound_streams};
use crate::process::bind::{Listeners, Server, Tls};
use crate::process::drain::Running;
use crate::process::reload::Reloader;
use crate::process::upgrade::{self, Estate, NotWanted, Purpose, Successor};
use crate::telemetry::metrics::METRICS;

/// The number of idle connections of HTTP/2 to apps that each worker thread keeps.
const POOLED_CONNECTIONS: usize = 1024;

/// Pingora's own limit for tries. The gateway's limit is lower.
const MAX_TRIES: usize = 16;

/// The largest number of connections to the admin listener at once.
const MAX_ADMIN_CONNECTIONS: usize = 64;

impl Server {
    /// Serves until `shutdown` is ready, or until another process has taken over. After `shutdown`, the server is not
    /// ready, and still accepts connections for `server.shutdown_delay`. Then it waits for requests in flight, for at
    /// most `server.shutdown_grace`.
    ///
    /// # Errors
    ///
    /// The server should have taken over from a process that goes on, so it did not serve for long.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), NotWanted> {
        self.reloader.follow_state();
        let (hand_over, handed_over) = oneshot::channel();
        let (drained, is_drained) = oneshot::channel();
        let estate = self.estate(hand_over, is_drained);
        let (mut running, successor) = self.start();
        let upgrade_socket = running.reloader.config().server.upgrade_socket.clone();
        running.upgrading.spawn(upgrade::run(upgrade_socket, successor, estate));
        let cause = running.until_stop(shutdown, handed_over).await;
        running.stop(&cause, drained).await;
        cause.outcome()
    }

    /// Starts to accept on every listener.
    fn start(self) -> (Running, Option<Successor>) {
        let process = Arc::new(self.process());
        let Self { reloader, stop, over, listeners, tls, successor, fleet_link } = self;
        let Listeners { public, public_tls, admin } = listeners;
        let mut background = JoinSet::new();
        background.spawn(bound_streams::run(Arc::clone(reloader.current()), over.subscribe()));
        let state = reloader.state();
        if let Some((link, fleet)) = fleet_link.as_ref().zip(state.sessions.fleet()) {
            link.start(fleet, &mut background);
        }
        let front = Arc::new(public_front(&reloader));
        let mut accepting = JoinSet::new();
        for listener in public {
            spawn_accept(&mut accepting, listener, None, &front, &stop);
        }
        if let Some(Tls { certificates, config }) = tls {
            for listener in public_tls {
                spawn_accept(&mut accepting, listener, Some(&config), &front, &stop);
            }
            background.spawn(certificates.run(over.subscribe()));
        }
        let (admin_stop, admin_stopping) = channel::channel(false);
        let mut admin_accepting = JoinSet::new();
        if let Some(listener) = admin {
            let front = Arc::new(admin_front(&reloader, &process));
            background.spawn(process.run(admin_stopping));
            spawn_accept(&mut admin_accepting, listener, None, &front, &admin_stop);
        }
        let running = Running {
            proxy: Arc::clone(&front.app),
            accepting,
            admin_accepting,
            upgrading: JoinSet::new(),
            _background: background,
            reloader,
            stop,
            admin_stop,
            over,
            fleet_link,
        };
        (running, successor)
    }

    /// Returns everything that this process hands over to another process.
    fn estate(&self, hand_over: oneshot::Sender<()>, is_drained: oneshot::Receiver<()>) -> Estate {
        let current = Arc::clone(self.reloader.current());
        Estate {
            listeners: self.offered(),
            memory: Arc::clone(self.reloader.state().memory()),
            hear: Arc::new(move |records| current.load().take_revocations(records)),
            handed_over: hand_over,
            is_drained,
        }
    }

    /// Returns the listeners that another process may take over. A listener that cannot be duplicated is left out. A
    /// new process then cannot bind its address and ends, and this process goes on.
    fn offered(&self) -> Vec<upgrade::Listening> {
        let of = |purpose, listeners: &[TcpListener]| {
            let offered = listeners.iter().filter_map(|listener| {
                let descriptor = listener.as_fd().try_clone_to_owned().ok()?;
                Some((purpose, std::net::TcpListener::from(descriptor)))
            });
            offered.collect::<Vec<_>>()
        };
        let Listeners { public, public_tls, admin } = &self.listeners;
        let (public, public_tls) = (of(Purpose::Public, public), of(Purpose::PublicTls, public_tls));
        let admin = of(Purpose::Admin, admin.as_slice());
        public.into_iter().chain(public_tls).chain(admin).collect()
    }

    /// Returns the facts that the admin listener shows of the process.
    fn process(&self) -> Process {
        let addresses = |key, addresses: Vec<SocketAddr>| {
            addresses.into_iter().map(move |address| Listening { key, address })
        };
        let listening = addresses("server.listen", self.addresses())
            .chain(addresses("server.listen_tls", self.tls_addresses()))
            .chain(addresses("server.admin_listen", self.admin_address().into_iter().collect()));
        let status = Arc::clone(self.reloader.process_status());
        Process::new(status, listening.collect(), self.tls.as_ref().map(|tls| Arc::clone(&tls.certificates)))
    }
}

/// Returns the service of the public listeners.
fn public_front(reloader: &Reloader) -> Front<HttpProxy<Gateway>> {
    let conf = ServerConf {
        threads: reloader.config().server.worker_threads,
        upstream_keepalive_pool_size: POOLED_CONNECTIONS,
        max_retries: MAX_TRIES,
        ..ServerConf::default()
    };
    let gateway = Gateway::new(Arc::clone(reloader.current()), Arc::clone(reloader.connections()));
    Front {
        app: Arc::new(pingora_proxy::http_proxy(&Arc::new(conf), gateway)),
        settings: Arc::clone(reloader.settings()),
        connections: Arc::clone(reloader.connections()),
        others: None,
        gauge: Some(&METRICS.connections),
    }
}

/// Returns the service of the admin listener.
fn admin_front(reloader: &Reloader, process: &Arc<Process>) -> Front<HttpServer<CurrentAdmin>> {
    let admin = CurrentAdmin { current: Arc::clone(reloader.current()), process: Arc::clone(process) };
    Front {
        app: Arc::new(HttpServer::new_app(admin)),
        settings: Arc::clone(reloader.settings()),
        connections: Connections::new(MAX_ADMIN_CONNECTIONS),
        others: Some(Arc::clone(reloader.connections())),
        gauge: None,
    }
}

fn spawn_accept<A: HttpServerApp + Send + Sync + 'static>(
    tasks: &mut JoinSet<()>,
    listener: TcpListener,
    tls: Option<&Arc<rustls::ServerConfig>>,
    front: &Arc<Front<A>>,
    stop: &channel::Sender<bool>,
) {
    tasks.spawn(accept(listener, tls.cloned(), Arc::clone(front), stop.subscribe()));
}

/// The admin listener. It shows the state at the time of each request.
#[derive(Debug)]
struct CurrentAdmin {
    current: Arc<CurrentState>,
    process: Arc<Process>,
}

#[async_trait]
impl ServeHttp for CurrentAdmin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        Admin::new(self.current.load(), Arc::clone(&self.process)).response(session).await
    }
}
