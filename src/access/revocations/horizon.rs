//! The time until which JWTs of a provider may be in use. The revocation of a session or a subject must be kept until
//! then.
//!
//! A revocation does not say which JWTs it concerns. There may be several, and Portcullis may never have seen some of
//! them. So Portcullis notes how long the JWTs of each provider live.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::access::numbers::ProviderNumber;

/// The longest lifetime that is noted, in seconds: 400 days, the longest time for which revocations can be configured
/// to be kept. If a JWT lives longer and is refused, it is remembered itself.
const MOST: u64 = 400 * 86_400;

/// The lifetimes of the providers' JWTs.
#[derive(Debug, Default)]
pub(super) struct Horizons(Mutex<HashMap<ProviderNumber, Horizon>>);

#[derive(Debug, Default, Clone, Copy)]
struct Horizon {
    /// The time (Unix seconds) from which no JWT that was seen can be used any more.
    latest: u64,
    /// The longest lifetime of a JWT that was seen, in seconds. Unseen JWTs are assumed to live as long.
    longest: u64,
}

impl Horizons {
    /// Notes a verified JWT that can be used until `usable_until`.
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
