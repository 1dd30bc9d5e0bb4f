//! The host names of apps. They are looked up one call at a time, on average at most once a second, and for all apps
//! together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Wake;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch as channel};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

use crate::system::name_lookup::{Lookup, LookupError};
use crate::telemetry::metrics::METRICS;

use crate::upstream::resolved_addresses::{Address, Answer, State, Verdict};

/// The time to wait for a look-up. After it the look-up goes on, and its outcome still counts.
const PATIENCE: Duration = Duration::from_secs(2);

/// The time for which the end of one connection waits for other ends, if nobody waits for the look-up.
const SETTLING: Duration = Duration::from_millis(50);

/// All names of the process. After a reload, and for several apps, a host has the same `Name`.
#[derive(Debug)]
pub(crate) struct Names {
    lookup: Arc<dyn Lookup>,
    known: Mutex<HashMap<String, Weak<Name>>>,
}

impl Names {
    pub(crate) fn new(lookup: Arc<dyn Lookup>) -> Self {
        Self { lookup, known: Mutex::default() }
    }

    pub(super) fn get(&self, host: &str) -> Arc<Name> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = known.get(host).and_then(Weak::upgrade) {
            return name;
        }
        known.retain(|_, name| name.strong_count() > 0);
        let name = Arc::new(Name::new(host, &self.lookup));
        known.insert(host.to_owned(), Arc::downgrade(&name));
        name
    }
}

/// A host name and what is known of it.
#[derive(Debug)]
pub(crate) struct Name {
    host: String,
    lookup: Arc<dyn Lookup>,
    answer: ArcSwap<Answer>,
    under_way: Mutex<Option<channel::Receiver<Progress>>>,
    /// The number of events so far that cast doubt on an answer.
    doubts: AtomicU64,
    doubt: Notify,
}

/// The progress of a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    Waiting,
    Overdue,
    Done,
}

impl Name {
    fn new(host: &str, lookup: &Arc<dyn Lookup>) -> Self {
        Self {
            host: host.to_owned(),
            lookup: Arc::clone(lookup),
            answer: ArcSwap::default(),
            under_way: Mutex::default(),
            doubts: AtomicU64::new(0),
            doubt: Notify::new(),
        }
    }

    /// Returns what is known now.
    pub(super) fn answer(&self) -> arc_swap::Guard<Arc<Answer>> {
        self.answer.load()
    }

    /// Decides if a connection to one of the name's addresses may be made.
    pub(super) fn verdict(&self, address: &Address, has_certificate: bool) -> Verdict {
        self.answer.load().verdict(address, has_certificate, self.doubts(), Instant::now())
    }

    /// Notes that a connection to one of the addresses has ended, or could not be made. The app may have moved.
    pub(super) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::AcqRel);
        self.doubt.notify_one();
    }

    pub(super) fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::Acquire)
    }

    /// Looks the name up, unless its answer is fresh. Does not wait for a look-up that takes too long.
    pub(crate) async fn look_up(self: &Arc<Self>) {
        self.wait_beyond(Progress::Waiting).await;
    }

    /// Waits until the name may be looked up again, and looks it up.
    pub(super) async fn look_up_anew(self: &Arc<Self>) {
        let soonest = self.soonest();
        sleep_until(soonest).await;
        self.look_up().await;
    }

    /// Returns when the name may be looked up again.
    fn soonest(&self) -> Instant {
        self.answer().soonest(self.doubts(), Instant::now())
    }

    /// Looks the name up again and again, at this interval and when there is doubt.
    pub(super) async fn keep_known(self: Arc<Self>, interval: Duration) {
        loop {
            let due = self.answer().due(interval, Instant::now());
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.doubt.notified() => {
                    // When an app stops, the connections to it end one after the other.
                    sleep(SETTLING).await;
                    if !self.answer().is_doubted(self.doubts()) {
                        continue;
                    }
                    sleep_until(self.soonest()).await;
                }
            }
            self.wait_beyond(Progress::Overdue).await;
        }
    }

    /// Starts a look-up if none is under way and the last one is too old. Waits until its progress is beyond `stage`.
    async fn wait_beyond(self: &Arc<Self>, stage: Progress) {
        let Some(mut progress) = self.progress() else { return };
        // An error means that the task of the look-up ended with the runtime.
        let _ = progress.wait_for(|now| *now > stage).await;
    }

    /// Returns the progress of the look-up that is under way, or begins one. Returns `None` if no look-up is needed.
    fn progress(self: &Arc<Self>) -> Option<channel::Receiver<Progress>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let is_under_way = |progress: &&channel::Receiver<Progress>| {
            progress.has_changed().is_ok() && *progress.borrow() != Progress::Done
        };
        if let Some(progress) = under_way.as_ref().filter(is_under_way) {
            return Some(progress.clone());
        }
        let (doubts, now) = (self.doubts(), Instant::now());
        if self.answer().is_fresh(doubts, now) {
            return None;
        }
        let (sender, receiver) = channel::channel(Progress::Waiting);
        self.answer.store(Arc::new(self.answer().beginning(now)));
        // The look-up is a task of its own, because the caller may stop waiting.
        tokio::spawn(Arc::clone(self).ask(doubts, sender));
        *under_way = Some(receiver.clone());
        Some(receiver)
    }

    async fn ask(self: Arc<Self>, doubts: u64, progress: channel::Sender<Progress>) {
        let mut asking = self.lookup.addresses(&self.host);
        let outcome = if let Ok(outcome) = timeout(PATIENCE, &mut asking).await {
            outcome
        } else {
            let error = LookupError::Unclear(String::from("no answer in time"));
            self.learn(self.answer().overdue(), Some(&error));
            progress.send_replace(Progress::Overdue);
            asking.await
        };
        self.learn(self.answer().after(&outcome, doubts, Instant::now()), outcome.as_ref().err());
        progress.send_replace(Progress::Done);
    }

    /// Stores what is known now, counts the look-up, and logs changes.
    fn learn(&self, after: Answer, error: Option<&LookupError>) {
        let after = Arc::new(after);
        let before = self.answer.swap(Arc::clone(&after));
        let host = self.host.as_str();
        METRICS.name_lookups.with_label_values(&[host, after.state.as_str()]).inc();
        let error = error.map(tracing::field::display);
        let has_changed = after.state != before.state || after.version != before.version;
        match after.state {
            _ if !has_changed => {}
            State::Found => {
                let ips = |answer: &Answer| answer.addresses.iter().map(|known| known.ip).collect::<Vec<_>>();
                info!(host, before = ?ips(&before), now = ?ips(&after), "a host name is resolved");
            }
            State::Nobody => {
                let hint = "correct the host in `upstreams`, or look at the DNS of this machine";
                warn!(host, error, hint, "a host name has no address");
            }
            State::Unclear | State::Unknown => {
                warn!(host, error, "a host name is not resolved: its addresses are kept for a while");
            }
        }
    }
}

/// An idle connection to one of the addresses wakes the name. If something comes there unasked, it is the connection's
/// end.
impl Wake for Name {
    fn wake(self: Arc<Self>) {
        self.doubt();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.doubt();
    }
}

#[cfg(test)]
mod tests;
