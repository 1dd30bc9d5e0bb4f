//! Closes a connection of HTTP/1.x so that the client can still read what was written. A WebSocket gets a Close frame.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::time::timeout;

use crate::connection::exchange_end::EndReason;
use crate::connection::http1::client_connection::ClientConnection;
use crate::connection::http1::exchange::Exchange;
use crate::connection::web_socket_close::close_frame_for;

/// The limits, in time and bytes, for reading from a connection that is given up. If a socket is closed with unread
/// bytes, the connection is reset and the client loses the answer.
pub(crate) const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// The time that a connection which is cut off may take to close. Before it, there was time to finish a WebSocket
/// frame.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(750);

/// Closes a connection after its last exchange, in a way that lets the client read what was written.
pub(crate) async fn close(
    mut connection: Box<ClientConnection>,
    exchange: &Exchange,
    ended: Option<EndReason>,
) {
    let frame = ended.filter(|_| exchange.is_upgraded()).and_then(close_frame_for);
    if exchange.is_upgraded() && frame.is_none() {
        // The client or the app has ended it.
        return;
    }
    let patience = match ended {
        Some(EndReason::Shutdown) if frame.is_none() => return,
        Some(EndReason::Shutdown | EndReason::SessionEnded | EndReason::Idle) => CLOSE_TIMEOUT,
        _ => LINGER_TIMEOUT,
    };
    let closing = async {
        if let Some(frame) = frame.filter(|_| exchange.is_between_frames()) {
            write_all(&mut connection, frame.as_slice()).await?;
        }
        linger(&mut connection).await
    };
    let _gone_or_too_late = timeout(patience, closing).await;
}

/// Writes all of `bytes`. Some may stay in the connection's buffer.
pub(crate) async fn write_all(connection: &mut ClientConnection, mut bytes: impl Buf) -> io::Result<()> {
    while bytes.has_remaining() {
        let written = poll_fn(|context| connection.poll_write(context, bytes.chunk())).await?;
        bytes.advance(written);
    }
    Ok(())
}

/// Ends a connection so that the client can read what was written to it. The caller limits the time.
pub(crate) async fn linger(connection: &mut ClientConnection) -> io::Result<()> {
    poll_fn(|context| connection.poll_shutdown(context)).await?;
    let mut discarded = 0;
    while !connection.is_at_end && discarded < LINGER_BYTES {
        connection.incoming = BytesMut::new();
        discarded += poll_fn(|context| connection.poll_fill(context)).await?;
    }
    Ok(())
}
