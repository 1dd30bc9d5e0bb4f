//! The control of an exchange. The gateway and a connection's reader communicate through it while a request is under
//! way.
//!
//! Pingora owns the session, so no argument can pass a deadline to the stream below it. An [`ExchangeControl`] takes
//! the place of that argument. The gateway gets it as the connection's user context (`ProxyHttp::on_connection_reuse`),
//! and the stream reads it before each wait. Connections share nothing here.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use pingora_core::apps::ReusedHttpStream;
use tokio::time::{Instant, sleep};

use crate::connection::exchange_end::{EndReason, ExchangeTimeouts, milliseconds};
use crate::connection::forwarding::DirectOrigin;

/// The time that an exchange which is cut off has to finish a WebSocket frame. This time and the time to close the
/// connection together stay below the 2 s in which the streams of an ended session end. They also stay below the time
/// of a stop.
const FRAME_TIMEOUT: Duration = Duration::from_secs(1);

/// The instant from which all connections count.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

tokio::task_local! {
    /// The control of the HTTP/2 stream that this task serves. Pingora has a connection's user context for HTTP/1.x
    /// only.
    pub(crate) static CONTROL_OF_STREAM: Arc<ExchangeControl>;
}

/// Returns the control of the HTTP/2 stream that the running task serves, if it serves one.
pub(crate) fn of_this_stream() -> Option<Arc<ExchangeControl>> {
    CONTROL_OF_STREAM.try_with(Arc::clone).ok()
}

/// The amount that the beginning of an exchange, and its end, each add to [`ExchangeControl`]'s state.
const EXCHANGE: u64 = 1 << 8;

/// The bits of the state that hold the reason.
const REASON: u64 = EXCHANGE - 1;

/// A handle to one request and its response (or its WebSocket) on a connection that may serve others before and after
/// it. Code on any thread can end an open stream by it later. It keeps nothing open.
#[derive(Debug, Clone)]
pub(crate) struct ExchangeHandle {
    connection: Arc<ExchangeControl>,
    /// The connection's state while the exchange is under way, without the reason.
    number: u64,
}

impl ExchangeHandle {
    /// Ends the connection if this exchange is still under way, and returns true if it was. An earlier reason is kept.
    /// Once the exchange is over, this does nothing, even if the connection serves another exchange.
    ///
    /// With [`EndReason::SessionEnded`], an upgraded connection is closed with a WebSocket Close frame. Any other
    /// response is cut, and no request follows. This takes less than 2 s, also when app and client are silent.
    pub(crate) fn end(&self, reason: EndReason) -> bool {
        let state = &self.connection.state;
        let ended = self.number | reason as u64;
        match state.compare_exchange(self.number, ended, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.connection.wake();
                true
            }
            Err(state) => state & !REASON == self.number,
        }
    }

    /// Returns true if the response is over. Then there is nothing left to end.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.state.load(Ordering::Acquire) & !REASON != self.number
    }
}

/// State that one connection's stream, the gateway, and all that may end the connection share.
#[derive(Debug)]
pub(crate) struct ExchangeControl {
    peer: SocketAddr,
    tls: bool,
    /// The time-outs of the exchange that is under way.
    pub(crate) timeouts: ExchangeTimeouts,
    closing: AtomicBool,
    closing_idle: AtomicBool,
    continues: AtomicBool,
    /// The instant since which the connection waits for a next request, in milliseconds since [`EPOCH`]. 0 means that
    /// it does not wait.
    waiting_since: AtomicU64,
    direct_origin: DirectOrigin,
    /// The [`EndReason`] (0 for none) in the low bits, and above it a count of the exchanges' beginnings and ends
    /// ([`EXCHANGE`]). Both are in one word, so that ending an exchange cannot hit the next one.
    state: AtomicU64,
    reader: Mutex<Option<Waker>>,
}

impl ExchangeControl {
    /// Makes a control for a connection that was just accepted.
    pub(crate) fn new(peer: SocketAddr, tls: bool) -> Self {
        Self {
            peer,
            tls,
            timeouts: ExchangeTimeouts::new(),
            closing: AtomicBool::new(false),
            closing_idle: AtomicBool::new(false),
            continues: AtomicBool::new(false),
            waiting_since: AtomicU64::new(0),
            direct_origin: DirectOrigin::default(),
            state: AtomicU64::new(0),
            reader: Mutex::new(None),
        }
    }

    /// Returns the other end of the socket: the client, or the proxy in front of us.
    pub(crate) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns true if TLS ends here.
    pub(crate) const fn tls(&self) -> bool {
        self.tls
    }

    /// Returns the headers that apps get with requests whose client is at the other end.
    pub(crate) const fn direct_origin(&self) -> &DirectOrigin {
        &self.direct_origin
    }

    /// Returns a handle to the exchange that is under way. Call it only during an exchange, from one of Pingora's
    /// phases.
    pub(crate) fn exchange(self: &Arc<Self>) -> ExchangeHandle {
        let number = self.state.load(Ordering::Acquire) & !REASON;
        ExchangeHandle { connection: Arc::clone(self), number }
    }

    /// Fails the reads of this connection, also one that is waiting, and ends what the connection serves. The first
    /// reason is kept.
    pub(crate) fn end(&self, reason: EndReason) {
        self.set_ended(reason);
        self.wake();
    }

