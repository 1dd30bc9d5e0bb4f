//! The queue of logins at one provider.
//!
//! Logins of one user name go out one after the other. The reason is brute-force protection: if several correct logins
//! of one user arrive at the same time, Keycloak answers "wrong password" to all except one. The number of calls to the
//! provider at the same time is bounded as well. Strangers could occupy a user name or all calls, so logins do not wait
//! in a single line:
//!
//! - A login from a known site (`known_login_sites`), where the user name has logged in before, goes first and is
//!   always admitted.
//! - All other logins count as strangers. They take turns by site. If strangers from too many sites wait for one name,
//!   the logins of a random site make room for the new login. So strangers cannot keep a place by coming first.
//! - One site has at most half of all calls at the same time. Every fourth call goes to a stranger if one waits.
//!
//! A login gets its user name and its call together. A login that waits for one of them does not hold the other.

mod round_robin;
mod scheduler;

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::session::login_name::LoginName;
use round_robin::Id;
use scheduler::{Bounds, Scheduler};

/// The queue at one provider.
#[derive(Debug)]
pub(crate) struct LoginQueue(Arc<Mutex<Scheduler>>);

/// A login that waits for its turn. It leaves the queue when it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    ticket: Ticket,
    granted: oneshot::Receiver<()>,
}

/// The turn of a login. It lasts until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Ends the turn when it is dropped.
    _holds: Box<dyn Debug + Send + Sync>,
}

impl Turn {
    /// Makes a turn that ends with this value. The value has the turn of the queue in it.
    pub(crate) fn holding(holds: impl Debug + Send + Sync + 'static) -> Self {
        Self { _holds: Box::new(holds) }
    }
}

#[derive(Debug)]
struct Ticket {
    id: Id,
    state: Arc<Mutex<Scheduler>>,
}

impl Default for LoginQueue {
    fn default() -> Self {
        Self::new(Bounds::default())
    }
}

impl LoginQueue {
    fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Mutex::new(Scheduler::new(bounds))))
    }

    /// Puts a login into the queue. Besides the login whose turn it is, `max_waiting` logins of one name and site may
    /// wait. Returns `None` if there are too many, and no waiting login can make room.
    pub(crate) fn enter(&self, name: &LoginName, is_known: bool, max_waiting: usize) -> Option<Waiting> {
        let (sender, granted) = oneshot::channel();
        let id = lock(&self.0).enter(name, is_known, max_waiting, sender)?;
        Some(Waiting { ticket: Ticket { id, state: Arc::clone(&self.0) }, granted })
    }
}

impl Waiting {
    /// Waits for the turn, and returns it. Returns `None` if this login had to make room for another one.
    pub(crate) async fn turn(self) -> Option<Turn> {
        let Self { ticket, granted } = self;
        granted.await.ok().map(|()| Turn::holding(ticket))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.state).leave(self.id);
    }
}

/// Locks the scheduler. The lock is never held across an await, and the scheduler itself never waits.
fn lock(state: &Mutex<Scheduler>) -> std::sync::MutexGuard<'_, Scheduler> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
