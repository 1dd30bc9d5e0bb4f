//! Idle connections to an app's addresses.
//!
//! What comes in here must be good for another request: see [`super::http1`]. What goes out is looked at once more, since an app
//! may have closed it, or said something that nobody asked for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::http1::Connection;

/// Workers take and give without waiting for each other: a part that is in use is passed over.
const PARTS: usize = 8;

/// Idle connections to one address, in one part.
const MAX_IDLE: usize = 512;

/// How long an idle connection is kept.
const LIFETIME: Duration = Duration::from_secs(60);

/// An app that says how long it keeps a connection may close it then, while a request is on its way.
const MARGIN: Duration = Duration::from_secs(1);

thread_local! {
    static OWN_PART: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % PARTS
    };
}

/// The idle connections of one upstream, by address.
#[derive(Debug, Default)]
pub(super) struct Pool {
    by_address: ArcSwap<Vec<(SocketAddr, Arc<Kept>)>>,
}

#[derive(Debug, Default)]
struct Kept {
    parts: [Mutex<Vec<Idle>>; PARTS],
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    until: Instant,
}

impl Pool {
    /// A connection to this address, the one that was used last.
    pub(super) fn take(&self, address: SocketAddr) -> Option<Connection> {
        let kept_by_address = self.by_address.load();
        let kept = kept_by_address.iter().find(|(known, _)| *known == address).map(|(_, kept)| kept)?;
        let now = Instant::now();
        for part in kept.parts_from_own() {
            while let Some(idle) = try_lock(part).and_then(|mut part| part.pop()) {
                let Idle { mut connection, until } = idle;
                if now < until && connection.is_quiet() {
                    return Some(connection);
                }
            }
        }
        None
    }

    /// Keeps a connection, as long as its app says it does (`said`).
    pub(super) fn give(&self, address: SocketAddr, connection: Connection, said: Option<Duration>) {
        let lifetime = said.map_or(LIFETIME, |said| said.saturating_sub(MARGIN).min(LIFETIME));
        if lifetime.is_zero() {
            return;
        }
        let idle = Idle { connection, until: Instant::now() + lifetime };
        let kept = self.kept(address);
        let room = kept.parts_from_own().find_map(|part| try_lock(part).filter(|part| part.len() < MAX_IDLE));
        if let Some(mut part) = room {
            part.push(idle);
        }
    }

    /// Closes what is over, or was closed by the app. Says how many that were.
    pub(super) fn sweep(&self) -> usize {
        let now = Instant::now();
        let mut closed = 0;
        for (_, kept) in self.by_address.load().iter() {
            for part in &kept.parts {
                // Asked outside the lock, which a worker would pass over.
                let sockets: Vec<_> = lock(part).iter().map(|idle| idle.connection.socket.clone()).collect();
                let dead: Vec<_> = sockets.into_iter().filter(|socket| !socket.is_quiet()).collect();
                let mut part = lock(part);
                let before = part.len();
                part.retain(|idle| {
                    now < idle.until && !dead.iter().any(|socket| socket.is_same(&idle.connection.socket))
                });
                closed += before - part.len();
                // What a crowd left behind is given back.
                if part.capacity() > 4 * part.len().max(16) {
                    part.shrink_to_fit();
                }
            }
        }
        closed
    }

    fn kept(&self, address: SocketAddr) -> Arc<Kept> {
        let find = |kept_by_address: &[(SocketAddr, Arc<Kept>)]| {
            kept_by_address.iter().find(|(known, _)| *known == address).map(|(_, kept)| Arc::clone(kept))
        };
        if let Some(kept) = find(&self.by_address.load()) {
            return kept;
        }
        self.by_address.rcu(|kept_by_address| {
            let mut kept_by_address: Vec<_> =
                kept_by_address.iter().map(|(address, kept)| (*address, Arc::clone(kept))).collect();
            if find(&kept_by_address).is_none() {
                // Addresses come and go; those without connections are not needed.
                kept_by_address.retain(|(_, kept)| !kept.is_empty());
                kept_by_address.push((address, Arc::default()));
            }
            kept_by_address
        });
        find(&self.by_address.load()).unwrap_or_default()
    }
}

impl Kept {
    /// All parts, the worker's own first.
    fn parts_from_own(&self) -> impl Iterator<Item = &Mutex<Vec<Idle>>> {
        let (before, from) = self.parts.split_at(OWN_PART.with(|own| *own));
        from.iter().chain(before)
    }

    fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| lock(part).is_empty())
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
