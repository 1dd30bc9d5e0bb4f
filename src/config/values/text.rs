//! Plain texts, words from a list, and names of tables.

use crate::config::quoting::{list, quote};
use crate::config::reader::{Item, Section};

/// Reads a text of 1 to 255 bytes without control characters.
pub(crate) fn plain_text(item: &Item<'_>) -> Option<String> {
    const HINT: &str = "write 1 to 255 bytes without control characters";
    let text = item.text("a string", "write it in quotes")?;
    if text.is_empty() {
        return item.fault("the string is empty", HINT);
    }
    if text.len() > 255 || text.chars().any(char::is_control) {
        return item.fault(format!("{} is too long or has control characters", quote(text)), HINT);
    }
    Some(text.to_owned())
}

/// Reads one of several words.
pub(crate) fn word<T: Copy>(item: &Item<'_>, words: &[(&str, T)]) -> Option<T> {
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let hint = format!("write one of {}", list(&names));
    let text = item.text("a string", &hint)?;
    match words.iter().find(|(name, _)| *name == text) {
        Some((_, value)) => Some(*value),
        None => item.fault(format!("{} is not known here", quote(text)), hint),
    }
}

/// Reports a table's name that cannot be used unchanged in logs, metrics and messages.
pub(crate) fn is_table_name(name: &str, section: &Section<'_>) {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_plain || !(1..=63).contains(&name.len()) {
        let _: Option<()> = section.fault_here(
            format!("{} is not a usable name", quote(name)),
            "write 1 to 63 letters, digits, `-` or `_`",
        );
    }
}
