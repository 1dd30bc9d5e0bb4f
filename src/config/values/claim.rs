//! Claim paths: `"email"`, `"realm_access.roles"`, or an array of segments where a name has dots.

use super::super::model::ClaimPath;
use super::super::reader::Item;
use super::super::spelling::quote;
use super::super::tree::Value;

const HINT: &str = "write the names from the outermost inwards, such as `\"realm_access.roles\"`, \
                    or a list of them where a name has dots";
const DEEPEST: usize = 8;

/// A path in which the word `roles` means the list that `roles_claim` finds.
pub(in crate::config) fn claim_path(item: &Item<'_>) -> Option<ClaimPath> {
    let path = literal_claim_path(item)?;
    Some(match path {
        ClaimPath::Segments(segments) if segments == ["roles"] => ClaimPath::Roles,
        path => path,
    })
}

/// A path in which every word stands for itself.
pub(in crate::config) fn literal_claim_path(item: &Item<'_>) -> Option<ClaimPath> {
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
    Some(ClaimPath::Segments(segments))
}

fn segments(item: &Item<'_>) -> Option<Vec<String>> {
    item.list(HINT)?.iter().map(|segment| segment.text("a string", HINT).map(str::to_owned)).collect()
}
