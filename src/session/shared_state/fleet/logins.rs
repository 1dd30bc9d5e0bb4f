//! Failed logins and turns of logins, over the fleet.
//!
//! The engine counts failed logins for all replicas. Each replica counts its own ones as well, so it goes on if the engine
//! is away: then it allows its share of the limits. A login waits for the engine for 100 ms at most, and only if the
//! engine answered lately ([`CircuitBreaker`]).
//!
//! The engine sees no user name and no address. The names of the counts come from the first key. So when that key is
//! replaced, the counts start anew, and replicas with different first keys count separately meanwhile.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use crate::engine::commands::{Bucket, Engine, EngineError, Reserved, Settled};
use crate::engine::names::Name;
use crate::engine::sealing::FleetKeys;
use crate::session::login_name::LoginName;
use crate::session::login_queue::{Turn, Waiting};
use crate::session::shared_state::fleet::circuit_breaker::CircuitBreaker;
use crate::session::shared_state::values::LoginReservation;
use crate::session::throttle::{Rate, Refused, Reservation, Throttle};
use crate::telemetry::metrics::shared_state::ENGINE_METRICS;

/// The longest time for which a login waits for an answer of the engine.
const LONGEST_ANSWER: Duration = Duration::from_millis(100);

/// The pause between two attempts to take a turn that another replica has.
const POLL: Duration = Duration::from_millis(50);

/// The time after which a login asks again if too many others are on their way at other replicas.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The time for which a turn lasts at least, if its replica does not give it back.
const TURN: Duration = Duration::from_secs(10);

/// The largest number of refusals that are remembered.
const MAX_REFUSALS: usize = 16_384;

/// Failed logins and turns of logins.
#[derive(Debug)]
pub(super) struct FleetLogins {
    engine: Arc<dyn Engine>,
    keys: Arc<FleetKeys>,
    /// The id of this replica.
    owner: String,
    /// The failures at this replica.
    throttle: Arc<Throttle>,
    /// The number of replicas, as they were last seen.
    replicas: Arc<AtomicUsize>,
    /// The longest time that a login may take, in milliseconds.
    longest_login: AtomicU64,
    breaker: CircuitBreaker,
    /// The refusals of the engine, and the times until which they hold.
    refusals: Mutex<HashMap<LoginName, Instant>>,
    last_turn: AtomicU64,
    /// Those who wait will be told soon.
    will_tell: AtomicBool,
}

/// The answer of the engine.
enum Answer<T> {
    Given(T),
    /// The operation may have been carried out.
    Lost,
    /// The operation was not carried out.
    Away,
}

