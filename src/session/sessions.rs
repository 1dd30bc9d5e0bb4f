//! The one object behind login, refresh and logout, which a reload takes over.

use std::sync::Arc;

use crate::access::memory::Memory;
use crate::config;
use crate::session::cookie_changes::CookieChanges;
use crate::session::known_login_sites::KnownLoginSites;
use crate::session::replay_window::ReplayWindow;
use crate::session::throttle::Throttle;
use crate::system::clock::Clock;

/// The things that all sessions share.
#[derive(Debug)]
pub struct Sessions {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) refresh_ahead: u64,
    pub(super) ledger: Arc<ReplayWindow>,
    pub(super) cookie_changes: Arc<CookieChanges>,
    /// Logins of one user name and site that may wait for each other.
    pub(super) max_waiting_logins: usize,
    pub(super) known_sites: Arc<KnownLoginSites>,
    pub(super) throttle: Arc<Throttle>,
    pub(super) memory: Arc<Memory>,
    /// Seconds for which the revocation of a session or a subject is kept.
    pub(super) revocation_lifetime: u64,
}

impl Sessions {
    /// The sessions of a gateway with these settings.
    pub fn new(clock: Arc<dyn Clock>, memory: Arc<Memory>, config: &config::Config) -> Self {
        let (refresh, limits) = (&config.refresh, &config.server.limits);
        Self {
            clock,
            refresh_ahead: refresh.ahead.as_secs(),
            ledger: Arc::new(ReplayWindow::new(refresh.replay_window)),
            cookie_changes: Arc::default(),
            max_waiting_logins: limits.max_waiting_logins,
            known_sites: Arc::default(),
            throttle: Arc::new(Throttle::new(
                limits.failed_logins_per_name,
                limits.failed_logins_per_address,
            )),
            memory,
            revocation_lifetime: config.session.revocation_lifetime.as_secs(),
        }
    }

    /// The same sessions with other settings. What is under way and what is remembered is shared with the old ones.
    pub(crate) fn with_settings(&self, config: &config::Config) -> Self {
        let (refresh, limits) = (&config.refresh, &config.server.limits);
        self.ledger.set_replay_window(refresh.replay_window);
        self.throttle.set_limits(limits.failed_logins_per_name, limits.failed_logins_per_address);
        Self {
            clock: Arc::clone(&self.clock),
            refresh_ahead: refresh.ahead.as_secs(),
            ledger: Arc::clone(&self.ledger),
            cookie_changes: Arc::clone(&self.cookie_changes),
            max_waiting_logins: limits.max_waiting_logins,
            known_sites: Arc::clone(&self.known_sites),
            throttle: Arc::clone(&self.throttle),
            memory: Arc::clone(&self.memory),
            revocation_lifetime: config.session.revocation_lifetime.as_secs(),
        }
    }
}
