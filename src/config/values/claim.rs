//! Claim paths: `"email"`, `"realm_access.roles"`, or a list of names if a name has dots.

use std::fmt;

use crate::config::quoting::quote;
use crate::config::reader::Item;
use crate::config::toml_tree::Value;

/// The place of a claim in the JWT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimPath {
    /// The word `roles`, which means the list that `roles_claim` finds.
    Roles,
    /// The names, from the outermost object to the innermost.
    Segments(Vec<String>),
}

impl fmt::Display for ClaimPath {
    /// Returns the full name of the path, which is also its name in the user object.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Roles => formatter.write_str("roles"),
            Self::Segments(segments) => formatter.write_str(&segments.join(".")),
        }
    }
}

const HINT: &str = "write the names from the outermost inwards, such as `\"realm_access.roles\"`, \
                    or a list of them where a name has dots";
const DEEPEST: usize = 8;

/// Reads a path in which the word `roles` means the list that `roles_claim` finds.
pub(crate) fn claim_path(item: &Item<'_>) -> Option<ClaimPath> {
    let path = literal_claim_path(item)?;
    Some(match path {
        ClaimPath::Segments(segments) if segments == ["roles"] => ClaimPath::Roles,
        path => path,
    })
}

/// Reads a path in which no word has a special meaning.
pub(crate) fn literal_claim_path(item: &Item<'_>) -> Option<ClaimPath> {
    let segments = match item.value() {
        Value::Text(text) => text.split('.').map(str::to_owned).collect(),
        Value::List(_) => segments(item)?,
        _ => return item.wrong_type("a claim path", HINT),
    };
    let shown = segments.join(".");
    if segments.is_empty() || segments.iter().any(String::is_empty) {
        return item.fault(format!("{} has an empty name in it", quote(&shown)), HINT);
    }
    if segments.len() > DEEPEST || shown.len() > 255 || shown.chars().any(char::is_control) {
        return item.fault(
            format!("{} is no usable claim path", quote(&shown)),
            "write at most 8 names, 255 bytes in all, without control characters",
        );
    }
    if let Some((wrong, hint)) = other_notation(&segments, matches!(item.value(), Value::Text(_))) {
        item.warn(format!("{} {wrong}", quote(&shown)), hint);
    }
    Some(ClaimPath::Segments(segments))
}

/// Returns a message and a hint if the path is in another notation, such as JSONPath or JSON Pointer. Names of claims
/// do not look like that. Portcullis would never find the claim, and nobody would notice.
fn other_notation(segments: &[String], is_dotted: bool) -> Option<(String, &'static str)> {
    let first = segments.first()?;
    // `placeholder` warns about these in all values of the file.
    if segments.iter().any(|segment| segment.contains("${") || segment.contains("{{")) {
        return None;
    }
    let any = |wrong: &dyn Fn(&String) -> bool| segments.iter().find(|segment| wrong(segment));
    if is_dotted && first.contains("://") && segments.len() > 1 {
        return Some((
            String::from("is taken apart at the dots of its address, and never found"),
            "write a list with the whole name in it, such as `[\"https://example.com/roles\"]`",
        ));
    }
    let strange = ['$', '@', '[', ']', '{', '}', '"', '\'', '*', '`'];
    let is_notation =
        |segment: &String| segment.contains(strange) || segment.starts_with('/') || segment.trim() != segment;
    if let Some(segment) = any(&is_notation) {
        return Some((format!("has {}, which is taken as the name of a claim", quote(segment)), HINT));
    }
    let is_index = |segment: &String| segment.bytes().all(|byte| byte.is_ascii_digit());
    any(&is_index).filter(|_| segments.len() > 1).map(|segment| {
        let wrong = format!("has {}, which is taken as a name: elements of lists have none", quote(segment));
        (wrong, "name the list itself: all of its elements are taken")
    })
}

fn segments(item: &Item<'_>) -> Option<Vec<String>> {
    item.list(HINT)?.iter().map(|segment| segment.text("a string", HINT).map(str::to_owned)).collect()
}
