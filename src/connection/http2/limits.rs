//! The bounds of an HTTP/2 connection.

use std::time::Duration;

use crate::connection::connection_settings::ConnectionSettings;

/// Streams of one connection at once. One more is refused, and may be sent again.
pub(super) const MAX_STREAMS: u32 = 100;

/// Streams that the client has reset before they were looked at: it may have second thoughts about all of them at once.
const MAX_RESETS_BY_CLIENT: usize = MAX_STREAMS as usize;

/// Streams that were reset here for what the client did, in the life of a connection: `h2`'s own bound.
const MAX_RESETS_BY_US: usize = 1024;

/// Streams that were reset here and are remembered, and for how long: what is still under way to them, such as the rest
/// of an upload that was answered early, is no fault of the client's (RFC 9113 section 5.1).
const REMEMBERED_RESETS: usize = 2 * MAX_STREAMS as usize;
const REMEMBERED_FOR: Duration = Duration::from_secs(10);

/// Bytes of bodies that a client may send ahead: on one stream, and on all of a connection. Those are as many as all
/// streams may have: bodies that an app takes slowly hold up no others.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS;

/// Bytes that frames which wait to be read may lack to 256, in all: so 1 MiB may wait in messages of 32 bytes, and not
/// 1,000,000 of one.
const SMALL_FRAMES: usize = 8 * 1024 * 1024;

/// Bytes of an answer that wait to be sent on one stream.
pub(super) const SEND_BUFFER: usize = 64 * 1024;

/// Returns the options of `h2` with every bound of a connection.
pub(super) fn options(settings: &ConnectionSettings) -> h2::server::Builder {
    // Beyond the limit, so that somewhat too large a head is refused by us, with its reason and a line in the log. Here
    // each field counts for 32 bytes more (RFC 9113 section 6.5.2), and a cookie for a field.
    let max_header_list = settings.max_header_size.saturating_mul(2).saturating_add(8 * 1024);
    let mut options = h2::server::Builder::new();
    options
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(max_header_list).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .data_frame_budget(SMALL_FRAMES)
        .max_pending_accept_reset_streams(MAX_RESETS_BY_CLIENT)
        .max_local_error_reset_streams(Some(MAX_RESETS_BY_US))
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .reset_stream_duration(REMEMBERED_FOR)
        .max_send_buffer_size(SEND_BUFFER);
    options
}
