//! The object behind login, refresh and logout. A reload of the configuration keeps its state.

use std::sync::Arc;
use std::time::Duration;

use crate::access::session_tables::SessionTables;
use crate::config;
use crate::session::calls_under_way::CallsUnderWay;
use crate::session::cookie_changes::CookieChanges;
use crate::session::known_login_sites::KnownLoginSites;
use crate::session::replay_window::ReplayWindow;
use crate::session::shared_state::SharedState;
use crate::session::shared_state::fleet::{self, EngineLink, Fleet, Heard, LocalTables};
use crate::session::shared_state::memory::InMemory;
use crate::session::shared_state::values::Settings;
use crate::system::clock::Clock;

/// The state that all sessions share.
#[derive(Debug)]
pub struct Sessions {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) refresh_ahead: u64,
    /// The refreshes that this process knows. This state is local, and is read without waiting.
    pub(super) replay_window: Arc<ReplayWindow>,
    /// The state that replicas share.
    pub(super) shared: Arc<dyn SharedState>,
    /// The calls to providers that must not be cut off.
    pub(super) under_way: Arc<CallsUnderWay>,
    /// The same state, if this process is a replica of a fleet.
    pub(super) fleet: Option<Fleet>,
    pub(super) cookie_changes: Arc<CookieChanges>,
    /// The largest number of logins of one user name and site that wait for each other.
    pub(super) max_waiting_logins: usize,
    pub(super) known_login_sites: Arc<KnownLoginSites>,
    pub(super) memory: Arc<SessionTables>,
    /// The number of seconds for which the revocation of a session or a subject is kept.
    pub(super) revocation_lifetime: u64,
}

impl Sessions {
    /// Creates the sessions of a gateway with these settings. They share nothing with other processes.
    pub fn new(clock: Arc<dyn Clock>, memory: Arc<SessionTables>, config: &config::Config) -> Self {
        Self::with_link(clock, memory, config, None)
    }

    /// Creates the sessions of a gateway with these settings. With `[shared_state]` and a link to its engine, they are
    /// those of a fleet.
    pub(crate) fn with_link(
        clock: Arc<dyn Clock>,
        memory: Arc<SessionTables>,
        config: &config::Config,
        link: Option<EngineLink>,
    ) -> Self {
        let (refresh, limits) = (&config.refresh, &config.server.limits);
        let replay_window = Arc::new(ReplayWindow::new(refresh.replay_window));
        let in_memory = || InMemory::new(Arc::clone(&replay_window), Arc::clone(&memory), settings(config));
        let of_fleet = link.zip(config.shared_state.as_ref());
        let fleet = of_fleet.and_then(|(link, settings)| {
            let tables = LocalTables {
                replay_window: Arc::clone(&replay_window),
                memory: Arc::clone(&memory),
                clock: Arc::clone(&clock),
                revocation_lifetime: config.session.revocation_lifetime.as_secs(),
            };
            Fleet::new(link, settings, tables, in_memory())
        });
        if let Some(fleet) = &fleet {
            fleet.agree_on(agreed(config));
            fleet.set_longest_login(longest_login(config));
            fleet.set_idle_lifetime(config.session.idle_lifetime);
        }
        let shared: Arc<dyn SharedState> = match &fleet {
            Some(fleet) => Arc::new(fleet.clone()),
            None => Arc::new(in_memory()),
        };
        Self {
            clock,
            refresh_ahead: refresh.ahead.as_secs(),
            replay_window,
            under_way: Arc::default(),
            shared,
            fleet,
            cookie_changes: Arc::default(),
            max_waiting_logins: limits.max_waiting_logins,
            known_login_sites: Arc::default(),
            memory,
            revocation_lifetime: config.session.revocation_lifetime.as_secs(),
        }
    }

    /// Returns the fleet, if this process is a replica of one.
    pub(crate) const fn fleet(&self) -> Option<&Fleet> {
        self.fleet.as_ref()
    }

    /// Returns the same sessions with other settings. They share all calls under way and all tables with the old
    /// object.
    pub(crate) fn with_settings(&self, config: &config::Config) -> Self {
        let (refresh, limits) = (&config.refresh, &config.server.limits);
        self.shared.set(settings(config));
        if let Some(fleet) = &self.fleet {
            fleet.agree_on(agreed(config));
            fleet.set_longest_login(longest_login(config));
            fleet.set_idle_lifetime(config.session.idle_lifetime);
        }
        Self {
            clock: Arc::clone(&self.clock),
            refresh_ahead: refresh.ahead.as_secs(),
            replay_window: Arc::clone(&self.replay_window),
            shared: Arc::clone(&self.shared),
            under_way: Arc::clone(&self.under_way),
            fleet: self.fleet.clone(),
            cookie_changes: Arc::clone(&self.cookie_changes),
            max_waiting_logins: limits.max_waiting_logins,
            known_login_sites: Arc::clone(&self.known_login_sites),
            memory: Arc::clone(&self.memory),
            revocation_lifetime: config.session.revocation_lifetime.as_secs(),
        }
    }

    /// Returns the calls to providers that must not be cut off.
    pub(crate) fn calls_under_way(&self) -> &Arc<CallsUnderWay> {
        &self.under_way
    }

    /// Returns the length of the replay window that is in force.
    #[cfg(test)]
    pub(crate) fn replay_window_length(&self) -> std::time::Duration {
        self.replay_window.length()
    }
}

/// Returns the settings that must be the same at all replicas: names and values.
fn agreed(config: &config::Config) -> Vec<(String, String)> {
    let milliseconds = |duration: Duration| format!("{} ms", duration.as_millis());
    let mut agreed = vec![(String::from("the protocol's version"), String::from("1"))];
    let settle = config.shared_state.as_ref().map(|shared| shared.settle);
    agreed.extend(settle.map(|settle| (String::from("shared_state.settle"), milliseconds(settle))));
    agreed.push((String::from("refresh.replay_window"), milliseconds(config.refresh.replay_window)));
    // The name of a table is a replica's own matter. The issuer says which provider is meant.
    let providers = config.identity_providers.iter();
    let of_providers = providers.map(|provider| {
        (format!("refresh_grace of {}", provider.issuer), milliseconds(provider.refresh_grace))
    });
    agreed.extend(of_providers);
    agreed
}

/// Returns the longest time that a login may take: a call that asks for the provider's addresses first.
fn longest_login(config: &config::Config) -> Duration {
    let timeouts = config.identity_providers.iter().map(|provider| provider.request_timeout);
    timeouts.max().unwrap_or_default() * 2
}

/// Reads messages of running replicas. Returns `None` if the configuration has no shared state.
pub(crate) fn hear(config: &config::Config, messages: &[Vec<u8>]) -> Option<Heard> {
    fleet::hear(config.shared_state.as_ref()?, agreed(config), messages)
}

fn settings(config: &config::Config) -> Settings {
    let limits = &config.server.limits;
    Settings {
        replay_window: config.refresh.replay_window,
        failed_logins_per_name: limits.failed_logins_per_name,
        failed_logins_per_address: limits.failed_logins_per_address,
    }
}
