//! How messages show values and names, and which name a misspelt one may have meant.

/// A value in backticks: cut where it is long, escaped where it would garble a terminal.
pub(super) fn quote(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.is_empty() {
        return String::from("`\"\"`");
    }
    let shown: String = text.chars().take(SHOWN).collect();
    let rest = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("`{}{rest}`", escaped(shown))
}

/// `text` without what would garble a terminal: control characters as in Rust's string literals.
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

/// Names in backticks, separated by commas.
pub(super) fn list<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// The name that `word` most likely stands for.
pub(super) fn nearest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let allowed = 1 + word.chars().count() / 4;
    names
        .iter()
        .map(|name| (distance(&word, name), *name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein's: the least number of inserted, deleted or replaced characters.
fn distance(left: &str, right: &str) -> usize {
    // A key of kilobytes is no typing error, and the comparison would take quadratic time.
    const LONGEST: usize = 64;
    let left: Vec<char> = left.chars().take(LONGEST).collect();
    let mut row: Vec<usize> = (0..=left.len()).collect();
    for (index, there) in right.chars().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        for (cell, here) in row.iter_mut().skip(1).zip(&left) {
            // `before` is the cell to the left, `*cell` still the one above.
            let best = (diagonal + usize::from(*here != there)).min(before + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, best);
            before = best;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("upstream", "upstreams", 1),
            ("kitten", "sitting", 3),
            ("hosts", "host", 1),
        ] {
            assert_eq!(distance(left, right), expected, "{left} and {right}");
        }
    }

    #[test]
    fn the_nearest_name_is_offered_only_where_it_is_near() {
        let names = ["hosts", "upstreams", "client_secret"];
        assert_eq!(nearest("host", &names), Some("hosts"));
        assert_eq!(nearest("client-secret", &names), Some("client_secret"));
        assert_eq!(nearest("Upstream", &names), Some("upstreams"));
        assert_eq!(nearest("password", &names), None);
    }

    #[test]
    fn values_are_shown_short_and_harmless() {
        assert_eq!(quote("a\u{1b}[31m\n"), "`a\\u{1b}[31m\\n`");
        assert_eq!(quote(""), "`\"\"`");
        assert_eq!(quote(&"x".repeat(90)), format!("`{}…`", "x".repeat(80)));
    }
}
