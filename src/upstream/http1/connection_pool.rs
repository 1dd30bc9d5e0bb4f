//! The idle connections to an address of an app. They belong to the address, and are closed with it.
//!
//! A connection that is put in must be good for another request: see [`super::app_exchange`]. It is checked again when
//! it is taken out, because the app may have closed it, or sent bytes that nobody asked for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::connection::{Connection, Socket};

/// The number of parts. Workers take and give connections without waiting for each other: a part that is in use is
/// skipped.
const PARTS: usize = 8;

/// The most idle connections to one address in one part.
const MAX_IDLE: usize = 512;

/// The time for which an idle connection is kept.
const LIFETIME: Duration = Duration::from_secs(60);

/// The time by which a connection is dropped earlier than its app says. The app may close it at that moment, while a
/// request is on its way.
const MARGIN: Duration = Duration::from_secs(1);

thread_local! {
    static OWN_PART: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % PARTS
    };
}

/// The idle connections to one address.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    parts: [Mutex<Vec<Idle>>; PARTS],
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    until: Instant,
}

impl Pool {
    /// Takes a connection: of the first part that has one, the connection that was used last.
    pub(crate) fn take(&self) -> Option<Connection> {
        let now = Instant::now();
        for part in self.parts_from_own() {
            while let Some(idle) = try_lock(part).and_then(|mut part| part.pop()) {
                let Idle { mut connection, until } = idle;
                if connection.resume() && now < until {
                    return Some(connection);
                }
            }
        }
        None
    }

    /// Keeps a connection, for at most the time (`said`) for which its app says that it keeps it.
    pub(crate) fn give(&self, mut connection: Connection, said: Option<Duration>) {
        let lifetime = said.map_or(LIFETIME, |said| said.saturating_sub(MARGIN).min(LIFETIME));
        if lifetime.is_zero() || !connection.rest() {
            return;
        }
        let idle = Idle { connection, until: Instant::now() + lifetime };
        let room = self.parts_from_own().find_map(|part| try_lock(part).filter(|part| part.len() < MAX_IDLE));
        if let Some(mut part) = room {
            part.push(idle);
        }
    }

    /// Closes connections whose time is over, or that the app has closed.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        for part in &self.parts {
            // The system is asked outside the lock, because workers would skip a locked part.
            let sockets: Vec<_> = lock(part).iter().map(|idle| idle.connection.socket.clone()).collect();
            let dead: Vec<_> = sockets.into_iter().filter(|socket| !socket.is_quiet()).collect();
            dead.iter().for_each(Socket::resume);
            let mut part = lock(part);
            part.retain(|idle| {
                now < idle.until && !dead.iter().any(|socket| socket.is_same(&idle.connection.socket))
            });
            // Memory that a time of many connections has left behind is given back.
            if part.capacity() > 4 * part.len().max(16) {
                part.shrink_to_fit();
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(part).len()).sum()
    }

    /// Returns all parts, beginning with the worker's own.
    fn parts_from_own(&self) -> impl Iterator<Item = &Mutex<Vec<Idle>>> {
        let (before, from) = self.parts.split_at(OWN_PART.with(|own| *own));
        from.iter().chain(before)
    }
}

fn lock(part: &Mutex<Vec<Idle>>) -> MutexGuard<'_, Vec<Idle>> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

fn try_lock(part: &Mutex<Vec<Idle>>) -> Option<MutexGuard<'_, Vec<Idle>>> {
    match part.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
