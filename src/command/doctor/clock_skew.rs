//! How far our clock is from the provider's.

use std::time::{Duration, UNIX_EPOCH};

/// The part of a difference that says nothing: `Date` has whole seconds, and an answer travels.
const NOISE: Duration = Duration::from_secs(2);

/// The difference between `now` (seconds since the Unix epoch) and a `Date` header, less what is noise. `None` if the
/// header is no date.
pub(super) fn skew(date: &str, now: u64) -> Option<Duration> {
    let theirs = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(theirs.abs_diff(Duration::from_secs(now)).saturating_sub(NOISE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_count() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(skew(date, 784_111_777), Some(Duration::ZERO));
        assert_eq!(skew(date, 784_111_775), Some(Duration::ZERO));
        assert_eq!(skew(date, 784_111_777 + 62), Some(Duration::from_mins(1)));
        assert_eq!(skew(date, 784_111_777 - 62), Some(Duration::from_mins(1)));
        assert_eq!(skew("yesterday", 784_111_777), None);
    }
}
