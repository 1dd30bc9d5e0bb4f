//! Reads cookies from a file in one of the usual forms: a `Cookie` header copied from the browser's developer tools, a
//! cookie jar of curl (Netscape's format), or a JSON export of a browser or test tool. From a jar, it takes the cookies
//! for the URL's host. It ignores paths and dates.

use http::HeaderValue;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::command::explain::explain_error::ExplainError;

/// Returns the `Cookie` header of a request to `host`. Returns `None` if the file has no cookie for this host.
pub(super) fn header(text: &str, host: &str) -> Result<Option<HeaderValue>, ExplainError> {
    let text = text.trim();
    let pairs = if text.starts_with(['[', '{']) {
        from_json(text, host)?
    } else if text.lines().any(|line| line.matches('\t').count() >= 6) {
        from_jar(text, host)
    } else {
        from_header(text)
    };
    if pairs.is_empty() {
        return Ok(None);
    }
    let mut value =
        HeaderValue::from_str(&pairs).map_err(|_| ExplainError::Cookies("a value has control characters"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Reads lines of `Cookie: a=1; b=2`, with or without the name `Cookie:`.
fn from_header(text: &str) -> Zeroizing<String> {
    // A jar without cookies has only comments.
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let values: Vec<_> = lines
        .map(|line| match line.split_at_checked("cookie:".len()) {
            Some((name, value)) if name.eq_ignore_ascii_case("cookie:") => value.trim(),
            _ => line,
        })
        .collect();
    Zeroizing::new(values.join("; "))
}

/// Reads lines of domain, include subdomains, path, secure, expiry, name and value, separated by tabs.
fn from_jar(text: &str, host: &str) -> Zeroizing<String> {
    let mut pairs = Zeroizing::new(String::new());
    for line in text.lines() {
        let line = line.strip_prefix("#HttpOnly_").unwrap_or(line);
        let mut fields = line.split('\t');
        let (Some(domain), Some(subdomains)) = (fields.next(), fields.next()) else { continue };
        let (Some(name), Some(value)) = (fields.nth(3), fields.next()) else { continue };
        if !line.starts_with('#') && is_for(domain, subdomains.eq_ignore_ascii_case("true"), host) {
            push(&mut pairs, name, value);
        }
    }
    pairs
}

/// Reads a list of objects with `name`, `value` and perhaps `domain`. The list may also be under the key `cookies`.
fn from_json(text: &str, host: &str) -> Result<Zeroizing<String>, ExplainError> {
    let document: Value = serde_json::from_str(text).map_err(|_| ExplainError::Cookies("not JSON"))?;
    let list = document.get("cookies").unwrap_or(&document).as_array();
    let list = list.ok_or(ExplainError::Cookies("no list of cookies in the JSON"))?;
    let mut pairs = Zeroizing::new(String::new());
    for cookie in list {
        let text = |member| cookie.get(member).and_then(Value::as_str);
        let (Some(name), Some(value)) = (text("name"), text("value")) else {
            return Err(ExplainError::Cookies("a cookie in the JSON has no `name` or no `value`"));
        };
        if text("domain").is_none_or(|domain| is_for(domain, domain.starts_with('.'), host)) {
            push(&mut pairs, name, value);
        }
    }
    Ok(pairs)
}

fn is_for(domain: &str, subdomains: bool, host: &str) -> bool {
    let domain = domain.trim_start_matches('.');
    host.eq_ignore_ascii_case(domain)
        || subdomains
            && host
                .len()
                .checked_sub(domain.len() + 1)
                .and_then(|start| host.get(start..))
                .is_some_and(|end| end.strip_prefix('.').is_some_and(|end| end.eq_ignore_ascii_case(domain)))
}

fn push(pairs: &mut String, name: &str, value: &str) {
    if !pairs.is_empty() {
        pairs.push_str("; ");
    }
    pairs.push_str(name);
    pairs.push('=');
    pairs.push_str(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        let value = header(text, "store.example.com").unwrap();
        value.map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn every_format_gives_the_same_header() {
        let jar = "# Netscape HTTP Cookie File\n\
            #HttpOnly_store.example.com\tFALSE\t/\tTRUE\t0\ta\t1\n\
            .example.com\tTRUE\t/\tFALSE\t0\tb\t2\n\
            forums.example.com\tFALSE\t/\tTRUE\t0\ta\t3\n\
            example.com\tFALSE\t/\tTRUE\t0\tc\t4\n";
        for text in [
            "a=1; b=2",
            "Cookie: a=1; b=2\n",
            "cookie:a=1\r\nCookie: b=2\r\n",
            jar,
            r#"[{"name":"a","value":"1"},{"name":"b","value":"2","domain":".example.com"},
                {"name":"c","value":"3","domain":"other.example.com"},{"name":"d","value":"4","domain":"example.com"}]"#,
            r#"{"cookies":[{"name":"a","value":"1","domain":"store.example.com"},{"name":"b","value":"2"}]}"#,
        ] {
            assert_eq!(read(text).as_deref(), Some("a=1; b=2"), "{text}");
        }
    }

    #[test]
    fn nothing_for_this_host() {
        assert_eq!(read(""), None);
        assert_eq!(read("# Netscape HTTP Cookie File\n# This file was generated by libcurl!\n"), None);
        assert_eq!(read("forums.example.com\tFALSE\t/\tTRUE\t0\ta\t3"), None);
        assert_eq!(read("[]"), None);
    }

    #[test]
    fn what_cannot_be_read_is_not_quoted() {
        for text in ["{", r#"{"a":1}"#, r#"[{"name":"canary"}]"#, r#"["canary"]"#, "a=cana\u{1}ry"] {
            let error = header(text, "store.example.com").unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
