//! HTTP/1.1 on the wire (RFC 9112), for both sides: the end of a message, and chunked coding made plain.
//!
//! This module does no I/O: it takes bytes and returns verdicts. [`crate::connection`] reads and writes the bytes for
//! clients, [`crate::upstream`] for apps.

pub(crate) mod chunked;
pub(crate) mod head;
pub(crate) mod merged_chunks;
pub(crate) mod message_progress;
