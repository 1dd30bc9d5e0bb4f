//! Durations: `"30s"`, `"500ms"`, `"15m"`, `"2h"`, `"30d"`.

use std::time::Duration;

use crate::config::quoting::quote;
use crate::config::reader::Item;
use crate::config::toml_tree::Value;

const HINT: &str = "write a whole number with `ms`, `s`, `m`, `h` or `d`, such as `\"30s\"`";

/// Reads a duration within bounds. If it is below the least one, the message has the reason.
pub(crate) fn duration_with_reason(
    item: &Item<'_>,
    least: &str,
    most: &str,
    reason: &str,
) -> Option<Duration> {
    if let Value::Text(text) = item.value()
        && parse(text).zip(parse(least)).is_some_and(|(duration, least)| duration < least)
    {
        let hint = format!("write a duration from `{least}` to `{most}`");
        return item.fault(format!("{} is too short: {reason}", quote(text)), hint);
    }
    duration(item, least, most)
}

/// Reads a duration within bounds. The bounds are written like durations in the file.
pub(crate) fn duration(item: &Item<'_>, least: &str, most: &str) -> Option<Duration> {
    let text = item.text("a duration", HINT)?;
    let Some(duration) = parse(text) else {
        return item.fault(format!("{} is not a duration", quote(text)), HINT);
    };
    let bounds = parse(least)?..=parse(most)?;
    if !bounds.contains(&duration) {
        return item.fault(
            format!("{} is out of bounds", quote(text)),
            format!("write a duration from `{least}` to `{most}`"),
        );
    }
    Some(duration)
}

/// Returns a duration as the file could have it.
pub(crate) fn shown(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

fn parse(text: &str) -> Option<Duration> {
    let unit = text.trim_start_matches(|character: char| character.is_ascii_digit());
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("500ms", 500),
            ("0s", 0),
            ("30s", 30_000),
            ("15m", 900_000),
            ("2h", 7_200_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_as_they_are_written() {
        for text in ["0s", "90s", "1500ms", "10ms"] {
            assert_eq!(parse(text).map(shown).as_deref(), Some(text));
        }
    }

    #[test]
    fn everything_else_is_none() {
        for text in [
            "",
            "30",
            "s",
            "30 s",
            " 30s",
            "30S",
            "-1s",
            "+1s",
            "1.5s",
            "1h30m",
            "30sec",
            "1w",
            "１s",
            "99999999999999999999s",
            "999999999999999999d",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
