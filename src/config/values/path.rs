//! Paths: of the gateway's own endpoints, of routes, of health checks. They are written decoded, as routes see them.

use super::super::model::RoutePath;
use super::super::reader::Item;
use super::super::spelling::quote;

/// The exact path of one of the gateway's own endpoints.
pub(in crate::config) fn endpoint_path(item: &Item<'_>) -> Option<String> {
    let path = exact_path(item)?;
    if path == "/" {
        return item.fault(
            "`/` would take the app's own start page",
            "write a path of its own, such as `\"/api/login\"`",
        );
    }
    Some(path)
}

/// A path without `*`.
pub(in crate::config) fn exact_path(item: &Item<'_>) -> Option<String> {
    let text = item.text("a path", "write a path such as `\"/api/login\"`")?;
    if text.contains('*') {
        return item.fault(
            format!("{} has a `*`, but only routes may have one", quote(text)),
            "write the whole path, such as `\"/api/login\"`",
        );
    }
    checked(item, text)
}

/// An exact path, or a prefix that ends with `/*`.
pub(in crate::config) fn route_path(item: &Item<'_>) -> Option<RoutePath> {
    let text =
        item.text("a path", "write an exact path such as `\"/\"`, or a prefix such as `\"/assets/*\"`")?;
    let (path, is_prefix) = match text.strip_suffix("/*") {
        Some(prefix) => (prefix, true),
        None => (text, false),
    };
    if path.contains('*') {
        return item.fault(
            format!("{} has a `*` that is not its last segment", quote(text)),
            "end a prefix with `/*`, as in `\"/assets/*\"`; there are no other patterns",
        );
    }
    if is_prefix && path.is_empty() {
        return Some(RoutePath::Prefix(String::new()));
    }
    let path = checked(item, path)?;
    if is_prefix && path.ends_with('/') {
        return item
            .fault(format!("{} has an empty segment", quote(text)), "write `/` once between segments");
    }
    Some(if is_prefix { RoutePath::Prefix(path) } else { RoutePath::Exact(path) })
}

fn checked(item: &Item<'_>, text: &str) -> Option<String> {
    match refused(text) {
        None => Some(text.to_owned()),
        Some((wrong, hint)) => item.fault(format!("{} {wrong}", quote(text)), hint),
    }
}

/// Why no request can ever have this (decoded) path: requests with it are answered 400.
fn refused(path: &str) -> Option<(&'static str, &'static str)> {
    const NEVER: &str = "write it without; requests with it are refused before any route is looked at";
    if !path.starts_with('/') {
        return Some((
            "does not start with `/`",
            "write the path from its leading `/`, without scheme and host",
        ));
    }
    if path.contains(['?', '#']) {
        return Some(("has a query or a fragment", "write the path alone; nothing else is ever matched"));
    }
    if path.contains("//") {
        return Some(("has an empty segment", "write `/` once between segments"));
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Some(("has a dot segment", NEVER));
    }
    if path.contains([';', '\\']) || path.chars().any(char::is_control) {
        return Some(("has a `;`, a backslash or a control character", NEVER));
    }
    if path.split('%').skip(1).any(|rest| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2) {
        return Some((
            "is percent-encoded",
            "write it decoded, as in `\"/café\"`; encoded requests match it",
        ));
    }
    if path.len() > 2048 {
        return Some(("is longer than 2048 bytes", "write a shorter path"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_requests_can_have() {
        for path in ["/", "/a", "/a/", "/a.b/c-d_e~f", "/a b", "/café", "/...", "/100%", "/%zz", "/a:b@c"] {
            assert_eq!(refused(path), None, "{path}");
        }
    }

    #[test]
    fn paths_that_no_request_can_have() {
        for path in [
            "",
            "a",
            "http://a/b",
            "//",
            "/a//b",
            "/.",
            "/a/../b",
            "/a/..",
            "/a;b",
            "/a\\b",
            "/a\0",
            "/a\n",
            "/a?b",
            "/a#b",
            "/%41",
            "/a%2fb",
            "/100%25",
        ] {
            assert!(refused(path).is_some(), "{path}");
        }
    }
}
