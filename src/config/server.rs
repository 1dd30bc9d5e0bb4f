//! `[server]` and the tables below it.

pub(crate) mod limits;
pub(crate) mod listeners;
pub(crate) mod log;
pub(crate) mod table;
pub(crate) mod tls;
pub(crate) mod tracing;
