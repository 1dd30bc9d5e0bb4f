//! HTTP/1.1 on the wire (RFC 9112), for both sides: where a message ends, and chunked coding made plain.
//!
//! Pure: bytes in, verdicts out. [`crate::connection`] reads and writes them for clients, [`crate::upstream`] for apps.

pub(crate) mod chunked;
pub(crate) mod head;
pub(crate) mod merged_chunks;
pub(crate) mod message_progress;
