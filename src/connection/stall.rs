//! Waits for the other side of a connection, and finds out if it still takes the bytes that it is sent.
//!
//! The system tells a writer that there is room only once a good part of its buffer is empty. But a reader that is slow
//! but steady takes bytes all the time. The system knows this, because the other side acknowledges the bytes.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pingora_core::protocols::SocketDigest;
use pingora_core::protocols::l4::ext::get_tcp_info;
use tokio::time::Instant;

use crate::connection::deadlines::Timer;

/// The time for which a client may take nothing of an answer, if the gateway sets no other time.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// The number of times that the system is asked within a time-out.
const LOOKS: u32 = 8;

/// Returns how many bytes the other side has acknowledged since the connection began. Returns `None` if the system does
/// not say (Linux does from 6.2 on). Then only a write that gets through is progress.
pub(crate) fn acknowledged(socket: RawFd) -> Option<u64> {
    get_tcp_info(socket).ok().map(|info| info.tcpi_bytes_acked)
}

/// If the other side has not acknowledged this number of bytes or more, it is taken to be behind.
const BEHIND: u64 = 32 * 1024;

/// Counts acknowledged bytes, but only of those that had been written by a certain moment. Bytes that are written for
/// others later are no progress.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    end: Option<u64>,
}

impl Backlog {
    /// Counts the bytes that have been written by now. If the other side is behind, also counts the bytes `ahead` that
    /// wait in front of the next ones.
    pub(crate) fn new(socket: Option<&SocketDigest>, ahead: u64) -> Self {
        let info = socket.and_then(SocketDigest::tcp_info);
        let end = info.map(|info| {
            let sent = info.tcpi_bytes_sent.saturating_sub(info.tcpi_bytes_retrans);
            let written = sent + u64::from(info.tcpi_notsent_bytes);
            let is_behind = written.saturating_sub(info.tcpi_bytes_acked) >= BEHIND;
            written + if is_behind { ahead } else { 0 }
        });
        Self { end }
    }

    /// Returns how much of the backlog the other side has acknowledged. For `None`, see [`acknowledged`].
    pub(crate) fn acknowledged(&self, socket: Option<&SocketDigest>) -> Option<u64> {
        let info = socket.and_then(SocketDigest::tcp_info)?;
        self.end.map(|end| info.tcpi_bytes_acked.min(end))
    }
}

/// Bytes that nobody waits to write any more, and that the other side may not have taken yet.
#[derive(Debug)]
pub(crate) struct Leftovers {
    socket: Option<Arc<SocketDigest>>,
    acknowledged: u64,
    since: Option<Instant>,
}

impl Leftovers {
    pub(crate) fn new(socket: Option<Arc<SocketDigest>>) -> Self {
        Self { socket, acknowledged: 0, since: None }
    }

    /// Returns true if there are leftovers, and the other side has taken some of them within `patience`. The caller
    /// asks this again and again.
    pub(crate) fn are_being_taken(&mut self, patience: Duration) -> bool {
        let Some(info) = self.socket.as_deref().and_then(SocketDigest::tcp_info) else { return false };
        let sent = info.tcpi_bytes_sent.saturating_sub(info.tcpi_bytes_retrans);
        if info.tcpi_notsent_bytes == 0 && info.tcpi_bytes_acked >= sent {
            return false;
        }
        let now = Instant::now();
        if info.tcpi_bytes_acked > self.acknowledged {
            self.acknowledged = info.tcpi_bytes_acked;
            self.since = Some(now);
        }
        self.since.is_some_and(|since| now < since + patience)
    }
}

/// One wait for the other side, and the timer for it.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    waiting: Option<Waiting>,
    timer: Timer,
}

#[derive(Debug)]
struct Waiting {
    /// When the other side last took something, as far as is known.
    since: Instant,
    looked: Instant,
    acknowledged: Option<u64>,
    has_taken: bool,
}

impl Stall {
    /// Ends the wait, since something got through.
    pub(crate) fn end(&mut self) {
        self.waiting = None;
    }

    /// Returns true if somebody waits for the other side.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Returns when the other side was last seen to take something in this wait, if it was.
    pub(crate) fn last_taken(&self) -> Option<Instant> {
        self.waiting.as_ref().filter(|waiting| waiting.has_taken).map(|waiting| waiting.since)
    }

    /// Returns when the other side was last seen to take something in this wait, or else when the wait began.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|waiting| waiting.since)
    }

    /// Waits for the other side. It is ready when nothing was taken for `timeout`.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        timeout: Duration,
        acknowledged: impl Fn() -> Option<u64>,
    ) -> Poll<()> {
        let waiting = self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            Waiting { since: now, looked: now, acknowledged: acknowledged(), has_taken: false }
        });
        loop {
            let deadline = waiting.since + timeout;
            if waiting.looked >= deadline {
                return Poll::Ready(());
            }
            let look = deadline.min(waiting.looked + timeout / LOOKS);
            ready!(self.timer.poll_deadline(context, look));
            waiting.looked = Instant::now().max(look);
            let now_acknowledged = acknowledged();
            if now_acknowledged > waiting.acknowledged {
                waiting.acknowledged = now_acknowledged;
                waiting.since = waiting.looked;
                waiting.has_taken = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns the time until nothing was taken for 8 s, if the other side takes one byte each second, `taken` times.
    async fn waits(taken: u64, known: bool) -> Duration {
        let start = Instant::now();
        let mut stall = Stall::default();
        let acknowledged = || known.then(|| start.elapsed().as_secs().min(taken));
        poll_fn(|context| stall.poll(context, 8 * SECOND, acknowledged)).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn waits_as_long_as_something_is_taken() {
        assert_eq!(waits(0, true).await.as_secs(), 8);
        assert_eq!(waits(1, true).await.as_secs(), 9);
        assert_eq!(waits(100, true).await.as_secs(), 108);
        assert_eq!(waits(100, false).await.as_secs(), 8, "nobody knows");
    }

    #[tokio::test(start_paused = true)]
    async fn what_gets_through_begins_a_new_wait() {
        let start = Instant::now();
        let mut stall = Stall::default();
        let asked = Cell::new(0);
        for _ in 0..3 {
            let patience = tokio::time::sleep(7 * SECOND);
            tokio::select! {
                () = patience => stall.end(),
                () = poll_fn(|context| stall.poll(context, 8 * SECOND, || { asked.set(asked.get() + 1); Some(1) })) => {
                    panic!("it took something after 7 s");
                }
            }
            assert!(!stall.is_waiting() && stall.last_taken().is_none());
        }
        poll_fn(|context| stall.poll(context, 8 * SECOND, || Some(1))).await;
        assert_eq!(start.elapsed().as_secs(), 29);
        assert!(asked.get() <= 3 * 8, "{}", asked.get());
    }

    #[test]
    fn the_system_tells() {
        use std::io::{Read, Write};
        use std::os::fd::AsRawFd;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let Some(before) = acknowledged(near.as_raw_fd()) else { return };
        near.write_all(&[0; 100]).unwrap();
        far.read_exact(&mut [0; 100]).unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while acknowledged(near.as_raw_fd()) != Some(before + 100) {
            assert!(std::time::Instant::now() < until, "{:?}", acknowledged(near.as_raw_fd()));
            std::thread::yield_now();
        }
    }
}
