//! The root of `gateway.toml`.

use crate::config::app::table::{App, apps};
use crate::config::changes::Outline;
use crate::config::identity_provider::identity_providers;
use crate::config::identity_provider_settings::IdentityProvider;
use crate::config::reader::Section;
use crate::config::refresh::{Refresh, refresh};
use crate::config::server::table::{Server, server};
use crate::config::session::{Session, session};
use crate::config::shared_state::{SharedState, shared_state};
use crate::config::{claim_time, cross_checks};

/// A whole `gateway.toml`. All values are valid, and no string still needs parsing. Keys that the file leaves out have
/// their defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// The keys and values of the file, for the comparison with another file.
    pub outline: Outline,
    /// `[server]` and `[server.limits]`.
    pub server: Server,
    /// `[session]`.
    pub session: Session,
    /// `[refresh]`.
    pub refresh: Refresh,
    /// `[shared_state]`. `None` means that this replica shares its state with no other one.
    pub shared_state: Option<SharedState>,
    /// `[identity_providers.*]`, in the order of the file. Apps refer to them by index.
    pub identity_providers: Vec<IdentityProvider>,
    /// `[apps.*]`, in the order of the file.
    pub apps: Vec<App>,
}

/// Reads every table, and compares the tables with each other.
pub(super) fn read(root: &Section<'_>) -> Option<Config> {
    let server = server(root);
    let session = session(root);
    let refresh = refresh(root);
    let shared_state = shared_state(root);
    let providers = identity_providers(root);
    let apps = apps(root, &providers);
    cross_checks::check(&server, &providers, &apps);
    claim_time::check(&shared_state, &refresh, &providers);
    Some(Config {
        outline: Outline::default(),
        server: server.server?,
        session: session?,
        refresh: refresh.refresh?,
        shared_state: shared_state.state?,
        identity_providers: providers.into_iter().map(|read| read.provider).collect::<Option<_>>()?,
        apps: apps.into_iter().map(|read| read.app).collect::<Option<_>>()?,
    })
}
