//! Counts failed logins, so that nobody can guess passwords by the thousand. It counts them for each user name from one
//! address, and for each address. The counts leak away, so nobody is kept out for long. It does not count a user name
//! alone, so a stranger elsewhere cannot keep its owner out. The table is bounded.
//!
//! A login that is on its way to the provider takes a place in the count. It gives the place back unless it fails. So
//! guesses at the same time count like guesses one after the other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::session::login_name::LoginName;

/// The largest number of counts. If there are more, empty counts are removed. If that does not help, nothing new is
/// counted for a while.
const MAX_ENTRIES: usize = 65_536;

/// The time after which one failed login of a user name from one address is forgotten.
const NAME_LEAK: Duration = Duration::from_secs(30);

/// The time after which one failed login from an address is forgotten. Many users may share an address.
const ADDRESS_LEAK: Duration = Duration::from_secs(5);

/// Counts failed logins.
#[derive(Debug)]
pub(crate) struct Throttle {
    per_name: AtomicU32,
    per_address: AtomicU32,
    table: Mutex<Table>,
    /// Notifies when a login is no longer on its way.
    settled: Notify,
}

#[derive(Debug, Default)]
struct Table {
    failures: HashMap<Subject, Failures>,
    /// The time at which empty counts were last removed. They are not removed at every login while the table is full.
    cleared_at: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Name(LoginName),
    Address(std::net::IpAddr),
}

/// A leaky bucket. `empty_at` is the time at which it is empty again, without the logins on their way.
#[derive(Debug, Clone, Copy)]
struct Failures {
    empty_at: Instant,
    on_their_way: u32,
}

/// A count of failed logins.
#[derive(Debug)]
struct Limit {
    subject: Subject,
    leak: Duration,
    most: u32,
}

/// The reason why a login may not be tried now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many have failed. One more may be tried after this time.
    Failed(Duration),
    /// Too many logins are on their way, and might fail. See [`Throttle::settled`].
    OnTheirWay,
}

/// A place in the count of failed logins, for a login whose outcome is not known yet. It is given back when it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    throttle: Arc<Throttle>,
    name: LoginName,
    /// The counts in which it has a place. A count is missing if there was no room for it in the table.
    limits: Vec<Limit>,
    /// Nobody is told when it ends.
    is_silent: bool,
}

/// One of the limits, for a count that is kept elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// The time after which one failure is forgotten.
    pub(crate) leak: Duration,
    /// The number of failures at once.
    pub(crate) most: u32,
}

impl Throttle {
    /// Creates a throttle. At once, it allows `per_name` failed logins of one user name from one address, and
    /// `per_address` failed logins from one address.
    pub(crate) fn new(per_name: u32, per_address: u32) -> Self {
        let (per_name, per_address) = (AtomicU32::new(per_name), AtomicU32::new(per_address));
        Self { per_name, per_address, table: Mutex::default(), settled: Notify::new() }
    }

    /// Sets both limits for later logins.
    pub(crate) fn set_limits(&self, per_name: u32, per_address: u32) {
        self.per_name.store(per_name, Ordering::Relaxed);
        self.per_address.store(per_address, Ordering::Relaxed);
    }

    /// Refuses a login if too many have failed already. The error is the time after which one more may be tried.
    pub(crate) fn check(&self, name: &LoginName) -> Result<(), Duration> {
        self.check_share(name, 1)
    }

    /// Does the same, with the share of the limits that one of some replicas has. It is rounded up.
    pub(crate) fn check_share(&self, name: &LoginName, replicas: u32) -> Result<(), Duration> {
        let (table, now) = (self.table(), Instant::now());
        let waits = self.limits(name, replicas).filter_map(|limit| table.wait(&limit, now));
        waits.max().map_or(Ok(()), Err)
    }

    /// Takes a place for a login that is about to be tried.
    pub(crate) fn reserve(self: &Arc<Self>, name: &LoginName) -> Result<Reservation, Refused> {
        self.reserve_share(name, 1)
    }

    /// Does the same, with the share of the limits that one of some replicas has. It is rounded up.
    pub(crate) fn reserve_share(
        self: &Arc<Self>,
        name: &LoginName,
        replicas: u32,
    ) -> Result<Reservation, Refused> {
        let (mut table, now) = (self.table(), Instant::now());
        let limits: Vec<_> = self.limits(name, replicas).collect();
        if let Some(wait) = limits.iter().filter_map(|limit| table.wait(limit, now)).max() {
            return Err(Refused::Failed(wait));
        }
        if limits.iter().any(|limit| table.is_full(limit, now)) {
            return Err(Refused::OnTheirWay);
        }
        let has_room = table.make_room(now);
        let reserved = limits.into_iter().filter(|limit| table.reserve(limit, now, has_room));
        let limits = reserved.collect();
        drop(table);
        Ok(Reservation { throttle: Arc::clone(self), name: name.clone(), limits, is_silent: false })
    }

