//! Whose turn it is to log in at one provider.
//!
//! Logins of one user name go out one after the other: a provider with brute-force protection answers "wrong password" to all
//! but one of several right logins at the same time (Keycloak). And there is a bound for all of them at once. Both are places
//! that strangers could hold, so nobody waits in one line:
//!
//! - A name from a site where it has logged in before (`known_login_sites`) goes first, and is always admitted.
//! - Strangers take turns by site. Where too many wait for one name, one of them, chosen at random, makes room for who comes:
//!   no place is held by having come first.
//! - Of all calls at once one site has no more than half, and every fourth goes to a stranger if one waits.
//!
//! A name and a call are given together: who waits for one of them holds nothing.

mod round_robin;
mod scheduler;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::session::login_name::LoginName;
use round_robin::Id;
use scheduler::{Bounds, Scheduler};

/// The turns at one provider.
#[derive(Debug)]
pub(crate) struct LoginQueue(Arc<Mutex<Scheduler>>);

/// A login that waits for its turn; leaves when dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    ticket: Ticket,
    granted: oneshot::Receiver<()>,
}

/// Lasts until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _ticket: Ticket,
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

    /// Waits from now on; `None`: too many of this name and site wait already. `max_waiting`: of them, besides one whose turn
    /// it is.
    pub(crate) fn enter(&self, name: &LoginName, is_known: bool, max_waiting: usize) -> Option<Waiting> {
        let (sender, granted) = oneshot::channel();
        let id = lock(&self.0).enter(name, is_known, max_waiting, sender)?;
        Some(Waiting { ticket: Ticket { id, state: Arc::clone(&self.0) }, granted })
    }
}

impl Waiting {
    /// The turn, once it has come; `None`: this one had to make room for another.
    pub(crate) async fn turn(self) -> Option<Turn> {
        let Self { ticket, granted } = self;
        granted.await.ok().map(|()| Turn { _ticket: ticket })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.state).leave(self.id);
    }
}

/// Never held across an await, and nothing in there waits.
fn lock(state: &Mutex<Scheduler>) -> std::sync::MutexGuard<'_, Scheduler> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
