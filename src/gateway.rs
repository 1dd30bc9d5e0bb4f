//! One request: from its decision to its answer.

mod admission;
mod answer;
mod app_answer;
mod backchannel_logout;
pub(crate) mod bound_streams;
mod cdn_loop;
mod context;
mod early_answer;
mod endpoints;
mod expect;
mod failure;
mod hop_by_hop;
mod http2_upstream;
pub(crate) mod open_streams;
mod phases;
mod plain_headers;
mod provider_webhook;
mod request_body;
mod request_end;
mod retry;
mod secure_transport;
mod session_cookies;
mod session_renewal;
mod state;
mod trailers;
mod upstream_choice;
mod upstream_request;

pub use context::Context;
pub use phases::Gateway;
pub(crate) use state::Parts;
pub use state::{App, CurrentState, State};
