//! Waits for an app, finds out if it still takes what it is sent, and limits the time in which it may take nothing.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pingora_core::Error;
use tokio::time::Instant;

use super::http1::connection::Socket;
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::stall::Stall;

/// The time for which an app may take nothing, or say nothing, if no request sets another time.
const PATIENCE: Duration = Duration::from_secs(60);

/// The state of the connection to the app while one request uses it.
#[derive(Debug)]
pub(super) struct AppStall {
    /// The client's connection. If the app takes something, the time-outs there are extended.
    client: Option<Arc<ExchangeControl>>,
    /// A write that waits for the app.
    writing: Stall,
    /// A read that waits for the app.
    reading: Stall,
    /// The app has taken nothing for too long.
    is_over: bool,
}

impl AppStall {
    pub(super) fn new(client: Option<Arc<ExchangeControl>>) -> Self {
        Self { client, writing: Stall::default(), reading: Stall::default(), is_over: false }
    }

    /// Notes that something was written.
    pub(super) fn wrote(&mut self) {
        if let Some(client) = self.client.as_ref().filter(|_| self.writing.is_waiting()) {
            client.timeouts.note_app_took(Instant::now());
        }
        self.writing.end();
        self.reading.end();
    }

    /// Notes that something was read.
    pub(super) fn read(&mut self) {
        self.reading.end();
    }

    /// Called while a write waits. It fails if the app takes nothing for the `idle` time-out.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>, socket: &Socket) -> Poll<io::Error> {
        let idle = self.client.as_ref().and_then(|client| client.timeouts.write()).unwrap_or(PATIENCE);
        let stalled = self.writing.poll(context, idle, || socket.acknowledged());
        self.note();
        self.is_over |= stalled.is_ready();
        stalled.map(|()| too_late("the app takes nothing"))
    }

    /// Called while a read waits. It fails if [`Self::poll_write`] has failed, or if the app neither takes nor says
    /// anything. Until the head, this may last for the `response` time-out, and after that for `idle`.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        socket: &Socket,
        has_head: bool,
    ) -> Poll<io::Error> {
        if self.is_over {
            return Poll::Ready(too_late("the app took nothing"));
        }
        let client = self.client.as_ref();
        let timeout = client
            .and_then(|client| if has_head { client.timeouts.write() } else { client.timeouts.response() });
        let stalled = self.reading.poll(context, timeout.unwrap_or(PATIENCE), || socket.acknowledged());
        self.note();
        stalled.map(|()| too_late("the app neither takes nor says anything"))
    }

    /// Called while a read waits that has its time-out elsewhere. It only notes how much of the written bytes the app
    /// takes.
    pub(super) fn poll_taken(&mut self, context: &mut Context<'_>, socket: &Socket) {
        let idle = self.client.as_ref().and_then(|client| client.timeouts.write()).unwrap_or(PATIENCE);
        let _ready_or_looked_at_later = self.reading.poll(context, idle, || socket.acknowledged());
        self.note();
    }

    fn note(&self) {
        let last = self.writing.last_taken().max(self.reading.last_taken());
        if let Some((client, last)) = self.client.as_ref().zip(last) {
            client.timeouts.note_app_took(last);
        }
    }
}

/// The error of an exchange whose app took nothing, or said nothing, for too long.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct TooLate(&'static str);

fn too_late(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, TooLate(why))
}

/// Returns true if an exchange failed because the app took nothing, or said nothing, for too long.
pub(crate) fn is_too_late(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    cause.and_then(|cause| cause.downcast_ref::<TooLate>()).is_some()
}
