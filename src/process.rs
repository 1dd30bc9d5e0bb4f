//! The life of the process. It binds, runs, reloads, hands over to another process, drains and stops.

mod background;
mod bind;
mod build;
mod drain;
mod fleet_link;
mod prepare;
mod reload;
mod reload_triggers;
mod run;
mod runtime;
mod stop_signals;
mod upgrade;

pub use crate::admin::ReloadStatus;
pub use crate::system::descriptors::{Shortage, raise_descriptor_limit};
pub use bind::{BindError, Server};
pub use reload::Reloader;
pub use reload_triggers::reload_when_told;
pub use runtime::runtime;
pub use stop_signals::{Ended, StopSignal, StopSignals};
pub use upgrade::{AskError, Inherited, NotWanted};
