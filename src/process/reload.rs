//! Reloads the configuration. A new configuration is first checked and built. Then it either replaces the old one at
//! once, or is refused.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch as channel;
use tracing::{error, info, warn};

use crate::admin::{ProcessStatus, ReloadStatus};
use crate::config::{Change, Config, ConfigError, Outline};
use crate::connection::connection_limit::Connections;
use crate::connection::connection_settings::ConnectionSettings;
use crate::gateway::{CurrentState, State};
use crate::identity_provider::SetupError;
use crate::process::background::Background;
use crate::process::build::{Before, StateBuilder};
use crate::process::prepare::prepare;
use crate::system::descriptors::fitting;
use crate::telemetry::metrics::METRICS;

/// The keys whose values are fixed by the process's first configuration.
const FIXED: [&str; 9] = [
    "server.listen",
    "server.listen_tls",
    "server.tls",
    "server.admin_listen",
    "server.worker_threads",
    "server.log",
    "server.upgrade_socket",
    "server.limits.verified_tokens",
    "shared_state",
];

/// Gives another configuration to a running server.
#[derive(Debug, Clone)]
pub struct Reloader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    builder: StateBuilder,
    current: Arc<CurrentState>,
    status: Arc<ProcessStatus>,
    config: ArcSwap<Config>,
    settings: Arc<ArcSwap<ConnectionSettings>>,
    connections: Arc<Connections>,
    background: Background,
    /// The configuration that the process started with.
    first: Outline,
    /// Only one reload runs at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Reloader {
    /// Makes the reloader of a process whose first configuration was loaded at `loaded_at`, in Unix seconds.
    pub(crate) fn new(
        config: Config,
        builder: StateBuilder,
        state: Arc<State>,
        loaded_at: u64,
        is_over: channel::Receiver<bool>,
    ) -> Self {
        let limits = &config.server.limits;
        let connections = Connections::new(most_connections(limits.max_connections));
        let inner = Inner {
            builder,
            status: Arc::new(ProcessStatus::new(loaded_at)),
            current: Arc::new(CurrentState::new(state)),
            settings: Arc::new(ArcSwap::from_pointee(ConnectionSettings::new(
                limits,
                config.server.log.access,
            ))),
            connections,
            background: Background::new(is_over),
            first: config.outline.clone(),
            turn: tokio::sync::Mutex::default(),
            config: ArcSwap::from_pointee(config),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns the present configuration.
    pub fn config(&self) -> Arc<Config> {
        self.inner.config.load_full()
    }

    /// Returns the state for new requests.
    pub fn state(&self) -> Arc<State> {
        self.inner.current.load()
    }

    /// Returns the state of the reloads.
    pub fn status(&self) -> Arc<ReloadStatus> {
        self.inner.status.reload()
    }

    pub(crate) fn process_status(&self) -> &Arc<ProcessStatus> {
        &self.inner.status
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

    /// Starts the background tasks of the present state, and ends the tasks that only the previous state had.
    pub(crate) fn follow_state(&self) {
        self.inner.background.follow(&self.state());
    }

    /// Replaces the configuration. Requests in flight keep the old configuration. Sessions, open streams, connections
    /// and all parts with unchanged settings go on. Returns the changes.
    pub async fn reload(&self, config: Config) -> Result<Vec<Change>, SetupError> {
        let inner = &self.inner;
        let _turn = inner.turn.lock().await;
        let (before, old) = (self.state(), self.config());
        let next = match inner.builder.next(&config, Before { state: &before, outline: &old.outline }) {
            Ok(next) => Arc::new(next),
            Err(error) => {
                self.refuse(error.to_string());
                return Err(error);
            }
        };
        prepare(Some(&before), &next).await;
        let changes = old.outline.changes(&config.outline);
        let needs_restart = FIXED.into_iter().filter(|key| !inner.first.is_same(&config.outline, key));
        let known = self.status();
        let status = ReloadStatus {
            generation: known.generation + 1,
            loaded_at: next.now(),
            last_error: None,
            refused: known.refused,
            needs_restart: needs_restart.map(String::from).collect(),
        };
        report(&status, &changes);
        inner
            .settings
            .store(Arc::new(ConnectionSettings::new(&config.server.limits, config.server.log.access)));
        inner.connections.set_max(most_connections(config.server.limits.max_connections));
        inner.config.store(Arc::new(config));
        inner.status.set_reload(status);
        inner.current.store(next);
        self.follow_state();
        Ok(changes)
    }

    /// Makes the server not ready, and waits for `server.shutdown_delay`.
    pub(crate) async fn announce_stop(&self) {
        self.inner.status.stop();
        let delay = self.config().server.shutdown_delay;
        if !delay.is_zero() {
            info!(delay_seconds = delay.as_secs(), "not ready any more, and stopping soon");
            tokio::time::sleep(delay).await;
        }
    }

    /// Reports that a file cannot be used. The old configuration stays.
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
        let status = ReloadStatus::clone(&self.status());
        error!(generation = status.generation, reason, "reload refused: the old configuration stays");
        self.inner.status.set_reload(ReloadStatus {
            last_error: Some(reason),
            refused: status.refused + 1,
            ..status
        });
    }
}

/// Returns the wanted number of connections, or a smaller number if there are too few file descriptors.
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