    /// Returns the reason for which the reads of this connection fail, if they do.
    pub(crate) fn ended(&self) -> Option<EndReason> {
        reason_in(self.state.load(Ordering::Acquire))
    }

    /// Closes the connection after the next answer, which says so.
    pub(crate) fn close_after_answer(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Takes no further request. An idle connection closes at once, a busy one after its answer.
    pub(crate) fn close_when_idle(&self) {
        self.closing.store(true, Ordering::Release);
        self.closing_idle.store(true, Ordering::Release);
        self.wake();
    }

    /// Returns true if [`Self::close_after_answer`] or [`Self::close_when_idle`] was called.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Notes that the connection's requests are over, and that no byte of another one has come. From now on it may be
    /// closed to make room.
    pub(crate) fn begin_waiting(&self, now: Instant) {
        let since = milliseconds(now.saturating_duration_since(*EPOCH)).saturating_add(1);
        self.waiting_since.store(since, Ordering::Relaxed);
    }

    /// Notes that a request begins.
    pub(crate) fn end_waiting(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Returns since when the connection waits for a next request, on a scale that all connections share.
    pub(crate) fn waiting_since(&self) -> Option<u64> {
        Some(self.waiting_since.load(Ordering::Relaxed)).filter(|&since| since != 0)
    }

    /// Returns true if [`Self::close_when_idle`] was called.
    pub(crate) fn is_closing_idle(&self) -> bool {
        self.closing_idle.load(Ordering::Acquire)
    }

    /// Does the same as [`Self::end`], but is called by the reader itself.
    pub(crate) fn set_ended(&self, reason: EndReason) {
        // An earlier reason is kept: the client is told that one.
        let _earlier = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state & REASON == 0).then_some(state | reason as u64)
        });
    }

    /// Forgets the settings of the last request, and gives this one an [`ExchangeHandle`] of its own.
    pub(crate) fn begin_exchange(&self) {
        self.state.fetch_add(EXCHANGE, Ordering::AcqRel);
        self.timeouts.reset();
        self.continues.store(false, Ordering::Relaxed);
    }

    /// Notes that the request has failed and was answered completely. The connection may serve another one. Pingora by
    /// itself closes the connection after every failure to proxy.
    pub(crate) fn continue_after_failure(&self) {
        self.continues.store(true, Ordering::Relaxed);
    }

    /// Makes reads possible again after [`EndReason::ResponseTimeout`]. An app that does not answer in time ends only
    /// its request.
    pub(crate) fn recover(&self) {
        self.timeouts.disarm_response();
        let timed_out = EndReason::ResponseTimeout as u64;
        let _other_reason = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state & REASON == timed_out).then_some(state & !REASON)
        });
    }

    /// Ends the exchange: from now on its [`ExchangeHandle`] does nothing. Returns the reason for which the exchange,
    /// or the connection, was ended before, if it was.
    pub(crate) fn finish_exchange(&self) -> Option<EndReason> {
        reason_in(self.state.fetch_add(EXCHANGE, Ordering::AcqRel))
    }

    /// Returns true if [`Self::continue_after_failure`] was called for this request.
    pub(crate) fn continues_after_failure(&self) -> bool {
        self.continues.load(Ordering::Relaxed)
    }

    /// Registers the task that waits for this connection. Look at [`Self::ended`] and [`Self::is_closing`] after this
    /// call, not before it. Otherwise a change in between would be missed.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        match reader.as_ref() {
            Some(known) if known.will_wake(waker) => {}
            _ => *reader = Some(waker.clone()),
        }
    }

    /// Waits for something that comes before the first request. Returns `None` if idle connections close before it
    /// comes.
    pub(crate) async fn unless_closing<T>(&self, waiting: impl Future<Output = T>) -> Option<T> {
        let mut waiting = pin!(waiting);
        poll_fn(|context| {
            if let Poll::Ready(outcome) = waiting.as_mut().poll(context) {
                return Poll::Ready(Some(outcome));
            }
            self.register(context.waker());
            if self.is_closing_idle() || self.ended().is_some() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    /// Serves an exchange, and drops it if it is cut off and does not end soon. Returns true if Pingora leaves the
    /// connection good for another request.
    ///
    /// An exchange that is cut off may finish its WebSocket frame. If that takes too long, the exchange is dropped. It
    /// is also dropped if Pingora waits only for an app that takes nothing, since Pingora then does not see that its
    /// reads would fail.
    pub(crate) async fn unless_cut_off(
        &self,
        serving: impl Future<Output = Option<ReusedHttpStream>>,
    ) -> bool {
        let mut serving = pin!(serving);
        let mut patience = None;
        poll_fn(|context| {
            if let Poll::Ready(reused) = serving.as_mut().poll(context) {
                return Poll::Ready(reused.is_some());
            }
            self.register(context.waker());
            if !self.ended().is_some_and(EndReason::cuts_off) {
                return Poll::Pending;
            }
            let patience = patience.get_or_insert_with(|| Box::pin(sleep(FRAME_TIMEOUT)));
            patience.as_mut().poll(context).map(|()| false)
        })
        .await
    }

    fn wake(&self) {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = reader {
            waker.wake();
        }
    }
}

fn reason_in(state: u64) -> Option<EndReason> {
    EndReason::ALL.into_iter().find(|&reason| reason as u64 == state & REASON)
}

#[cfg(test)]
mod tests;
