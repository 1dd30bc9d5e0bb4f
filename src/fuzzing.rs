//! What the fuzz targets in `fuzz/` reach beyond the public interface. Exists with the feature `fuzzing` only, and promises
//! nothing to anybody else.

pub use crate::connection::fuzzing::{Framing, Head, merge_chunked, read_request_head, serve_connection};
