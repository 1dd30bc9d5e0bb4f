//! Paths of the gateway's endpoints, of routes and of health checks. Routes see decoded paths.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::config::quoting::quote;
use crate::config::reader::Item;
use crate::syntax::path;

/// The `path` of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutePath {
    /// The whole path.
    Exact(String),
    /// A prefix that ends at a segment boundary: `"/assets/*"` is the prefix `/assets`. `"/*"` is the empty prefix.
    Prefix(String),
}

impl fmt::Display for RoutePath {
    /// Writes the path as the file writes it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => formatter.write_str(path),
            Self::Prefix(prefix) => write!(formatter, "{prefix}/*"),
        }
    }
}

/// The largest size of a path, in bytes.
const LONGEST: usize = 2048;

/// Reads the exact path of one of the gateway's endpoints.
pub(crate) fn endpoint_path(item: &Item<'_>) -> Option<String> {
    let path = exact_path(item)?;
    if path == "/" {
        return item.fault(
            "`/` would take the app's own start page",
            "write a path of its own, such as `\"/api/login\"`",
        );
    }
    if encoded(&path) != path {
        return item.fault(
            format!(
                "{} has characters that browsers encode, but this path is compared as it is sent",
                quote(&path)
            ),
            "write ASCII letters, digits, `-`, `_`, `.` and `/`",
        );
    }
    Some(path)
}

/// Reads a path without `*`.
fn exact_path(item: &Item<'_>) -> Option<String> {
    let text = item.text("a path", "write a path such as `\"/api/login\"`")?;
    if text.contains('*') {
        return item.fault(
            format!("{} has a `*`, but only routes may have one", quote(text)),
            "write the whole path, such as `\"/api/login\"`",
        );
    }
    checked(item, text)
}

/// Returns true if the segment is a parameter in other routers: `{id}`, `:id`, `<id>`, `[id]`.
fn is_parameter(segment: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-:".contains(&byte))
    };
    segment.strip_prefix(':').is_some_and(is_name)
        || [('{', '}'), ('<', '>'), ('[', ']')].into_iter().any(|(open, close)| {
            segment.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).is_some_and(is_name)
        })
}

/// Reads an exact path, or a prefix that ends with `/*`.
pub(crate) fn route_path(item: &Item<'_>) -> Option<RoutePath> {
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
    if let Some(segment) = path.split('/').find(|segment| is_parameter(segment)) {
        item.warn(
            format!("{} stands for itself: there are no parameters in paths", quote(segment)),
            "end the path there with `/*`, which matches everything below",
        );
    }
    if is_prefix && path.ends_with('/') {
        return item
            .fault(format!("{} has an empty segment", quote(text)), "write `/` once between segments");
    }
    Some(if is_prefix { RoutePath::Prefix(path) } else { RoutePath::Exact(path) })
}

/// Reads the path of a request that is sent as written: percent-encoded, perhaps with a query.
pub(crate) fn request_path(item: &Item<'_>) -> Option<String> {
    const HINT: &str = "write it as a request has it, such as `\"/healthz\"`";
    let text = item.text("a path", HINT)?;
    let is_sendable =
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !is_sendable || text.len() > LONGEST {
        return item.fault(format!("{} is not the path of a request", quote(text)), HINT);
    }
    Some(text.to_owned())
}

fn checked(item: &Item<'_>, text: &str) -> Option<String> {
    match decoded(text) {
        Ok(path) => Some(path),
        Err((wrong, hint)) => item.fault(format!("{} {wrong}", quote(text)), hint),
    }
}

/// Returns the path as routes see it, or the reason why no request can have it. Characters that the file may write
/// without encoding are encoded first. So the rules for requests decide about every path.
fn decoded(text: &str) -> Result<String, (String, &'static str)> {
    if !text.starts_with('/') {
        let hint = "write the path from its leading `/`, without scheme and host";
        return Err((String::from("does not start with `/`"), hint));
    }
    if text.contains(['?', '#']) {
        let hint = "write the path alone; nothing else is ever matched";
        return Err((String::from("has a query or a fragment"), hint));
    }
    if text.len() > LONGEST {
        return Err((format!("is longer than {LONGEST} bytes"), "write a shorter path"));
    }
    let refused = |error: String| {
        (
            error,
            "write what a request may have: no empty and no dot segment, no `;` or backslash, no encoded delimiter",
        )
    };
    let encoded = encoded(text);
    let decoded = path::decode(&encoded).map_err(|error| refused(format!("can never match: {error}")))?;
    String::from_utf8(decoded.into_owned()).map_err(|_| refused(String::from("is not UTF-8")))
}

/// Percent-encodes the characters that a request must encode but the file need not: spaces, letters beyond ASCII, and a
/// `%` that begins no encoding.
fn encoded(text: &str) -> String {
    const ENCODED: &AsciiSet =
        &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');
    let mut whole = String::new();
    for (index, part) in text.split('%').enumerate() {
        if index > 0 {
            let starts_encoding =
                part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
            whole.push_str(if starts_encoding { "%" } else { "%25" });
        }
        whole.extend(utf8_percent_encode(part, ENCODED));
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_requests_can_have() {
        for (text, expected) in [
            ("/", "/"),
            ("/a/", "/a/"),
            ("/a.b/c-d_e~f", "/a.b/c-d_e~f"),
            ("/a b", "/a b"),
            ("/a%20b", "/a b"),
            ("/café", "/café"),
            ("/caf%C3%A9", "/café"),
            ("/%41", "/A"),
            ("/...", "/..."),
            ("/100%", "/100%"),
            ("/100%25", "/100%"),
            ("/%zz", "/%zz"),
            ("/a:b@c|d", "/a:b@c|d"),
        ] {
            assert_eq!(decoded(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn paths_that_no_request_can_have() {
        for text in [
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
            "/a%2fb",
            "/a%5Cb",
            "/%2e%2e/a",
            "/%252f",
            "/%ff",
            "/%c0%ae",
        ] {
            assert!(decoded(text).is_err(), "{text}");
        }
    }
}
