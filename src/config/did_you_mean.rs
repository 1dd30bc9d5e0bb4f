//! The name that a misspelt one may have meant.

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
}
