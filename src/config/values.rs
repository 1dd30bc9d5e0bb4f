//! The types of values that `gateway.toml` writes as strings.

pub(super) mod claim;
pub(super) mod cookie_name;
pub(super) mod duration;
pub(super) mod host;
pub(super) mod network;
pub(super) mod path;
pub(super) mod size;
pub(super) mod url;

use super::reader::{Item, Section};
use super::spelling;

/// A text without control characters, of at most 255 bytes, not empty.
pub(super) fn plain_text(item: &Item<'_>) -> Option<String> {
    const HINT: &str = "write 1 to 255 bytes without control characters";
    let text = item.text("a string", "write it in quotes")?;
    if text.is_empty() {
        return item.fault("the string is empty", HINT);
    }
    if text.len() > 255 || text.chars().any(char::is_control) {
        return item.fault(format!("{} is too long or has control characters", spelling::quote(text)), HINT);
    }
    Some(text.to_owned())
}

/// One of some words.
pub(super) fn word<T: Copy>(item: &Item<'_>, words: &[(&str, T)]) -> Option<T> {
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let hint = format!("write one of {}", spelling::list(&names));
    let text = item.text("a string", &hint)?;
    match words.iter().find(|(name, _)| *name == text) {
        Some((_, value)) => Some(*value),
        None => item.fault(format!("{} is not known here", spelling::quote(text)), hint),
    }
}

/// Whether a table's name, chosen by the user, can stand in logs, metrics and messages as it is; complains if not.
pub(super) fn is_table_name(name: &str, section: &Section<'_>) {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_plain || !(1..=63).contains(&name.len()) {
        let _: Option<()> = section.fault_here(
            format!("{} is not a usable name", spelling::quote(name)),
            "write 1 to 63 letters, digits, `-` or `_`",
        );
    }
}
