//! The difference between our clock and the provider's.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

/// A difference of this size means nothing, because `Date` has whole seconds and an answer takes time to arrive.
pub(super) const NOISE: Duration = Duration::from_secs(2);

/// The difference between the provider's clock and ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Skew {
    theirs: u64,
    ours: u64,
}

impl Skew {
    /// Makes the difference of two times in seconds since the Unix epoch.
    pub(super) fn new(theirs: u64, ours: u64) -> Self {
        Self { theirs, ours }
    }

    /// Makes the difference from a `Date` header. Returns `None` if the text is not a date.
    pub(super) fn of_date(date: &str, ours: u64) -> Option<Self> {
        let theirs = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self::new(theirs.as_secs(), ours))
    }

    /// Returns true if the difference is more than `tolerated`.
    pub(super) fn exceeds(self, tolerated: Duration) -> bool {
        Duration::from_secs(self.theirs.abs_diff(self.ours)) > tolerated
    }

    /// Returns true if the provider's clock is ahead.
    pub(super) fn is_ahead(self) -> bool {
        self.theirs > self.ours
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let apart = self.theirs.abs_diff(self.ours);
        let span = match apart {
            0..=599 => format!("{apart} s"),
            600..=35_999 => format!("{apart} s ({} min)", apart / 60),
            36_000..=864_000 => format!("{apart} s ({} h)", apart / 3600),
            _ => format!("{apart} s ({} days)", apart / 86_400),
        };
        let way = if self.is_ahead() { "ahead of" } else { "behind" };
        match apart {
            0 => formatter.write_str("the provider's shows the same second as ours"),
            _ => write!(formatter, "the provider's is {span} {way} ours"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_count() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let skew = |now| Skew::of_date(date, now).unwrap();
        let leeway = Duration::from_secs(5);
        for (now, exceeds, said) in [
            (784_111_777, false, "the provider's shows the same second as ours"),
            (784_111_775, false, "the provider's is 2 s ahead of ours"),
            (784_111_777 + 7, false, "the provider's is 7 s behind ours"),
            (784_111_777 + 8, true, "the provider's is 8 s behind ours"),
            (784_111_777 - 8, true, "the provider's is 8 s ahead of ours"),
            (784_111_777 + 3600, true, "the provider's is 3600 s (60 min) behind ours"),
            (784_111_777 - 7200, true, "the provider's is 7200 s (120 min) ahead of ours"),
            (784_111_777 + 86_400, true, "the provider's is 86400 s (24 h) behind ours"),
            (0, true, "the provider's is 784111777 s (9075 days) ahead of ours"),
        ] {
            assert_eq!((skew(now).exceeds(leeway + NOISE), skew(now).to_string().as_str()), (exceeds, said));
        }
        assert_eq!(Skew::of_date("yesterday", 784_111_777), None);
    }
}
