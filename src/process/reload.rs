//! Another configuration for a server that runs: checked and built first, then swapped at once, or not at all.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::Response;
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use tokio::sync::watch as channel;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::admin::{Admin, Process};
use crate::config::{Change, Config, ConfigError, Outline};
use crate::gateway::{CurrentState, ReloadStatus, State};
use crate::identity_provider::SetupError;
use crate::telemetry::metrics::METRICS;

use crate::connection::connection_limit::Connections;
use crate::connection::connection_settings::ConnectionSettings;
use crate::system::descriptors::fitting;

/// How long the swap waits for new providers and host names to be looked up: without them, requests would fail that succeed
/// with the old configuration. Then the new one counts as one of a start while its providers are down.
const PREPARATION: Duration = Duration::from_secs(10);

/// What the process takes from its first configuration for good.
const FIXED: [&str; 8] = [
    "server.listen",
    "server.listen_tls",
    "server.tls",
    "server.admin_listen",
    "server.worker_threads",
    "server.log",
    "server.upgrade_socket",
    "server.limits.verified_tokens",
];

/// Gives a server that runs another configuration.
#[derive(Debug, Clone)]
pub struct Reloader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    current: Arc<CurrentState>,
    config: ArcSwap<Config>,
    settings: Arc<ArcSwap<ConnectionSettings>>,
    connections: Arc<Connections>,
    background: Background,
    /// What the process started with.
    first: Outline,
    /// One reload after the other.
    turn: tokio::sync::Mutex<()>,
}

