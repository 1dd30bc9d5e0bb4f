//! The WebSockets and event streams that are open, each with its session.

use std::sync::{Mutex, PoisonError};

use crate::connection::exchange_control::ExchangeHandle;
use crate::connection::exchange_end::EndReason;
use crate::session::StreamSession;

/// Every open stream of a session. The number of connections bounds their number.
#[derive(Debug, Default)]
pub(crate) struct OpenStreams {
    streams: Mutex<Vec<OpenStream>>,
}

#[derive(Debug)]
struct OpenStream {
    exchange: ExchangeHandle,
    session: StreamSession,
}

impl OpenStreams {
    /// Adds a stream.
    pub(super) fn add(&self, exchange: ExchangeHandle, session: StreamSession) {
        self.with(|streams| streams.push(OpenStream { exchange, session }));
    }

    /// Forgets streams that are over, and ends streams whose session is over. Returns the number of streams that it
    /// ended.
    pub(super) fn review(&self, lives: impl Fn(&StreamSession) -> bool) -> usize {
        self.with(|streams| {
            streams.retain(|stream| !stream.exchange.is_over());
            let open = streams.len();
            streams.retain(|stream| lives(&stream.session) || !stream.exchange.end(EndReason::SessionEnded));
            // Memory that a large number of streams needed is given back.
            if streams.capacity() > 4 * streams.len().max(256) {
                streams.shrink_to_fit();
            }
            open - streams.len()
        })
    }

    /// Returns the number of open streams.
    pub(crate) fn len(&self) -> usize {
        self.with(|streams| streams.iter().filter(|stream| !stream.exchange.is_over()).count())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<OpenStream>) -> T) -> T {
        act(&mut self.streams.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
