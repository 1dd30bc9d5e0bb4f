//! HTTP/2 with clients (RFC 9113): a connection and its streams. Each stream carries one request.

mod frames;
mod limits;
mod pingora_session;
mod raw_stream;
mod refused_by_h2;
mod request_head;
mod requests;
pub(crate) mod serve_connection;
mod stream;