impl FleetLogins {
    /// Counts logins for this replica and for the fleet.
    pub(super) fn new(
        (engine, keys): (Arc<dyn Engine>, Arc<FleetKeys>),
        owner: &str,
        throttle: Arc<Throttle>,
        replicas: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            engine,
            keys,
            owner: owner.to_owned(),
            throttle,
            replicas,
            longest_login: AtomicU64::new(0),
            breaker: CircuitBreaker::default(),
            refusals: Mutex::default(),
            last_turn: AtomicU64::new(0),
            will_tell: AtomicBool::new(false),
        }
    }

    /// Sets the longest time that a login may take. A turn lasts at least as long.
    pub(super) fn set_longest_login(&self, longest: Duration) {
        self.longest_login.store(u64::try_from(longest.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Refuses a login if too many have failed already, as far as it is known here. The error is the time after which one
    /// more may be tried.
    pub(super) fn check(&self, name: &LoginName) -> Result<(), Duration> {
        let is_alone = !self.engine.is_up() || self.breaker.is_open();
        self.throttle.check_share(name, if is_alone { self.share() } else { 1 })?;
        let until = self.refusals().get(name).copied();
        let wait = until.map(|until| until.saturating_duration_since(Instant::now()));
        wait.filter(|wait| !wait.is_zero()).map_or(Ok(()), Err)
    }

    /// Takes a place in the counts of this replica and of the engine.
    pub(super) async fn reserve(
        self: &Arc<Self>,
        name: &LoginName,
    ) -> Result<Box<dyn LoginReservation>, Refused> {
        let local = self.throttle.reserve(name)?;
        let buckets = self.buckets(name);
        let mut place = Place { logins: Arc::clone(self), local: Some(local), buckets };
        let refused = match self.ask(self.engine.reserve(&place.buckets)).await {
            Answer::Given(Reserved::Yes) => return Ok(Box::new(place)),
            Answer::Given(Reserved::Failed(wait)) => {
                self.remember(name, wait);
                Refused::Failed(wait)
            }
            Answer::Given(Reserved::OnTheirWay) => Refused::OnTheirWay,
            // The place may have been taken. The end of the login tells.
            Answer::Lost => return self.reserve_alone(name, place),
            Answer::Away => {
                place.buckets.clear();
                return self.reserve_alone(name, place);
            }
        };
        place.buckets.clear();
        if let Some(local) = place.local.take() {
            local.withdraw();
        }
        self.tell_soon();
        Err(refused)
    }

    /// Takes a place within this replica's share of the limits.
    fn reserve_alone(
        self: &Arc<Self>,
        name: &LoginName,
        mut place: Place,
    ) -> Result<Box<dyn LoginReservation>, Refused> {
        ENGINE_METRICS.throttle_fallback.inc();
        if let Some(local) = place.local.take() {
            local.withdraw();
        }
        let local = self.throttle.reserve_share(name, self.share());
        place.local = Some(local.inspect_err(|_| self.tell_soon())?);
        Ok(Box::new(place))
    }

    /// Waits for a login's turn: first in the queue of this process, then for the turn of its user name in the engine.
    /// If the engine is away, the queue of this process counts alone.
    pub(super) async fn turn(self: &Arc<Self>, name: &LoginName, waiting: Waiting) -> Option<Turn> {
        let local = waiting.turn().await?;
        let (issuer, username) = name.key();
        let names = self.keys.names("l", &[issuer.as_bytes(), username.as_bytes()]);
        let Some(name) = names.first() else { return Some(local) };
        let number = self.last_turn.fetch_add(1, Ordering::Relaxed);
        let owner = format!("{}-{number}", self.owner);
        let lasts = TURN.max(Duration::from_millis(self.longest_login.load(Ordering::Relaxed)));
        // If this future is dropped while it waits, the turn may have been granted. Then it is given back.
        let mut held =
            HeldTurn { logins: Arc::clone(self), name: *name, owner, is_asked: true, local: Some(local) };
        loop {
            match self.ask(self.engine.take_turn(name, &held.owner, lasts)).await {
                Answer::Given(true) | Answer::Lost => break,
                Answer::Away => {
                    held.is_asked = false;
                    break;
                }
                Answer::Given(false) => {
                    held.is_asked = false;
                    sleep(POLL.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
                    held.is_asked = true;
                }
            }
        }
        Some(Turn::holding(held))
    }

    /// Waits until a login of this process is no longer on its way, or until one elsewhere may be so.
    pub(super) fn settled(&self) -> Notified<'_> {
        self.throttle.settled()
    }

    /// Asks the engine, unless it did not answer lately.
    async fn ask<T>(&self, asking: impl Future<Output = Result<T, EngineError>>) -> Answer<T> {
        if !self.engine.is_up() || !self.breaker.may_ask() {
            return Answer::Away;
        }
        let too_late = |_| Err(EngineError::NoAnswer(String::from("it takes too long for a login")));
        match timeout(LONGEST_ANSWER, asking).await.unwrap_or_else(too_late) {
            Ok(answer) => {
                self.breaker.answered();
                Answer::Given(answer)
            }
            Err(error) => {
                debug!(%error, "a login goes on without the engine");
                self.breaker.failed(&error);
                if let EngineError::NoAnswer(_) = error { Answer::Lost } else { Answer::Away }
            }
        }
    }

    /// Returns the counts of a login: that of its user name from its site, then that of its site.
    fn buckets(&self, name: &LoginName) -> Vec<Bucket> {
        let (issuer, username) = name.key();
        let (per_name, per_address) = self.throttle.rates();
        let site = name.site().map(|site| site.to_string()).unwrap_or_default();
        let bucket = |parts: &[&[u8]], Rate { leak, most }| {
            let name = self.keys.names("t", parts).first().copied()?;
            Some(Bucket { name, leak, most })
        };
        let of_name = bucket(&[issuer.as_bytes(), username.as_bytes(), site.as_bytes()], per_name);
        let of_address = name.site().and_then(|_| bucket(&[site.as_bytes()], per_address));
        of_name.into_iter().chain(of_address).collect()
    }

    /// Returns the number of replicas among which the limits are divided.
    fn share(&self) -> u32 {
        u32::try_from(self.replicas.load(Ordering::Relaxed)).unwrap_or(u32::MAX).max(1)
    }

    fn remember(&self, name: &LoginName, wait: Duration) {
        let (mut refusals, now) = (self.refusals(), Instant::now());
        if refusals.len() >= MAX_REFUSALS {
            refusals.retain(|_, until| now < *until);
        }
        if refusals.len() < MAX_REFUSALS {
            refusals.insert(name.clone(), now + wait);
        }
    }

    fn refusals(&self) -> MutexGuard<'_, HashMap<LoginName, Instant>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait in a moment, because the ends of logins at other replicas are not known here.
    fn tell_soon(self: &Arc<Self>) {
        if !self.will_tell.swap(true, Ordering::AcqRel) {
            let logins = Arc::clone(self);
            spawn(async move {
                sleep(ASK_AGAIN).await;
                logins.will_tell.store(false, Ordering::Release);
                logins.throttle.tell_settled();
            });
        }
    }
}

/// Spawns a task, unless the process ends.
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn(task));
    }
}

