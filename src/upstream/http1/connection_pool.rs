//! Idle connections to an address of an app. They belong to it, and go with it.
//!
//! What comes in here must be good for another request: see [`super::app_exchange`]. What goes out is looked at once
//! more, since an app may have closed it, or said something that nobody asked for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::connection::{Connection, Socket};

/// Workers take and give without waiting for each other: a part that is in use is passed over.
const PARTS: usize = 8;

/// Idle connections to one address, in one part.
const MAX_IDLE: usize = 512;

/// The time for which an idle connection is kept.
const LIFETIME: Duration = Duration::from_secs(60);

/// An app that says how long it keeps a connection may close it then, while a request is on its way.
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
    /// A connection, the one that was used last.
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

    /// Keeps a connection, as long as its app says it does (`said`).
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

    /// Closes what is over, or was closed by the app.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        for part in &self.parts {
            // Asked outside the lock, which a worker would pass over.
            let sockets: Vec<_> = lock(part).iter().map(|idle| idle.connection.socket.clone()).collect();
            let dead: Vec<_> = sockets.into_iter().filter(|socket| !socket.is_quiet()).collect();
            dead.iter().for_each(Socket::resume);
            let mut part = lock(part);
            part.retain(|idle| {
                now < idle.until && !dead.iter().any(|socket| socket.is_same(&idle.connection.socket))
            });
            // What a crowd left behind is given back.
            if part.capacity() > 4 * part.len().max(16) {
                part.shrink_to_fit();
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(part).len()).sum()
    }

    /// All parts, the worker's own first.
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
