//! The wait for an app: does it still take what it is sent, and for how long may it not?

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pingora_core::Error;
use tokio::time::Instant;

use super::http1::connection::Socket;
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::stall::Stall;

/// The time for which an app may take nothing, or say nothing, where no request says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// The way to the app on one connection, while one request uses it.
#[derive(Debug)]
pub(super) struct AppStall {
    /// The client's end: what the app takes puts off what is waited for there.
    client: Option<Arc<ExchangeControl>>,
    /// A write that waits for the app.
    writing: Stall,
    /// A read that waits for it.
    reading: Stall,
    /// It has taken nothing for too long.
    is_over: bool,
}

impl AppStall {
    pub(super) fn new(client: Option<Arc<ExchangeControl>>) -> Self {
        Self { client, writing: Stall::default(), reading: Stall::default(), is_over: false }
    }

    /// Something was written.
    pub(super) fn wrote(&mut self) {
        if let Some(client) = self.client.as_ref().filter(|_| self.writing.is_waiting()) {
            client.timeouts.note_app_took(Instant::now());
        }
        self.writing.end();
        self.reading.end();
    }

    /// Something was read.
    pub(super) fn read(&mut self) {
        self.reading.end();
    }

    /// A write waits. It fails where the app takes nothing for the `idle` time-out.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>, socket: &Socket) -> Poll<io::Error> {
        let idle = self.client.as_ref().and_then(|client| client.timeouts.write()).unwrap_or(PATIENCE);
        let stalled = self.writing.poll(context, idle, || socket.acknowledged());
        self.note();
        self.is_over |= stalled.is_ready();
        stalled.map(|()| too_late("the app takes nothing"))
    }

    /// A read waits. It fails after [`Self::poll_write`] has, and where the app neither takes nor says anything: until
    /// the head for the `response` time-out, then for `idle`.
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

    /// A read waits, for as long as others say: notes what the app takes meanwhile of what was written.
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

/// Returns true if an exchange failed since the app took nothing, or said nothing, for too long.
pub(crate) fn is_too_late(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    cause.and_then(|cause| cause.downcast_ref::<TooLate>()).is_some()
}
