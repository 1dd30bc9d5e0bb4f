//! Formats values and names of the file for messages.

/// Returns a value in backticks. Long values are cut, and characters that would garble a terminal are escaped.
pub(super) fn quote(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.is_empty() {
        return String::from("`\"\"`");
    }
    let shown: String = text.chars().take(SHOWN).collect();
    let rest = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("`{}{rest}`", escaped(shown))
}

/// Returns `text` without characters that would garble a terminal. Control characters are written as in Rust's string
/// literals.
pub(super) fn escaped(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Returns names in backticks, separated by commas.
pub(super) fn list<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_short_and_harmless() {
        assert_eq!(quote("a\u{1b}[31m\n"), "`a\\u{1b}[31m\\n`");
        assert_eq!(quote(""), "`\"\"`");
        assert_eq!(quote(&"x".repeat(90)), format!("`{}…`", "x".repeat(80)));
    }
}
