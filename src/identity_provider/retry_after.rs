//! `Retry-After` (RFC 9110 section 10.2.3): a provider's time to wait, in seconds or as a date, within bounds.

use std::time::UNIX_EPOCH;

use crate::identity_provider::provider_answer::Answer;

/// The longest time that a client is told to wait, in seconds.
const LONGEST: u64 = 3600;

/// The time at which a provider wants to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter(When);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// After this number of seconds.
    In(u64),
    /// At this time, in Unix seconds.
    At(u64),
}

impl RetryAfter {
    /// Reads the header of an answer, if it is well-formed. If the answer has a `Date`, a date in the header is
    /// compared with that, because the provider's clock may differ from ours.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        let text = answer.retry_after.as_deref()?.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            // A number that does not fit is a very large one.
            return Some(Self(When::In(text.parse().unwrap_or(u64::MAX))));
        }
        let at = unix_seconds(text)?;
        let since = answer.date.as_deref().and_then(unix_seconds);
        Some(Self(since.map_or(When::At(at), |since| When::In(at.saturating_sub(since)))))
    }

    /// Returns the seconds from `now` (Unix seconds): at least one, at most an hour.
    pub fn seconds(self, now: u64) -> u64 {
        let seconds = match self.0 {
            When::In(seconds) => seconds,
            When::At(at) => at.saturating_sub(now),
        };
        seconds.clamp(1, LONGEST)
    }
}

fn unix_seconds(date: &str) -> Option<u64> {
    let since = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 784_111_777;
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:50:07 GMT";

    fn seconds(retry_after: &str, date: Option<&str>, now: u64) -> Option<u64> {
        let (retry_after, date) = (Some(retry_after.to_owned()), date.map(str::to_owned));
        let answer = Answer { date, retry_after, ..Answer::default() };
        RetryAfter::of(&answer).map(|retry_after| retry_after.seconds(now))
    }

    #[test]
    fn both_forms_within_bounds() {
        for (retry_after, date, now, expected) in [
            ("17", None, NOW, Some(17)),
            (" 17 ", None, NOW, Some(17)),
            ("0", None, NOW, Some(1)),
            ("86400", None, NOW, Some(3600)),
            ("99999999999999999999999999", None, NOW, Some(3600)),
            (LATER, None, NOW, Some(30)),
            (LATER, Some(DATE), NOW + 5000, Some(30)),
            (LATER, Some("yesterday"), NOW, Some(30)),
            (DATE, None, NOW + 9, Some(1)),
            (DATE, Some(LATER), NOW, Some(1)),
            ("Sunday, 06-Nov-94 08:50:07 GMT", None, NOW, Some(30)),
            ("Sun Nov  6 08:50:07 1994", None, NOW, Some(30)),
            ("", None, NOW, None),
            ("soon", None, NOW, None),
            ("-5", None, NOW, None),
            ("1.5", None, NOW, None),
        ] {
            assert_eq!(seconds(retry_after, date, now), expected, "{retry_after:?} {date:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_it_says_the_wait_is_bounded(text in ".{0,40}", date in proptest::option::of(".{0,40}"), now: u64) {
            if let Some(seconds) = seconds(&text, date.as_deref(), now) {
                prop_assert!((1..=LONGEST).contains(&seconds));
            }
        }
    }
}
