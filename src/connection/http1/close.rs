//! How a connection ends: when its exchange is not waited for any longer, and what the client is told.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pingora_core::apps::ReusedHttpStream;
use tokio::time::{sleep, timeout};

use super::web_socket_frames::close_frame;
use crate::connection::exchange_control::{ConnectionWatch, EndReason};
use crate::connection::http1::message::Message;
use crate::connection::http1::wire::Wire;

/// How long, and for how many bytes, a connection that is given up is still read. A socket that is closed with
/// bytes unread resets the connection, and the client loses the answer.
pub(crate) const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// How long a connection that is cut off may take to the end of a WebSocket frame, and then to close. Together they stay
/// below the 2 s that the end of a session may take, and a stop's end.
const FRAME_TIMEOUT: Duration = Duration::from_secs(1);
const CLOSE_TIMEOUT: Duration = Duration::from_millis(750);

/// Whether Pingora leaves the connection good for another request. One that is cut off may come to the end of a WebSocket
/// frame. Where that takes too long, or Pingora waits only for an app that takes nothing and so does not see that its
/// reads would fail, it is dropped.
pub(crate) async fn unless_cut_off(
    serving: impl Future<Output = Option<ReusedHttpStream>>,
    watch: &ConnectionWatch,
) -> bool {
    let mut serving = pin!(serving);
    let mut patience = None;
    poll_fn(|context| {
        if let Poll::Ready(reused) = serving.as_mut().poll(context) {
            return Poll::Ready(reused.is_some());
        }
        watch.register(context.waker());
        if !watch.ended().is_some_and(EndReason::cuts_off) {
            return Poll::Pending;
        }
        let patience = patience.get_or_insert_with(|| Box::pin(sleep(FRAME_TIMEOUT)));
        patience.as_mut().poll(context).map(|()| false)
    })
    .await
}

/// Closes a connection after its last exchange, in a way that lets the client read what was written.
pub(crate) async fn close(mut wire: Box<Wire>, message: &Message, ended: Option<EndReason>) {
    let frame = match ended {
        _ if !message.is_upgraded() => None,
        Some(EndReason::SessionEnded) => Some(close_frame(4401, "session ended")),
        Some(EndReason::Shutdown) => Some(close_frame(1001, "server stops")),
        Some(EndReason::Idle) => Some(close_frame(1001, "idle")),
        // Either side has ended it.
        _ => return,
    };
    let patience = match ended {
        Some(EndReason::Shutdown) if frame.is_none() => return,
        Some(EndReason::Shutdown | EndReason::SessionEnded | EndReason::Idle) => CLOSE_TIMEOUT,
        _ => LINGER_TIMEOUT,
    };
    let closing = async {
        if let Some(frame) = frame.filter(|_| message.is_between_frames()) {
            write_all(&mut wire, frame.as_slice()).await?;
        }
        linger(&mut wire).await
    };
    let _gone_or_too_late = timeout(patience, closing).await;
}

/// Writes all of `bytes`, some of it maybe only into the connection's buffer.
pub(crate) async fn write_all(wire: &mut Wire, mut bytes: impl Buf) -> io::Result<()> {
    while bytes.has_remaining() {
        let written = poll_fn(|context| wire.poll_write(context, bytes.chunk())).await?;
        bytes.advance(written);
    }
    Ok(())
}

/// Ends a connection so that the client can read what was written to it. To be bounded in time.
pub(crate) async fn linger(wire: &mut Wire) -> io::Result<()> {
    poll_fn(|context| wire.poll_shutdown(context)).await?;
    let mut discarded = 0;
    while !wire.is_at_end && discarded < LINGER_BYTES {
        wire.incoming = BytesMut::new();
        discarded += poll_fn(|context| wire.poll_fill(context)).await?;
    }
    Ok(())
}
