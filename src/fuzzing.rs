//! The parts that the fuzz targets in `fuzz/` need beyond the public interface. They exist with the feature `fuzzing`
//! only, and may change at any time.

pub use crate::connection::fuzzing::{Framing, Head, merge_chunked, read_request_head, serve_connection};
