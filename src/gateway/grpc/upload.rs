//! A call's messages on their way to the app.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use http::Version;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::time::timeout;

/// What was read of the client and is not sent yet. Nothing more is read before.
pub(super) struct Upload {
    /// `None`: there is nothing to send any more, or the app takes nothing more.
    sending: Option<SendStream<Bytes>>,
    pending: Bytes,
    /// The client has sent everything.
    is_read: bool,
    patience: Duration,
}

impl Upload {
    /// Begins with what was read for an earlier try, if there was one.
    pub(super) fn new(
        sending: Option<SendStream<Bytes>>,
        session: &mut Session,
        patience: Option<Duration>,
    ) -> Self {
        let downstream = session.as_mut();
        downstream.enable_retry_buffering();
        let pending = downstream.get_retry_buffer().unwrap_or_default();
        let is_read = downstream.is_body_done();
        Self { sending, pending, is_read, patience: patience.unwrap_or(Duration::MAX) }
    }

    /// Sends or reads something. It is not ready while there is nothing to do; it fails where the client is gone or a deadline
    /// is over. Nothing is lost where this is given up before it is ready.
    pub(super) async fn advance(&mut self, session: &mut Session) -> Result<()> {
        let Some(sending) = &mut self.sending else {
            return Err(gone(session).await);
        };
        if !self.pending.is_empty() {
            sending.reserve_capacity(self.pending.len());
            let capacity = tokio::select! {
                biased;
                capacity = timeout(self.patience, poll_fn(|context| sending.poll_capacity(context))) => capacity,
                error = gone(session) => return Err(error),
            };
            return match capacity {
                Ok(Some(Ok(capacity))) => {
                    let bytes = self.pending.split_to(capacity.min(self.pending.len()));
                    self.send(bytes);
                    Ok(())
                }
                // The answer says why.
                Ok(_) => {
                    self.sending = None;
                    Ok(())
                }
                Err(_) => Error::e_explain(ErrorType::WriteTimedout, "the app takes no message")
                    .map_err(Error::into_up),
            };
        }
        if self.is_read {
            // An earlier try had read the end.
            self.send(Bytes::new());
            return Ok(());
        }
        let read = session.as_mut().read_body_or_idle(false).await.map_err(Error::into_down)?;
        self.is_read = read.is_none() || session.as_mut().is_body_done();
        self.pending = read.unwrap_or_default();
        Ok(())
    }

    fn send(&mut self, bytes: Bytes) {
        let is_last = self.is_read && self.pending.is_empty();
        let sent = self.sending.as_mut().map(|sending| sending.send_data(bytes, is_last));
        if is_last || !matches!(sent, Some(Ok(()))) {
            self.sending = None;
        }
    }
}

/// Waits until the client is gone, or a deadline over.
async fn gone(session: &mut Session) -> Box<Error> {
    if session.req_header().version != Version::HTTP_2 && !session.as_mut().is_body_done() {
        // What came next would be the rest of the body, which nobody takes now: only the app's deadlines count.
        return std::future::pending().await;
    }
    match session.as_mut().read_body_or_idle(true).await {
        Err(error) => error.into_down(),
        Ok(_) => Error::explain(ErrorType::ConnectionClosed, "the client is gone").into_down(),
    }
}
