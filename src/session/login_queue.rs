//! Logins of one user name at one provider go out one after the other: a provider with brute-force protection answers
//! "wrong password" to all but one of several right logins at the same time (Keycloak).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Issuer and normalised user name.
type Key = (String, String);

/// Who logs in from where, as far as that can be told before the provider is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LoginName {
    key: Key,
    site: Option<IpAddr>,
}

impl LoginName {
    /// Providers take user names in any case and with blanks around them.
    pub(crate) fn new(issuer: &str, username: &str, client: Option<IpAddr>) -> Self {
        Self { key: (issuer.to_owned(), username.trim().to_lowercase()), site: client.map(site) }
    }

    /// The client's address; of IPv6 its /64, which is one subscriber at least (RFC 6177).
    pub(crate) fn site(&self) -> Option<IpAddr> {
        self.site
    }
}

/// Addresses that may wait for one user name at once: a stranger fills a few places, never all.
const MAX_ADDRESSES: usize = 16;

/// The queues, one for each user name that is logging in right now.
#[derive(Debug)]
pub(crate) struct LoginQueue {
    max_waiting: AtomicUsize,
    queues: Arc<Mutex<HashMap<Key, Queue>>>,
}

#[derive(Debug)]
struct Queue {
    turn: Arc<Semaphore>,
    /// Who is present, and how often.
    present: HashMap<Option<IpAddr>, usize>,
}

/// A place in a queue; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    key: Key,
    client: Option<IpAddr>,
    queues: Arc<Mutex<HashMap<Key, Queue>>>,
    turn: Arc<Semaphore>,
}

impl LoginQueue {
    pub(crate) fn new(max_waiting: usize) -> Self {
        Self { max_waiting: AtomicUsize::new(max_waiting), queues: Arc::default() }
    }

    /// Sets it for those who come.
    pub(crate) fn set_max_waiting(&self, max_waiting: usize) {
        self.max_waiting.store(max_waiting, Ordering::Relaxed);
    }

    /// Takes a place; `None` if too many wait already.
    pub(crate) fn enter(&self, name: &LoginName) -> Option<Place> {
        let LoginName { key, site: client } = name.clone();
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues
            .entry(key.clone())
            .or_insert_with(|| Queue { turn: Arc::new(Semaphore::new(1)), present: HashMap::new() });
        let is_new = !queue.present.contains_key(&client);
        if is_new && queue.present.len() >= MAX_ADDRESSES {
            return None;
        }
        let places = queue.present.entry(client).or_default();
        if *places > self.max_waiting.load(Ordering::Relaxed) {
            return None;
        }
        *places += 1;
        Some(Place { key, client, queues: Arc::clone(&self.queues), turn: Arc::clone(&queue.turn) })
    }
}

/// The client's network: of IPv6 its /64.
pub(super) fn site(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

impl Place {
    /// Waits for the turn, which lasts until the permit is dropped.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turn).acquire_owned().await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get_mut(&self.key) {
            if let Some(places) = queue.present.get_mut(&self.client) {
                *places -= 1;
                if *places == 0 {
                    queue.present.remove(&self.client);
                }
            }
            if queue.present.is_empty() {
                queues.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_name_one_login_at_a_time() {
        let queue = LoginQueue::new(8);
        let first = queue.enter(&LoginName::new("main", "Alice", None)).unwrap();
        let second = queue.enter(&LoginName::new("main", " alice ", None)).unwrap();
        let other = queue.enter(&LoginName::new("main", "bob", None)).unwrap();
        let permit = first.turn().await;
        assert!(permit.is_some());
        assert!(second.turn.try_acquire().is_err());
        assert!(other.turn.try_acquire().is_ok());
        drop(permit);
        assert!(second.turn().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_order_and_whoever_gives_up_holds_up_nobody() {
        let queue = LoginQueue::new(8);
        let places = [(); 3].map(|()| queue.enter(&LoginName::new("main", "alice", None)).unwrap());
        let permit = places[0].turn().await;
        let mut second = Box::pin(places[1].turn());
        let mut third = Box::pin(places[2].turn());
        let moment = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(moment, &mut second).await.is_err());
        assert!(tokio::time::timeout(moment, &mut third).await.is_err());
        drop(second);
        drop(permit);
        assert!(tokio::time::timeout(moment, third).await.unwrap().is_some());
    }

    #[test]
    fn one_name_at_two_providers_is_two_users() {
        let queue = LoginQueue::new(0);
        let _one = queue.enter(&LoginName::new("main", "alice", None)).unwrap();
        assert!(queue.enter(&LoginName::new("main", "ALICE ", None)).is_none());
        assert!(queue.enter(&LoginName::new("other", "alice", None)).is_some());
    }

    #[test]
    fn the_queue_is_bounded_and_leaves_nothing_behind() {
        let queue = LoginQueue::new(1);
        let places = (
            queue.enter(&LoginName::new("main", "a", None)),
            queue.enter(&LoginName::new("main", "a", None)),
        );
        assert!(places.0.is_some() && places.1.is_some());
        assert!(queue.enter(&LoginName::new("main", "a", None)).is_none());
        drop(places);
        assert!(queue.queues.lock().unwrap().is_empty());
    }
}
