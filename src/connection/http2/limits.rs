//! The limits of an HTTP/2 connection.

use std::time::Duration;

use crate::connection::connection_settings::ConnectionSettings;

/// The most streams of one connection at once. One more is refused, and the client may send it again.
pub(super) const MAX_STREAMS: u32 = 100;

/// The most streams that the client may have reset before they were looked at. It may reset all of its streams at once.
const MAX_RESETS_BY_CLIENT: usize = MAX_STREAMS as usize;

/// The most streams that were reset here because of the client, in the life of a connection. This is `h2`'s own limit.
const MAX_RESETS_BY_US: usize = 1024;

/// The number of streams that were reset here and are remembered, and the time for which they are. Frames to them may
/// still be under way, such as the rest of an upload that was answered early. These are not the client's fault (RFC
/// 9113 section 5.1).
const REMEMBERED_RESETS: usize = 2 * MAX_STREAMS as usize;
const REMEMBERED_FOR: Duration = Duration::from_secs(10);

/// The number of bytes of bodies that a client may send ahead, on one stream and on a whole connection. A connection
/// may have as many as all its streams together, so that bodies that an app takes slowly do not delay others.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS;

/// A limit for small frames that wait to be read: the sum of the bytes by which each is shorter than 256. So 1 MiB may
/// wait in messages of 32 bytes, but not 1,000,000 messages of one byte.
const SMALL_FRAMES: usize = 8 * 1024 * 1024;

/// The most bytes of an answer that wait to be sent on one stream.
pub(super) const SEND_BUFFER: usize = 64 * 1024;

/// Returns the options of `h2` with all limits of a connection.
pub(super) fn options(settings: &ConnectionSettings) -> h2::server::Builder {
    // This exceeds the configured limit, so that we refuse a head that is only a little too large, with its reason and
    // a line in the log. Here each field counts for 32 bytes more (RFC 9113 section 6.5.2), and each cookie counts as a
    // field.
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
