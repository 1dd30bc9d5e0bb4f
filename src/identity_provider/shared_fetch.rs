//! Work that runs at most once at a time. All callers that ask for it meanwhile share its outcome.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::telemetry::traces;

/// The outcome of the work that is under way. It is `None` until the work is done.
type Flight = watch::Receiver<Option<bool>>;

/// Runs at most one piece of work at a time.
#[derive(Debug, Default)]
pub(super) struct SharedFetch(Mutex<Option<Flight>>);

impl SharedFetch {
    /// Joins the work that is under way. If there is none, starts it if `permitted` says so. Returns true if the work
    /// succeeded, and `false` if it failed or was not permitted.
    ///
    /// The work is a separate task, which runs to its end even if the caller goes away. Otherwise a client that hangs
    /// up could use up the permission without any result.
    pub(super) async fn join_or_start<Work>(
        &self,
        permitted: impl FnOnce() -> bool,
        work: impl FnOnce() -> Work,
    ) -> bool
    where
        Work: Future<Output = bool> + Send + 'static,
    {
        let Some(mut flight) = self.flight(permitted, work) else { return false };
        flight.wait_for(Option::is_some).await.is_ok_and(|outcome| *outcome == Some(true))
    }

    fn flight<Work>(&self, permitted: impl FnOnce() -> bool, work: impl FnOnce() -> Work) -> Option<Flight>
    where
        Work: Future<Output = bool> + Send + 'static,
    {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = current.as_ref().filter(|flight| is_under_way(flight)) {
            return Some(flight.clone());
        }
        if !permitted() {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        let work = work();
        tokio::spawn(traces::under(traces::parent(), async move {
            let outcome = work.await;
            sender.send_replace(Some(outcome));
        }));
        *current = Some(receiver.clone());
        Some(receiver)
    }
}

fn is_under_way(flight: &Flight) -> bool {
    // An error means that the sender was dropped: the work is done, or it was dropped with its runtime.
    flight.has_changed().is_ok() && flight.borrow().is_none()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn everyone_shares_one_flight_and_the_next_one_starts_afresh() {
        let (flights, started, gate) =
            (Arc::new(SharedFetch::default()), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let join = || {
            let (flights, started, gate) = (flights.clone(), started.clone(), gate.clone());
            async move {
                let work = || async move {
                    started.fetch_add(1, Ordering::SeqCst);
                    gate.notified().await;
                    true
                };
                flights.join_or_start(|| true, work).await
            }
        };
        let release = async {
            while started.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            gate.notify_one();
        };
        assert_eq!(tokio::join!(join(), join(), join(), release), (true, true, true, ()));
        assert_eq!(started.load(Ordering::SeqCst), 1);
        gate.notify_one();
        assert!(join().await);
        assert_eq!(started.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn the_work_survives_a_caller_that_goes_away() {
        let (flights, done) = (SharedFetch::default(), Arc::new(Notify::new()));
        let signal = done.clone();
        let work = || async move {
            tokio::task::yield_now().await;
            signal.notify_one();
            true
        };
        drop(tokio::time::timeout(std::time::Duration::ZERO, flights.join_or_start(|| true, work)).await);
        tokio::time::timeout(std::time::Duration::from_secs(10), done.notified())
            .await
            .expect("ran to its end");
    }

    #[tokio::test]
    async fn what_is_not_permitted_does_not_start() {
        assert!(!SharedFetch::default().join_or_start(|| false, || async { true }).await);
    }
}
