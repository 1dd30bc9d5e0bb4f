//! The control of an exchange: the gateway and a connection's reader talk by it while a request is under way.
//!
//! Pingora owns the session, so there is no argument through which a deadline could be passed to the stream below
//! it. An [`ExchangeControl`] is that argument: the gateway gets it as the connection's user context
//! (`ProxyHttp::on_connection_reuse`), the stream reads it whenever it would wait. Nothing here is shared between
//! connections.

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

/// The time that an exchange which is cut off may take to the end of a WebSocket frame. Together with the time that the
/// connection may take to close, it stays below the 2 s that the end of a session may take, and below a stop's end.
const FRAME_TIMEOUT: Duration = Duration::from_secs(1);

/// The instant that all connections count from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

tokio::task_local! {
    /// Of the HTTP/2 stream that this task serves. Pingora has a connection's user context for HTTP/1.x only.
    pub(crate) static CONTROL_OF_STREAM: Arc<ExchangeControl>;
}

/// Returns the control of the HTTP/2 stream that the running task serves, if it serves one.
pub(crate) fn of_this_stream() -> Option<Arc<ExchangeControl>> {
    CONTROL_OF_STREAM.try_with(Arc::clone).ok()
}

/// The number that an exchange's beginning, and its end, add to [`ExchangeControl`]'s state.
const EXCHANGE: u64 = 1 << 8;

/// The bits of the state that hold the reason.
const REASON: u64 = EXCHANGE - 1;

/// One request and its response, or what they became, on a connection that may serve others before and after: for
/// whoever may have to end an open stream later, from any thread. Keeps nothing open.
#[derive(Debug, Clone)]
pub(crate) struct ExchangeHandle {
    connection: Arc<ExchangeControl>,
    /// The connection's state while it is under way, without the reason.
    number: u64,
}

impl ExchangeHandle {
    /// Ends the connection if this exchange is still under way, and says whether it was; an earlier reason stays. Once
    /// the exchange is over this does nothing, whatever the connection serves by then.
    ///
    /// With [`EndReason::SessionEnded`] an upgraded connection is closed with a WebSocket Close frame, any other
    /// response is cut, and no request follows. It takes less than 2 s, also when app and client are silent.
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

    /// Returns true if the response is over, so that there is nothing to end any more.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.state.load(Ordering::Acquire) & !REASON != self.number
    }
}

/// Shared between one connection's stream, the gateway, and whoever may end the connection.
#[derive(Debug)]
pub(crate) struct ExchangeControl {
    peer: SocketAddr,
    tls: bool,
    /// The time-outs of the exchange that is under way.
    pub(crate) timeouts: ExchangeTimeouts,
    closing: AtomicBool,
    closing_idle: AtomicBool,
    continues: AtomicBool,
    /// Since when it waits for a next request, in milliseconds since [`EPOCH`]; 0: it does not.
    waiting_since: AtomicU64,
    direct_origin: DirectOrigin,
    /// The [`EndReason`], 0 for none, below a count of the exchanges' beginnings and ends ([`EXCHANGE`]). In one word,
    /// so that ending an exchange cannot hit the one after it.
    state: AtomicU64,
    reader: Mutex<Option<Waker>>,
}

impl ExchangeControl {
    /// A control for a connection that was just accepted.
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

    /// The other end of the socket: the client, or the proxy in front of us.
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

    /// The exchange that is under way. To be asked for while it is: in one of Pingora's phases.
    pub(crate) fn exchange(self: &Arc<Self>) -> ExchangeHandle {
        let number = self.state.load(Ordering::Acquire) & !REASON;
        ExchangeHandle { connection: Arc::clone(self), number }
    }

    /// Fails the reads of this connection, also one that is waiting, and whatever it serves. The first reason stays.
    pub(crate) fn end(&self, reason: EndReason) {
        self.set_ended(reason);
        self.wake();
    }

    /// Returns the reason for which the reads of this connection fail, if they do.
    pub(crate) fn ended(&self) -> Option<EndReason> {
        reason_in(self.state.load(Ordering::Acquire))
    }

    /// Closes after the next answer, which says so.
    pub(crate) fn close_after_answer(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Takes no further request: an idle connection closes at once, a busy one after its answer.
    pub(crate) fn close_when_idle(&self) {
        self.closing.store(true, Ordering::Release);
        self.closing_idle.store(true, Ordering::Release);
        self.wake();
    }

    /// Returns true if [`Self::close_after_answer`] or [`Self::close_when_idle`] was called.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Its requests are over, and no byte of another one is there: whoever needs its place may have it.
    pub(crate) fn begin_waiting(&self, now: Instant) {
        let since = milliseconds(now.saturating_duration_since(*EPOCH)).saturating_add(1);
        self.waiting_since.store(since, Ordering::Relaxed);
    }

    /// A request begins.
    pub(crate) fn end_waiting(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Since when it waits for a next request, on a scale that all connections share.
    pub(crate) fn waiting_since(&self) -> Option<u64> {
        Some(self.waiting_since.load(Ordering::Relaxed)).filter(|&since| since != 0)
    }

    /// Returns true if [`Self::close_when_idle`] was called.
    pub(crate) fn is_closing_idle(&self) -> bool {
        self.closing_idle.load(Ordering::Acquire)
    }

    /// As [`Self::end`], from the reader itself.
    pub(crate) fn set_ended(&self, reason: EndReason) {
        // An earlier reason stays: it is the one that the client is told.
        let _earlier = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state & REASON == 0).then_some(state | reason as u64)
        });
    }

    /// Forgets what the last request asked for, and makes this one an [`ExchangeHandle`] of its own.
    pub(crate) fn begin_exchange(&self) {
        self.state.fetch_add(EXCHANGE, Ordering::AcqRel);
        self.timeouts.reset();
        self.continues.store(false, Ordering::Relaxed);
    }

    /// The request has failed and been answered whole; the connection may serve another one. Pingora itself gives up
    /// the connection after every failure to proxy.
    pub(crate) fn continue_after_failure(&self) {
        self.continues.store(true, Ordering::Relaxed);
    }

    /// Makes reads possible again after [`EndReason::ResponseTimeout`]: an app that does not answer in time ends its
    /// request only.
    pub(crate) fn recover(&self) {
        self.timeouts.disarm_response();
        let timed_out = EndReason::ResponseTimeout as u64;
        let _other_reason = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state & REASON == timed_out).then_some(state & !REASON)
        });
    }

    /// The exchange is over: from now on its [`ExchangeHandle`] ends nothing. Why it, or the connection, was ended
    /// before, if it was.
    pub(crate) fn finish_exchange(&self) -> Option<EndReason> {
        reason_in(self.state.fetch_add(EXCHANGE, Ordering::AcqRel))
    }

    /// Returns true if [`Self::continue_after_failure`] was called for this request.
    pub(crate) fn continues_after_failure(&self) -> bool {
        self.continues.load(Ordering::Relaxed)
    }

    /// Registers the task that waits for this connection. Look at [`Self::ended`] and [`Self::is_closing`] after
    /// it, not before: what was set in between would be missed.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        match reader.as_ref() {
            Some(known) if known.will_wake(waker) => {}
            _ => *reader = Some(waker.clone()),
        }
    }

    /// Waits for something that comes before the first request. Returns nothing where idle connections close first.
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

    /// Serves an exchange, and drops it where it is cut off and does not end soon. Returns true where Pingora leaves
    /// the connection good for another request.
    ///
    /// One that is cut off may come to the end of a WebSocket frame. Where that takes too long, or Pingora waits only
    /// for an app that takes nothing and so does not see that its reads would fail, it is dropped.
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
