//! TLS on clients' connections.

pub(crate) mod certificate_store;
pub(crate) mod handshake_failure;
pub(crate) mod stream;
