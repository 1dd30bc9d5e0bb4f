//! The life of the process: it binds, runs, reloads, hands over to another process, drains and stops.

mod build;
mod reload;
mod reload_triggers;
mod runtime;
mod server;
mod stop_signals;
mod upgrade;

pub use crate::admin::ReloadStatus;
pub use crate::system::descriptors::{Shortage, raise_descriptor_limit};
pub use reload::Reloader;
pub use reload_triggers::reload_when_told;
pub use runtime::runtime;
pub use server::{BindError, Server};
pub use stop_signals::{Ended, StopSignal, StopSignals};
pub use upgrade::{AskError, Inherited, NotWanted};
