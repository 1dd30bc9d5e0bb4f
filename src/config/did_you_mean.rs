//! Finds the name that the user may have meant.

/// Returns the name that is nearest to `word`, if one is near enough.
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

/// Returns the least number of characters to insert, delete or replace.
fn distance(left: &str, right: &str) -> usize {
    // A key of kilobytes is not a typing error, and the comparison would take quadratic time.
    const LONGEST: usize = 64;
    let left: String = left.chars().take(LONGEST).collect();
    strsim::levenshtein(&left, right)
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
