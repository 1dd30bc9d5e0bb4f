//! Reads `gateway.toml`. The result is a [`Config`] that has only valid values, or a list of all errors.
//!
//! `load` reads the file with `source_files`, `toml_tree` parses it, and `reader` walks it and collects problems. The
//! types of single values are in `values`. Each table has a file with its type and its reader: `server/`, `session`,
//! `refresh`, `shared_state` (with `engine_address`), `identity_provider` (with `provider_kind`, `signatures`,
//! `outgoing_proxy`, `provider_logout`) and `app/`. Their root is `gateway_toml`. `cross_checks` and `claim_time`
//! compare the tables with each other, `placeholder` finds variables that nobody has expanded, and `changes` compares
//! two configurations.

mod app;
mod certificate_authorities;
mod changes;
mod claim_time;
mod cross_checks;
mod did_you_mean;
mod duplicate_key;
mod engine_address;
mod gateway_toml;
mod identity_provider;
mod identity_provider_settings;
mod load;
mod outgoing_proxy;
mod placeholder;
mod problem;
mod provider_kind;
mod provider_logout;
mod quoting;
mod reader;
mod refresh;
mod seal_key;
mod secret;
mod server;
mod session;
mod shared_state;
mod shared_tokens;
mod signatures;
mod source_files;
#[cfg(test)]
mod tests;
mod token_parameters;
mod toml_tree;
mod values;
mod webhook;

pub use crate::system::file::read_text;
pub use app::cookies::{Cookies, SameSite};
pub use app::endpoints::{BackchannelLogout, Login, Logout, User};
pub use app::identity_headers::IdentityHeader;
pub use app::routes::{Access, Route};
pub use app::table::App;
pub use app::upstreams::{HealthCheck, Timeouts, Upstream, UpstreamTls};
pub use certificate_authorities::Authorities;
pub use changes::{Change, Outline};
pub use engine_address::{EngineAddress, EnginePlace};
pub use gateway_toml::Config;
pub use identity_provider_settings::{
    ClientAuthentication, IdentityProvider, LogoutMethod, REFRESH_READ_LIMIT,
};
pub use load::{Loaded, load, load_admin_listen, parse};
pub use outgoing_proxy::{OutgoingProxy, PlainHttp, ProxyCredentials};
pub use problem::{ConfigError, Problem};
pub use provider_kind::{ProviderKind, RefreshApi};
pub use refresh::Refresh;
pub use seal_key::SealKey;
pub use secret::Secret;
pub use server::limits::Limits;
pub use server::log::{AccessLog, Log, LogFormat};
pub use server::table::Server;
pub use server::tls::{Tls, TlsVersion};
pub use server::tracing::Tracing;
pub use session::Session;
pub use shared_state::SharedState;
pub use signatures::algorithm_named;
pub use source_files::Files;
pub use token_parameters::{ParameterValue, TokenParameter};
pub use values::claim::ClaimPath;
pub use values::path::RoutePath;
pub use webhook::{Webhook, WebhookSecret};