    /// Waits until a login is no longer on its way. It notices logins from the time at which the future is first polled
    /// or enabled.
    pub(crate) fn settled(&self) -> Notified<'_> {
        self.settled.notified()
    }

    /// Tells all who wait that a login elsewhere may be no longer on its way.
    pub(crate) fn tell_settled(&self) {
        self.settled.notify_waiters();
    }

    /// Returns the limit of one user name from one address, and that of one address.
    pub(crate) fn rates(&self) -> (Rate, Rate) {
        let [per_name, per_address] =
            [&self.per_name, &self.per_address].map(|limit| limit.load(Ordering::Relaxed));
        (Rate { leak: NAME_LEAK, most: per_name }, Rate { leak: ADDRESS_LEAK, most: per_address })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self, name: &LoginName, replicas: u32) -> impl Iterator<Item = Limit> {
        let (per_name, per_address) = self.rates();
        let limit = |subject, Rate { leak, most }| {
            let most = most.div_ceil(replicas.max(1));
            Limit { subject, leak, most }
        };
        let of_name = limit(Subject::Name(name.clone()), per_name);
        let of_address = name.site().map(|site| limit(Subject::Address(site), per_address));
        [Some(of_name), of_address].into_iter().flatten()
    }
}

impl Reservation {
    /// Records that the login failed. It keeps its place until the count leaks away.
    pub(crate) fn failed(mut self) {
        let (mut table, now) = (self.throttle.table(), Instant::now());
        for limit in self.limits.drain(..) {
            if let Some(failures) = table.failures.get_mut(&limit.subject) {
                failures.on_their_way = failures.on_their_way.saturating_sub(1);
                // The level never exceeds the limit, even if the limit was lowered meanwhile.
                let brim = now + limit.leak * limit.most;
                failures.empty_at = (failures.empty_at.max(now) + limit.leak).min(brim);
            }
        }
    }

    /// Records that the login succeeded. The failures of its user name from its address are forgotten.
    pub(crate) fn succeeded(self) {
        let mut table = self.throttle.table();
        if let Some(failures) = table.failures.get_mut(&Subject::Name(self.name.clone())) {
            failures.empty_at = Instant::now();
        }
    }

    /// Gives the place back, and tells nobody. Whoever was refused elsewhere would only wake itself.
    pub(crate) fn withdraw(mut self) {
        self.is_silent = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let (mut table, now) = (self.throttle.table(), Instant::now());
        for Limit { subject, .. } in self.limits.drain(..) {
            if let Some(failures) = table.failures.get_mut(&subject) {
                failures.on_their_way = failures.on_their_way.saturating_sub(1);
                if failures.is_over(now) {
                    table.failures.remove(&subject);
                }
            }
        }
        drop(table);
        if !self.is_silent {
            self.throttle.tell_settled();
        }
    }
}

impl Failures {
    fn is_over(&self, now: Instant) -> bool {
        self.on_their_way == 0 && self.empty_at <= now
    }
}

impl Table {
    /// Returns the level of a bucket, first without the logins on their way, then with them.
    fn levels(&self, limit: &Limit, now: Instant) -> (Duration, Duration) {
        let Some(failures) = self.failures.get(&limit.subject) else { return Default::default() };
        let level = failures.empty_at.saturating_duration_since(now);
        (level, level + limit.leak * failures.on_their_way)
    }

    /// Returns the time after which one more login may fail. Returns `None` if it may fail now.
    fn wait(&self, limit: &Limit, now: Instant) -> Option<Duration> {
        let (level, _) = self.levels(limit, now);
        level.checked_sub(limit.leak * limit.most.saturating_sub(1)).filter(|wait| !wait.is_zero())
    }

    /// Tells whether too many logins would have failed if all logins on their way failed.
    fn is_full(&self, limit: &Limit, now: Instant) -> bool {
        let (_, level) = self.levels(limit, now);
        level > limit.leak * limit.most.saturating_sub(1)
    }

    fn reserve(&mut self, limit: &Limit, now: Instant, has_room: bool) -> bool {
        if !has_room && !self.failures.contains_key(&limit.subject) {
            return false;
        }
        let none = Failures { empty_at: now, on_their_way: 0 };
        self.failures.entry(limit.subject.clone()).or_insert(none).on_their_way += 1;
        true
    }

    /// Makes room, and tells whether the table has room for two more counts.
    fn make_room(&mut self, now: Instant) -> bool {
        let is_full = |failures: &HashMap<_, _>| failures.len() + 2 > MAX_ENTRIES;
        let may_clear = self.cleared_at.is_none_or(|cleared_at| now >= cleared_at + ADDRESS_LEAK);
        if is_full(&self.failures) && may_clear {
            self.failures.retain(|_, failures| !failures.is_over(now));
            self.cleared_at = Some(now);
        }
        !is_full(&self.failures)
    }
}

#[cfg(test)]
mod tests;
