//! HTTP/1.1 on the wire (RFC 9112), for both sides: where a message ends, and chunked coding made plain.
//!
//! Pure: bytes in, verdicts out. Who reads and writes them is in [`crate::server`] for clients and in
//! [`crate::upstream`] for apps.

pub(crate) mod chunked;
pub(crate) mod follow;
pub(crate) mod head;
pub(crate) mod merged;
