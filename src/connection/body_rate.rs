//! How fast a body must come in.

use std::time::Duration;

use tokio::time::Instant;

/// The rate is averaged over this much waiting.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts a body's bytes against the time spent waiting for them. Time in which nobody asked for the body, because
/// the app takes it slowly, does not count against the client.
#[derive(Debug)]
pub(crate) struct BodyRate {
    /// Bytes that a window needs.
    needed: u64,
    bytes: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl BodyRate {
    /// `min_rate` is in bytes per second.
    pub(crate) const fn new(min_rate: u64) -> Self {
        Self {
            needed: min_rate.saturating_mul(WINDOW.as_secs()),
            bytes: 0,
            waited: Duration::ZERO,
            waiting_since: None,
        }
    }

    /// The waiting is over, `bytes` came.
    pub(crate) fn add(&mut self, bytes: u64, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Waits from `now` on: when to look again, or nothing when the body was too slow.
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        if let Some(since) = self.waiting_since.replace(now) {
            self.waited += now.saturating_duration_since(since);
        }
        if self.waited >= WINDOW {
            if self.bytes < self.needed {
                return None;
            }
            self.waited = Duration::ZERO;
            self.bytes = 0;
        }
        Some(now + WINDOW.saturating_sub(self.waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waiting_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut rate = BodyRate::new(10);
        assert_eq!(rate.deadline(at(0)), Some(at(10)));
        rate.add(50, at(4));
        // For 100 s the app took nothing.
        assert_eq!(rate.deadline(at(104)), Some(at(110)));
        rate.add(50, at(109));
        assert_eq!(rate.deadline(at(109)), Some(at(110)));
        assert_eq!(rate.deadline(at(110)), Some(at(120)), "100 bytes in 10 s suffice");
        rate.add(99, at(111));
        assert_eq!(rate.deadline(at(111)), Some(at(120)));
        assert_eq!(rate.deadline(at(120)), None, "99 do not");
    }
}
