//! Why an exchange, or the whole connection, is ended.

use std::io;

/// Why a connection's reads fail from now on. Writes still work, so that an answer can be sent; except where a reason cuts it off, [`Self::SessionEnded`] and [`Self::Shutdown`], the whole exchange is over within a second, and an upgraded
/// connection is then closed with a WebSocket Close frame (docs/behaviour.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum EndReason {
    /// The app sent no response head in time: 504.
    ResponseTimeout = 1,
    /// The body came in below `server.limits.body_min_rate`: 408.
    BodyTooSlow,
    /// The chunked coding of the body is malformed (RFC 9112 section 7.1): 400.
    MalformedBody,
    /// The whole answer has gone out before the request had come in to its end: nobody wants the rest.
    Answered,
    /// The client has closed its writing side, and nothing has gone to it for a while.
    ClientLeft,
    /// Nothing moved on an upgraded connection for the app's `idle` time-out.
    Idle,
    /// The app sent nothing more of its answer, and took nothing of the request, for its `idle` time-out: the answer is cut.
    AppIdle,
    /// The session behind an open stream is no longer good: see [`crate::connection::exchange_control::ExchangeHandle`].
    SessionEnded,
    /// The server's grace period is over.
    Shutdown,
}

impl EndReason {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::ResponseTimeout,
        Self::BodyTooSlow,
        Self::MalformedBody,
        Self::Answered,
        Self::ClientLeft,
        Self::Idle,
        Self::AppIdle,
        Self::SessionEnded,
        Self::Shutdown,
    ];

    /// Returns true where someone else than the exchange itself ends it. Then it is not waited for.
    pub(crate) const fn cuts_off(self) -> bool {
        matches!(self, Self::SessionEnded | Self::Shutdown)
    }

    /// Returns the error with which reads fail.
    pub(crate) fn error(self) -> io::Error {
        let (kind, text) = match self {
            Self::ResponseTimeout => (io::ErrorKind::TimedOut, "no response in time"),
            Self::BodyTooSlow => (io::ErrorKind::TimedOut, "the request body is too slow"),
            Self::MalformedBody => (io::ErrorKind::InvalidData, "malformed chunked coding"),
            Self::ClientLeft => (io::ErrorKind::ConnectionAborted, "the client has left"),
            Self::Answered => (io::ErrorKind::ConnectionAborted, "the request was answered before its end"),
            Self::Idle => (io::ErrorKind::TimedOut, "the upgraded connection was idle"),
            Self::AppIdle => (io::ErrorKind::TimedOut, "the app is silent"),
            Self::SessionEnded => (io::ErrorKind::ConnectionAborted, "the session has ended"),
            Self::Shutdown => (io::ErrorKind::ConnectionAborted, "the server shuts down"),
        };
        io::Error::new(kind, text)
    }
}