impl Reloader {
    pub(crate) fn new(config: Config, state: Arc<State>, is_over: channel::Receiver<bool>) -> Self {
        let limits = &config.server.limits;
        let connections = Connections::new(most_connections(limits.max_connections));
        let inner = Inner {
            current: Arc::new(CurrentState::new(state)),
            settings: Arc::new(ArcSwap::from_pointee(ConnectionSettings::new(
                limits,
                config.server.log.access,
            ))),
            connections,
            background: Background { is_over, tasks: Mutex::default() },
            first: config.outline.clone(),
            turn: tokio::sync::Mutex::default(),
            config: ArcSwap::from_pointee(config),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The configuration now.
    pub fn config(&self) -> Arc<Config> {
        self.inner.config.load_full()
    }

    /// The state for new requests.
    pub fn state(&self) -> Arc<State> {
        self.inner.current.load()
    }

    pub(crate) fn current(&self) -> &Arc<CurrentState> {
        &self.inner.current
    }

    pub(crate) fn settings(&self) -> &Arc<ArcSwap<ConnectionSettings>> {
        &self.inner.settings
    }

    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.inner.connections
    }

    /// Starts what a state does in the background, and ends what only the state before did.
    pub(crate) fn follow_state(&self) {
        self.inner.background.follow(&self.state());
    }

    /// Swaps the configuration. Requests in flight go on with the old one; sessions, open streams and connections, and
    /// everything whose settings are the same, go on. Returns what changed.
    pub async fn reload(&self, config: Config) -> Result<Vec<Change>, SetupError> {
        let inner = &self.inner;
        let _turn = inner.turn.lock().await;
        let before = self.state();
        let next = match before.next(&config) {
            Ok(next) => Arc::new(next),
            Err(error) => {
                self.refuse(error.to_string());
                return Err(error);
            }
        };
        prepare(Some(&before), &next).await;
        let changes = self.config().outline.changes(&config.outline);
        let needs_restart = FIXED.into_iter().filter(|key| !inner.first.is_same(&config.outline, key));
        let status = ReloadStatus {
            generation: next.generation(),
            loaded_at: next.now(),
            last_error: None,
            refused: next.reload_status().refused,
            needs_restart: needs_restart.map(String::from).collect(),
        };
        report(&status, &changes);
        inner
            .settings
            .store(Arc::new(ConnectionSettings::new(&config.server.limits, config.server.log.access)));
        inner.connections.set_max(most_connections(config.server.limits.max_connections));
        inner.config.store(Arc::new(config));
        next.set_reload_status(status);
        inner.current.store(next);
        self.follow_state();
        Ok(changes)
    }

    /// Is not ready from now on, and waits for `server.shutdown_delay`.
    pub(crate) async fn announce_stop(&self) {
        self.state().status.stop();
        let delay = self.config().server.shutdown_delay;
        if !delay.is_zero() {
            info!(delay_seconds = delay.as_secs(), "not ready any more, and stopping soon");
            tokio::time::sleep(delay).await;
        }
    }

    /// Says that a file cannot be used, and that the old configuration stays.
    pub fn refuse_file(&self, refused: &ConfigError) {
        for problem in &refused.problems {
            error!(
                key = problem.key,
                line = problem.line,
                hint = problem.hint,
                "configuration: {}",
                problem.message
            );
        }
        let first = refused.problems.first();
        let first = first.map(|problem| format!(": `{}`: {}", problem.key, problem.message));
        self.refuse(format!("{refused}{}", first.unwrap_or_default()));
    }

    fn refuse(&self, reason: String) {
        let state = self.state();
        let status = ReloadStatus::clone(&state.reload_status());
        error!(generation = status.generation, reason, "reload refused: the old configuration stays");
        state.set_reload_status(ReloadStatus {
            last_error: Some(reason),
            refused: status.refused + 1,
            ..status
        });
    }
}

/// As many as are wanted, if there are descriptors for them.
fn most_connections(wanted: usize) -> usize {
    let most = fitting(wanted);
    METRICS.process.max_connections.set(i64::try_from(most).unwrap_or(i64::MAX));
    most
}

fn report(status: &ReloadStatus, changes: &[Change]) {
    for change in changes {
        info!(%change, "configuration changed");
    }
    for key in &status.needs_restart {
        warn!(key, "this change needs a restart: until then the process goes on as it started");
    }
    info!(generation = status.generation, changes = changes.len(), "configuration reloaded");
}

/// Finds out what the new state needs and the old one did not have.
pub(crate) async fn prepare(before: Option<&State>, next: &State) {
    let providers = before.map_or(&[][..], |before| &before.providers);
    let mut preparing = JoinSet::new();
    for provider in next.providers.iter().filter(|new| !has(providers, new)) {
        let provider = Arc::clone(provider);
        preparing.spawn(async move {
            if !provider.prepare().await {
                warn!(
                    identity_provider = provider.name(),
                    "the provider is not ready: its endpoints or keys are not known"
                );
            }
        });
    }
    let known: Vec<_> =
        before.iter().flat_map(|before| &before.apps).map(|app| Arc::clone(&app.upstreams)).collect();
    for app in next.apps.iter().filter(|app| !has(&known, &app.upstreams)) {
        let upstreams = Arc::clone(&app.upstreams);
        preparing.spawn(async move {
            upstreams.resolve().await;
        });
    }
    if timeout(PREPARATION, async { while preparing.join_next().await.is_some() {} }).await.is_err() {
        warn!("what the new configuration needs could not be looked up in time");
    }
}

fn has<T>(all: &[Arc<T>], one: &Arc<T>) -> bool {
    all.iter().any(|other| Arc::ptr_eq(other, one))
}

/// What providers and upstreams do in the background, each for as long as a configuration has it.
struct Background {
    /// Turns true once nothing is served any more.
    is_over: channel::Receiver<bool>,
    tasks: Mutex<HashMap<usize, Task>>,
}

struct Task {
    /// Whose task it is; as long as it is kept, nothing else has its address.
    _owner: Arc<dyn Any + Send + Sync>,
    handle: AbortHandle,
}

impl std::fmt::Debug for Background {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Background").finish_non_exhaustive()
    }
}

impl Background {
    fn follow(&self, state: &State) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut old = std::mem::take(&mut *tasks);
        let mut keep = |owner: Arc<dyn Any + Send + Sync>, start: &dyn Fn() -> AbortHandle| {
            let address = Arc::as_ptr(&owner).cast::<()>().addr();
            let task = old.remove(&address).unwrap_or_else(|| Task { _owner: owner, handle: start() });
            tasks.insert(address, task);
        };
        for provider in &state.providers {
            let run = || spawn(Arc::clone(provider).run(self.is_over.clone()));
            keep(provider.clone(), &run);
        }
        for app in &state.apps {
            let run = || {
                let (upstreams, is_over) = (Arc::clone(&app.upstreams), self.is_over.clone());
                spawn(async move { upstreams.run(is_over).await })
            };
            keep(app.upstreams.clone(), &run);
        }
        for task in old.into_values() {
            task.handle.abort();
        }
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    tokio::spawn(task).abort_handle()
}

/// The admin listener of the state of the moment.
#[derive(Debug)]
pub(crate) struct CurrentAdmin {
    pub(crate) current: Arc<CurrentState>,
    pub(crate) process: Arc<Process>,
}

#[async_trait]
impl ServeHttp for CurrentAdmin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        Admin::new(self.current.load(), Arc::clone(&self.process)).response(session).await
    }
}
