//! Failed logins are counted, for each user name from one address and for each address, so that passwords are not guessed
//! by the thousand. Counts leak away, so nobody is kept out for long; a user name alone is not counted, so that a stranger
//! elsewhere cannot keep its owner out. The tables are bounded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::session::login_queue::LoginName;

/// What is remembered at once. Beyond it, what has leaked away goes, and then nothing new is counted for a while.
const MAX_ENTRIES: usize = 65_536;

/// Time in which one failed login of a user name from one address is forgotten.
const NAME_LEAK: Duration = Duration::from_secs(30);

/// Time in which one failed login from an address is forgotten; many users may share it.
const ADDRESS_LEAK: Duration = Duration::from_secs(5);

/// Counts failed logins.
#[derive(Debug)]
pub(crate) struct Throttle {
    per_name: AtomicU32,
    per_address: AtomicU32,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    failures: HashMap<Subject, Failures>,
    /// When what has leaked away was last thrown out: not at every login while the table is full.
    cleared_at: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Name(LoginName),
    Address(std::net::IpAddr),
}

/// A leaky bucket: it is empty again at this instant.
#[derive(Debug, Clone, Copy)]
struct Failures {
    empty_at: Instant,
}

impl Throttle {
    /// Permits `per_name` failed logins of one user name from one address, and `per_address` from one address, at once.
    pub(crate) fn new(per_name: u32, per_address: u32) -> Self {
        let (per_name, per_address) = (AtomicU32::new(per_name), AtomicU32::new(per_address));
        Self { per_name, per_address, table: Mutex::default() }
    }

    /// Sets both for logins that come.
    pub(crate) fn set_limits(&self, per_name: u32, per_address: u32) {
        self.per_name.store(per_name, Ordering::Relaxed);
        self.per_address.store(per_address, Ordering::Relaxed);
    }

    /// Whether a login may be tried; `Err`: the time after which it may.
    pub(crate) fn check(&self, name: &LoginName) -> Result<(), Duration> {
        let table = self.table();
        let now = Instant::now();
        let wait = self.subjects(name).filter_map(|(subject, leak, most)| {
            let level = table.failures.get(&subject)?.empty_at.saturating_duration_since(now);
            level.checked_sub(leak * most.saturating_sub(1)).filter(|wait| !wait.is_zero())
        });
        wait.max().map_or(Ok(()), Err)
    }

    /// Counts a failed login.
    pub(crate) fn failed(&self, name: &LoginName) {
        let mut table = self.table();
        let now = Instant::now();
        let has_room = table.make_room(now);
        for (subject, leak, most) in self.subjects(name) {
            if !has_room && !table.failures.contains_key(&subject) {
                continue;
            }
            let entry = table.failures.entry(subject).or_insert(Failures { empty_at: now });
            // Never above the brim: trying on does not lengthen the wait.
            entry.empty_at = (entry.empty_at.max(now) + leak).min(now + leak * most);
        }
    }

    /// Forgets the failures of a user name from the address that it has now logged in from.
    pub(crate) fn succeeded(&self, name: &LoginName) {
        self.table().failures.remove(&Subject::Name(name.clone()));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subjects(&self, name: &LoginName) -> impl Iterator<Item = (Subject, Duration, u32)> {
        let [per_name, per_address] =
            [&self.per_name, &self.per_address].map(|limit| limit.load(Ordering::Relaxed));
        let of_address = name.site().map(|site| (Subject::Address(site), ADDRESS_LEAK, per_address));
        [Some((Subject::Name(name.clone()), NAME_LEAK, per_name)), of_address].into_iter().flatten()
    }
}

impl Table {
    /// Whether two more fit in.
    fn make_room(&mut self, now: Instant) -> bool {
        let is_full = |failures: &HashMap<_, _>| failures.len() + 2 > MAX_ENTRIES;
        let may_clear = self.cleared_at.is_none_or(|cleared_at| now >= cleared_at + ADDRESS_LEAK);
        if is_full(&self.failures) && may_clear {
            self.failures.retain(|_, failures| failures.empty_at > now);
            self.cleared_at = Some(now);
        }
        !is_full(&self.failures)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn name(username: &str, address: &str) -> LoginName {
        LoginName::new("main", username, address.parse::<IpAddr>().ok())
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_from_one_address_is_slowed_down_and_nobody_else() {
        let throttle = Throttle::new(3, 1000);
        let guessed = name("alice", "192.0.2.1");
        for _ in 0..3 {
            assert_eq!(throttle.check(&guessed), Ok(()));
            throttle.failed(&guessed);
        }
        let wait = throttle.check(&guessed).unwrap_err();
        assert!(wait <= NAME_LEAK, "{wait:?}");
        assert!(throttle.check(&name(" ALICE ", "192.0.2.1")).is_err(), "the same name to a provider");
        assert_eq!(throttle.check(&name("alice", "192.0.2.2")), Ok(()), "its owner, elsewhere");
        assert_eq!(throttle.check(&name("bob", "192.0.2.1")), Ok(()));
        throttle.failed(&guessed);
        assert!(throttle.check(&guessed).unwrap_err() <= NAME_LEAK, "trying on lengthens nothing");
        advance(wait).await;
        assert_eq!(throttle.check(&guessed), Ok(()), "one more after a leak");
        throttle.succeeded(&guessed);
        for _ in 0..2 {
            throttle.failed(&guessed);
            assert_eq!(throttle.check(&guessed), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_tries_many_names_is_slowed_down() {
        let throttle = Throttle::new(3, 10);
        for number in 0..10 {
            throttle.failed(&name(&format!("user{number}"), "2001:db8::1"));
        }
        assert!(throttle.check(&name("other", "2001:db8::ffff")).unwrap_err() <= ADDRESS_LEAK, "one /64");
        assert_eq!(throttle.check(&name("other", "2001:db8:0:1::1")), Ok(()));
        advance(ADDRESS_LEAK).await;
        assert_eq!(throttle.check(&name("other", "2001:db8::1")), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded() {
        let throttle = Throttle::new(3, 10);
        for number in 0..65_536_u32 {
            throttle.failed(&LoginName::new(
                "main",
                &number.to_string(),
                Some(IpAddr::V4((number + 1).into())),
            ));
        }
        assert!(throttle.table().failures.len() <= MAX_ENTRIES);
        advance(SECOND * 3600).await;
        throttle.failed(&name("alice", "192.0.2.1"));
        assert_eq!(throttle.table().failures.len(), 2, "what has leaked away is gone");
    }
}
