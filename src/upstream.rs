//! The connection to an app: its addresses, the connections to them, and the time to wait for the app.

mod app_address;
mod app_stall;
pub(crate) mod connect;
mod health;
pub(crate) mod http1;
pub(crate) mod http2;
mod load_balancing;
mod name_lookups;
mod peer_template;
mod protocol_choice;
mod resolved_addresses;
mod web_socket;

pub(crate) use app_stall::is_too_late;
pub(crate) use connect::to_look_up;
pub(crate) use load_balancing::Upstreams;
pub(crate) use name_lookups::{Name, Names};
pub(crate) use protocol_choice::{Choice, Needs, Way};
