//! Logins of one user name at one provider go out one after the other: a provider with brute-force protection answers
//! "wrong password" to all but one of several right logins at the same time (Keycloak).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Key = (String, String);

/// The queues, one for each user name that is logging in right now.
#[derive(Debug)]
pub(crate) struct LoginQueue {
    max_waiting: usize,
    queues: Arc<Mutex<HashMap<Key, Queue>>>,
}

#[derive(Debug)]
struct Queue {
    turn: Arc<Semaphore>,
    present: usize,
}

/// A place in a queue; leaves it when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    key: Key,
    queues: Arc<Mutex<HashMap<Key, Queue>>>,
    turn: Arc<Semaphore>,
}

impl LoginQueue {
    pub(crate) fn new(max_waiting: usize) -> Self {
        Self { max_waiting, queues: Arc::default() }
    }

    /// Takes a place; `None` if too many wait already. Providers take user names in any case and with blanks around them.
    pub(crate) fn enter(&self, provider: &str, username: &str) -> Option<Place> {
        let key = (provider.to_owned(), username.trim().to_lowercase());
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues
            .entry(key.clone())
            .or_insert_with(|| Queue { turn: Arc::new(Semaphore::new(1)), present: 0 });
        if queue.present > self.max_waiting {
            return None;
        }
        queue.present += 1;
        Some(Place { key, queues: Arc::clone(&self.queues), turn: Arc::clone(&queue.turn) })
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
            queue.present -= 1;
            if queue.present == 0 {
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
        let first = queue.enter("main", "Alice").unwrap();
        let second = queue.enter("main", " alice ").unwrap();
        let other = queue.enter("main", "bob").unwrap();
        let permit = first.turn().await;
        assert!(permit.is_some());
        assert!(second.turn.try_acquire().is_err());
        assert!(other.turn.try_acquire().is_ok());
        drop(permit);
        assert!(second.turn().await.is_some());
    }

    #[test]
    fn the_queue_is_bounded_and_leaves_nothing_behind() {
        let queue = LoginQueue::new(1);
        let places = (queue.enter("main", "a"), queue.enter("main", "a"));
        assert!(places.0.is_some() && places.1.is_some());
        assert!(queue.enter("main", "a").is_none());
        drop(places);
        assert!(queue.queues.lock().unwrap().is_empty());
    }
}