/// A place in the counts of this replica and of the engine.
#[derive(Debug)]
struct Place {
    logins: Arc<FleetLogins>,
    local: Option<Reservation>,
    /// The counts of the engine. Empty if the engine has not been asked.
    buckets: Vec<Bucket>,
}

impl Place {
    /// Ends the place. The engine is told first, so that those who are then told here ask it in vain less often.
    fn settle(&mut self, settled: Settled) {
        let (logins, local) = (Arc::clone(&self.logins), self.local.take());
        let buckets = std::mem::take(&mut self.buckets);
        if local.is_none() && buckets.is_empty() {
            return;
        }
        spawn(async move {
            if !buckets.is_empty() {
                logins.ask(logins.engine.settle(&buckets, settled)).await;
            }
            match (local, settled) {
                (Some(local), Settled::Failed) => local.failed(),
                (Some(local), Settled::Succeeded) => local.succeeded(),
                (local, _) => drop(local),
            }
        });
    }
}

impl LoginReservation for Place {
    fn failed(mut self: Box<Self>) {
        self.settle(Settled::Failed);
    }

    fn succeeded(mut self: Box<Self>) {
        self.settle(Settled::Succeeded);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.settle(Settled::Unknown);
    }
}

/// A turn in the queue of this process and in the engine.
#[derive(Debug)]
struct HeldTurn {
    logins: Arc<FleetLogins>,
    name: Name,
    owner: String,
    /// The engine may have granted the turn.
    is_asked: bool,
    local: Option<Turn>,
}

impl Drop for HeldTurn {
    fn drop(&mut self) {
        let (logins, name, owner) = (Arc::clone(&self.logins), self.name, std::mem::take(&mut self.owner));
        let (is_asked, local) = (self.is_asked, self.local.take());
        spawn(async move {
            // The next login of this process gets its turn afterwards, so it need not wait for the engine's.
            if is_asked {
                logins.ask(logins.engine.give_turn(&name, &owner)).await;
            }
            drop(local);
        });
    }
}

#[cfg(test)]
mod tests;
