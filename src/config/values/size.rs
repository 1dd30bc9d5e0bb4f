//! Sizes: `"256B"`, `"16KiB"`, `"1MiB"`, `"1GiB"`.

use crate::config::quoting::quote;
use crate::config::reader::Item;

const HINT: &str = "write a whole number with `B`, `KiB`, `MiB` or `GiB`, such as `\"16KiB\"`";

/// Reads a number of bytes within bounds. The bounds are written like sizes in the file.
pub(crate) fn size(item: &Item<'_>, least: &str, most: &str) -> Option<u64> {
    let text = item.text("a size", HINT)?;
    let Some(size) = parse(text) else {
        return item.fault(format!("{} is not a size", quote(text)), HINT);
    };
    if !(parse(least)?..=parse(most)?).contains(&size) {
        return item.fault(
            format!("{} is out of bounds", quote(text)),
            format!("write a size from `{least}` to `{most}`"),
        );
    }
    Some(size)
}

fn parse(text: &str) -> Option<u64> {
    let unit = text.trim_start_matches(|character: char| character.is_ascii_digit());
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let factor = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0B", 0), ("256B", 256), ("16KiB", 16_384), ("1MiB", 1_048_576), ("2GiB", 2 << 30)]
        {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn everything_else_is_none() {
        for text in [
            "",
            "16",
            "KiB",
            "16KB",
            "16kib",
            "16 KiB",
            "-1B",
            "+1B",
            "1.5KiB",
            "16K",
            "99999999999999999999B",
            "99999999999999GiB",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
