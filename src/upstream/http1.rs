//! Our own client of HTTP/1.1 for apps, below Pingora's client and above TLS.

mod app_exchange;
mod chunked_source;
pub(super) mod connection;
pub(super) mod connection_pool;
pub(crate) mod connector;
