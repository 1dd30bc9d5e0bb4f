//! Formats numbers and times for people.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

/// Formats a count, with a comma between thousands. Counters are floating point numbers in Prometheus.
pub(super) fn count(value: f64) -> String {
    grouped(&format!("{value:.0}"))
}

/// Formats a whole number, with a comma between thousands.
pub(super) fn whole(value: impl Display) -> String {
    grouped(&value.to_string())
}

fn grouped(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a rate with about three digits.
pub(super) fn decimal(value: f64) -> String {
    match value {
        value if value <= 0.0 => String::from("0"),
        value if value < 0.01 => String::from("<0.01"),
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => count(value),
    }
}

/// Formats a value of a rate with its unit. Below one second it uses milliseconds.
pub(super) fn measure(value: f64, unit: &str) -> String {
    match unit {
        "s" if value < 1.0 => format!("{} ms", decimal(value * 1000.0)),
        "s" => format!("{} s", decimal(value)),
        unit => format!("{}{unit}", decimal(value)),
    }
}

/// Formats an amount of memory in the largest unit that fits.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn bytes(value: u64) -> String {
    match value {
        0..0x400 => format!("{value} B"),
        0x400..0x10_0000 => format!("{} KiB", decimal(value as f64 / 1024.0)),
        0x10_0000..0x4000_0000 => format!("{} MiB", decimal(value as f64 / 1_048_576.0)),
        _ => format!("{} GiB", decimal(value as f64 / 1_073_741_824.0)),
    }
}

/// Formats a duration by its two largest units.
pub(super) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Formats the time from `then` until `now`.
pub(super) fn ago(now: u64, then: u64) -> String {
    format!("{} ago", duration(now.saturating_sub(then)))
}

/// Formats a number of days, or of hours if there are less than two days.
pub(super) fn days(seconds: i64) -> String {
    match (seconds / 86_400, seconds / 3600) {
        _ if seconds < 0 => String::from("none"),
        (0 | 1, 1) => String::from("1 hour"),
        (0 | 1, hours) => format!("{hours} hours"),
        (days, _) => format!("{days} days"),
    }
}

/// Formats a time in Unix seconds as a date and time (RFC 9110 section 5.6.7).
pub(super) fn moment(seconds: u64) -> String {
    // The format cannot express a time after the year 9999.
    let last = 253_402_300_799;
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(last)))
}

/// Joins names to a list.
pub(super) fn list(names: &[String]) -> String {
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(0.0, "0"), (7.0, "7"), (999.0, "999"), (1000.0, "1,000"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(count(value), text);
        }
        for (value, text) in
            [(0.0, "0"), (0.004, "<0.01"), (0.5, "0.50"), (9.999, "10.0"), (12.34, "12.3"), (1234.5, "1,234")]
        {
            assert_eq!(decimal(value), text);
        }
        for (value, text) in [(0, "0 B"), (1023, "1023 B"), (3584, "3.50 KiB"), (67_108_864, "64.0 MiB")] {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(bytes(3 << 30), "3.00 GiB");
        assert_eq!(measure(0.0124, "s"), "12.4 ms");
        assert_eq!(measure(2.5, "s"), "2.50 s");
        assert_eq!(measure(2.5, "/s"), "2.50/s");
    }

    #[test]
    fn times_have_two_units() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_660, "1 h 1 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(ago(100, 40), "1 min ago");
        assert_eq!(ago(40, 100), "0 s ago", "a clock that was put back");
        assert_eq!(days(30 * 86_400), "30 days");
        assert_eq!(days(86_400), "24 hours");
        assert_eq!(days(3_700), "1 hour");
        assert_eq!(moment(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(moment(u64::MAX).ends_with("9999 23:59:59 GMT"));
    }
}
