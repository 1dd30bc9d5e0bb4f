//! Makes texts from others fit for a log line: short, and with control characters and quotes escaped.

/// Escapes the first `most` characters.
pub(crate) fn escaped(text: &str, most: usize) -> String {
    text.chars().take(most).flat_map(char::escape_debug).collect()
}

/// Escapes the first `most` characters, and adds dots if there are more.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    let mut shown = escaped(text, most);
    if text.chars().nth(most).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_others_is_short_and_escaped() {
        for (text, most, short, dotted) in [
            ("plain", 5, "plain", "plain"),
            ("plain", 4, "plai", "plai..."),
            (
                "a\r\nlevel=error \u{1b}\"",
                99,
                "a\\r\\nlevel=error \\u{1b}\\\"",
                "a\\r\\nlevel=error \\u{1b}\\\"",
            ),
            ("äöü", 2, "äö", "äö..."),
        ] {
            assert_eq!((escaped(text, most).as_str(), shortened(text, most).as_str()), (short, dotted));
        }
    }
}
