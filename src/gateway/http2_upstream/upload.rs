//! The body of a request on its way to the app.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use http::Version;
use pingora_core::protocols::SocketDigest;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::time::Instant;

use crate::connection::exchange_control::ExchangeControl;
use crate::connection::stall::{Backlog, Stall};
use crate::upstream::http2;

/// The bytes that were read from the client and are not sent yet. Nothing more is read before they are sent.
pub(super) struct Upload {
    /// `None` if there is nothing more to send, or the app takes nothing more.
    sending: Option<SendStream<Bytes>>,
    pending: Bytes,
    /// Tells whether the client has sent everything.
    is_read: bool,
    /// The time for which the app may take nothing.
    idle: Duration,
    waiting: Stall,
    socket: Option<Arc<SocketDigest>>,
    client: Option<Arc<ExchangeControl>>,
}

impl Upload {
    /// Begins with the bytes that were read for an earlier try, if there was one.
    pub(super) fn new(
        sending: Option<SendStream<Bytes>>,
        exchange: &mut Session,
        idle: Duration,
        socket: Option<Arc<SocketDigest>>,
        client: Option<Arc<ExchangeControl>>,
    ) -> Self {
        let downstream = exchange.as_mut();
        downstream.enable_retry_buffering();
        let pending = downstream.get_retry_buffer().unwrap_or_default();
        let is_read = downstream.is_body_done();
        Self { sending, pending, is_read, idle, waiting: Stall::default(), socket, client }
    }

    /// Sends or reads something. It waits while there is nothing to do. It fails if the client is gone or a deadline is
    /// over. If the caller drops it before it is ready, nothing is lost.
    pub(super) async fn advance(&mut self, exchange: &mut Session) -> Result<()> {
        let Some(sending) = &mut self.sending else {
            return Err(gone(exchange).await);
        };
        if !self.pending.is_empty() {
            sending.reserve_capacity(self.pending.len());
            let Self { idle, waiting, socket, client, .. } = self;
            let mut backlog = None;
            let taking = poll_fn(|context| {
                if let Poll::Ready(capacity) = sending.poll_capacity(context) {
                    return Poll::Ready(Some(capacity));
                }
                let socket = socket.as_deref();
                let backlog = backlog.get_or_insert_with(|| Backlog::new(socket, http2::AHEAD));
                let stalled = waiting.poll(context, *idle, || backlog.acknowledged(socket));
                if let Some((client, taken)) = client.as_ref().zip(waiting.last_taken()) {
                    client.timeouts.note_app_took(taken);
                }
                stalled.map(|()| None)
            });
            let capacity = tokio::select! {
                biased;
                capacity = taking => capacity,
                error = gone(exchange) => return Err(error),
            };
            return match capacity {
                Some(Some(Ok(capacity))) => {
                    self.waiting.end();
                    if let Some(client) = &self.client {
                        client.timeouts.note_app_took(Instant::now());
                    }
                    let bytes = self.pending.split_to(capacity.min(self.pending.len()));
                    self.send(bytes);
                    Ok(())
                }
                // The app's answer says why it takes nothing more.
                Some(_) => {
                    self.sending = None;
                    Ok(())
                }
                None => Error::e_explain(ErrorType::WriteTimedout, "the app takes no message")
                    .map_err(Error::into_up),
            };
        }
        if self.is_read {
            // An earlier try had already read the end of the body.
            self.send(Bytes::new());
            return Ok(());
        }
        let read = exchange.as_mut().read_body_or_idle(false).await.map_err(Error::into_down)?;
        self.is_read = read.is_none() || exchange.as_mut().is_body_done();
        self.pending = read.unwrap_or_default();
        Ok(())
    }

    /// Tells whether nobody would notice that a deadline of the client's connection is over: see [`gone`].
    pub(super) fn is_deaf(&self, exchange: &mut Session) -> bool {
        self.sending.is_none() && is_unread(exchange)
    }

    fn send(&mut self, bytes: Bytes) {
        let is_last = self.is_read && self.pending.is_empty();
        let sent = self.sending.as_mut().map(|sending| sending.send_data(bytes, is_last));
        if is_last || !matches!(sent, Some(Ok(()))) {
            self.sending = None;
        }
    }
}

/// Tells whether the next bytes of the client would be the rest of its body.
fn is_unread(exchange: &mut Session) -> bool {
    exchange.req_header().version != Version::HTTP_2 && !exchange.as_mut().is_body_done()
}

/// Waits until the client is gone, or a deadline is over.
async fn gone(exchange: &mut Session) -> Box<Error> {
    if is_unread(exchange) {
        // The next bytes would be the rest of the body, which nobody takes now. Only the app's deadlines count.
        return std::future::pending().await;
    }
    match exchange.as_mut().read_body_or_idle(true).await {
        Err(error) => error.into_down(),
        Ok(_) => Error::explain(ErrorType::ConnectionClosed, "the client is gone").into_down(),
    }
}
