//! The time until which JWTs of a provider may be about: what revokes a session or a subject must not be forgotten before.
//!
//! Whoever revokes does not know the JWTs: there may be several, some of them never seen here. So the lifetimes of the JWTs
//! that a provider gives are noted.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::access::numbers::ProviderNumber;

/// The most that one JWT tells of the others, in seconds: 400 days, as long as revocations can be set to be kept. One that is
/// good for longer is remembered itself once it is refused.
const MOST: u64 = 400 * 86_400;

/// The lifetimes of the providers' JWTs.
#[derive(Debug, Default)]
pub(super) struct Horizons(Mutex<HashMap<ProviderNumber, Horizon>>);

#[derive(Debug, Default, Clone, Copy)]
struct Horizon {
    /// The latest time (Unix seconds) from which none that was seen can be used.
    latest: u64,
    /// The longest time for which one can be used, in seconds: those that were not seen are alike.
    longest: u64,
}

impl Horizons {
    /// A JWT was verified that can be used until then.
    pub(super) fn see(&self, provider: ProviderNumber, issued_at: Option<u64>, usable_until: u64, now: u64) {
        let usable_until = usable_until.min(now.saturating_add(MOST));
        let life = usable_until.saturating_sub(issued_at.unwrap_or(now).min(now));
        let mut horizons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let horizon = horizons.entry(provider).or_default();
        horizon.latest = horizon.latest.max(usable_until);
        horizon.longest = horizon.longest.max(life.min(MOST));
    }

    /// Returns the time from which no JWT that the provider has given until `now` can be used any more.
    pub(super) fn of(&self, provider: ProviderNumber, now: u64) -> u64 {
        let horizons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let horizon = horizons.get(&provider).copied().unwrap_or_default();
        horizon.latest.max(now.saturating_add(horizon.longest))
    }
}
