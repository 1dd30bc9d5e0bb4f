//! Counts the wrong admin tokens of each address, so that nobody can guess the token by trying many. The counts
//! decrease with time, and only an address that sends wrong tokens has to wait. The size of the table is bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The number of wrong tokens that one address may send at once.
const AT_ONCE: u32 = 10;

/// The time after which one wrong token is forgotten.
const LEAK: Duration = Duration::from_secs(30);

/// The number of addresses that are remembered. If there are more, the address whose count would end first is
/// forgotten. So many addresses together guess no faster than their number allows, and they keep nobody else out.
const MAX_ADDRESSES: usize = 4096;

/// The addresses that sent wrong tokens, and the times when their counts end (leaky buckets). Each IPv6 address also
/// counts alone, because a whole network of administrators often shares one /64.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<HashMap<IpAddr, Instant>>);

impl Guesses {
    /// Returns whether an address shows the right token. `Err` is the time that the address has to wait before its
    /// token is compared. The comparison and the count happen under one lock, so that guesses at the same time all
    /// count.
    pub(super) fn check(
        &self,
        address: Option<IpAddr>,
        is_right: impl FnOnce() -> bool,
    ) -> Result<bool, Duration> {
        // All callers without a known address share one count.
        let address = address.map_or(IpAddr::from([0; 4]), |address| address.to_canonical());
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let level = table.get(&address).map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        if let Some(wait) = level.checked_sub(LEAK * (AT_ONCE - 1)).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        if is_right() {
            return Ok(true);
        }
        if table.len() >= MAX_ADDRESSES && !table.contains_key(&address) {
            make_room(&mut table, now);
        }
        table.insert(address, now + level + LEAK);
        Ok(false)
    }
}

fn make_room(table: &mut HashMap<IpAddr, Instant>, now: Instant) {
    table.retain(|_, empty_at| *empty_at > now);
    if table.len() >= MAX_ADDRESSES
        && let Some(first) = table.iter().min_by_key(|(_, empty_at)| **empty_at).map(|(address, _)| *address)
    {
        table.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_guesses_waits_and_nobody_else() {
        let guesses = Guesses::default();
        let (one, other) = (Some(at("192.0.2.1")), Some(at("192.0.2.2")));
        for number in 0..AT_ONCE {
            assert_eq!(guesses.check(one, || false), Ok(false), "{number}");
            advance(Duration::from_millis(1)).await;
        }
        let wait = guesses.check(one, || panic!("not looked at")).unwrap_err();
        assert!(wait <= LEAK, "{wait:?}");
        assert_eq!(guesses.check(Some(at("::ffff:192.0.2.1")), || true), Err(wait), "the same one");
        for _ in 0..1000 {
            assert_eq!(guesses.check(other, || true), Ok(true));
        }
        advance(wait.saturating_sub(Duration::from_millis(1))).await;
        assert!(guesses.check(one, || true).is_err());
        advance(Duration::from_millis(1)).await;
        // A right token does not reset the count. Otherwise an attacker at the same address as a rightful caller could
        // guess without a limit.
        assert_eq!(guesses.check(one, || true), Ok(true));
        assert_eq!(guesses.check(one, || false), Ok(false));
        assert!(guesses.check(one, || true).is_err());
        advance(LEAK * AT_ONCE).await;
        for _ in 0..AT_ONCE {
            assert_eq!(guesses.check(one, || false), Ok(false), "all is forgotten");
        }
        assert!(guesses.check(one, || true).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_fills_no_memory_and_keeps_nobody_out() {
        let guesses = Guesses::default();
        let stubborn = Some(at("192.0.2.1"));
        while guesses.check(stubborn, || false).is_ok() {}
        for number in 0..5_000_u128 {
            let one = Some(IpAddr::from(number.to_be_bytes()));
            assert_eq!(guesses.check(one, || false), Ok(false));
        }
        assert_eq!(guesses.0.lock().unwrap().len(), MAX_ADDRESSES);
        assert!(guesses.check(stubborn, || true).is_err(), "who guesses most is remembered longest");
        assert_eq!(guesses.check(Some(at("192.0.2.9")), || true), Ok(true));
        advance(LEAK * AT_ONCE).await;
        assert_eq!(guesses.check(Some(at("192.0.2.9")), || false), Ok(false));
        assert_eq!(guesses.0.lock().unwrap().len(), 1, "what has leaked away is gone");
    }
}
