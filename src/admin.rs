//! The admin listener serves `/` for people, `/status.json`, `/livez`, `/readyz`, `/metrics` and `/sessions/revoke`.
//! The public listeners never serve these.

mod endpoints;
mod failed_tokens;
mod fleet_metrics;
mod gauges;
mod host;
mod metrics;
mod process;
mod process_status;
mod readiness;
mod revoke;
mod status;

pub(crate) use endpoints::Admin;
pub(crate) use process::{Listening, Process};
pub(crate) use process_status::ProcessStatus;
pub use process_status::ReloadStatus;
