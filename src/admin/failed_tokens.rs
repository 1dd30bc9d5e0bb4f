//! Wrong admin tokens are counted for each address, so that the token is not guessed by the million. Counts leak away, and
//! only whoever guesses waits. The table is bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Wrong ones from one address at once.
const AT_ONCE: u32 = 10;

/// Time in which one is forgotten.
const LEAK: Duration = Duration::from_secs(30);

/// Addresses that are remembered. Beyond it the one goes that would be forgotten first: a crowd of them guesses no faster for it than it
/// has addresses, and keeps nobody else out.
const MAX_ADDRESSES: usize = 4096;

/// Who has guessed wrong, and when that is forgotten: leaky buckets. Of IPv6, too, each address is one: whole networks for
/// administration have one /64.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<HashMap<IpAddr, Instant>>);

impl Guesses {
    /// Whether an address shows the right thing; `Err`: it has to wait so long before that is looked at. Looking and counting
    /// are one: guesses that come at once are as many as those that come one by one.
    pub(super) fn check(
        &self,
        address: Option<IpAddr>,
        is_right: impl FnOnce() -> bool,
    ) -> Result<bool, Duration> {
        // All whose address is not known are one.
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
        // A right one is no pardon: a guesser beside whoever knows it would have no bounds.
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
