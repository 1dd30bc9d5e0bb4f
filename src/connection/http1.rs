//! HTTP/1.1 with clients. Requests come one after the other, and each is checked before Pingora sees it.

mod client_connection;
mod close;
mod exchange;
pub(crate) mod head_fields;
mod head_reader;
mod pingora_stream;
pub(crate) mod refused_head;
mod request_body;
pub(crate) mod request_head;
pub(crate) mod serve_connection;
