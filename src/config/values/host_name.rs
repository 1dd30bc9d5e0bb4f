//! Host names as in the `Host` header, without the port. IPv6 addresses have no brackets.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::config::quoting::quote;
use crate::config::reader::Item;

/// Reads a host name or an IP address. Returns the name in lower case, or the IPv6 address in its canonical form.
pub(crate) fn host(item: &Item<'_>) -> Option<String> {
    let text = item.text("a host name", "write a name such as `\"store.example.com\"`")?;
    match parse(text) {
        Ok(host) => Some(host),
        Err((wrong, hint)) => item.fault(format!("{} {wrong}", quote(text)), hint),
    }
}

const EXAMPLE: &str = "write a name such as `\"store.example.com\"`";

/// Parses a host. The error has the fault and a correction.
pub(crate) fn parse(text: &str) -> Result<String, (&'static str, String)> {
    let lower = text.to_ascii_lowercase();
    if let Ok(address) = lower.trim_start_matches('[').trim_end_matches(']').parse::<Ipv6Addr>() {
        return Ok(address.to_string());
    }
    if lower.contains('*') {
        return Err(("has a wildcard", String::from("list every host by its name")));
    }
    if lower.contains("://") || lower.contains('/') {
        return Err(("is a URL", format!("{EXAMPLE}, without scheme and path")));
    }
    if let Some((name, port)) = lower.rsplit_once(':') {
        return Err(if port.bytes().all(|byte| byte.is_ascii_digit()) {
            ("has a port", format!("{}; hosts are matched without port", instead(name)))
        } else {
            ("is not a host name", String::from(EXAMPLE))
        });
    }
    if let Some(name) = lower.strip_suffix('.') {
        return Err(("ends with a dot", instead(name)));
    }
    if !lower.is_ascii() {
        let hint = match ::url::Host::parse(&lower) {
            Ok(name) => format!("write it as browsers send it, `\"{name}\"`"),
            Err(_) => String::from(EXAMPLE),
        };
        return Err(("is not ASCII", hint));
    }
    let looks_numeric =
        lower.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if looks_numeric && lower.parse::<Ipv4Addr>().is_err() || !is_name(&lower) {
        return Err(("is not a host name", String::from(EXAMPLE)));
    }
    Ok(lower)
}

/// Proposes a name only if the name is valid. Any other text may have characters that must not reach a terminal.
fn instead(name: &str) -> String {
    let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<Ipv6Addr>().is_ok();
    if is_name(name) || is_address { format!("write `\"{name}\"`") } else { String::from(EXAMPLE) }
}

/// Returns true if the labels have only letters, digits, hyphens and underscores. RFC 1123 forbids underscores, but
/// they are in use.
fn is_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

/// Returns true if requests to a host (without brackets) never leave this machine: `127.0.0.0/8`, `::1`, `localhost`
/// (RFC 6761 section 6.3).
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lower_case_and_canonical() {
        for (text, expected) in [
            ("Store.Example.com", "store.example.com"),
            ("localhost", "localhost"),
            ("a_b.internal", "a_b.internal"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("[0:0:0:0:0:0:0:1]", "::1"),
            ("2001:DB8::1", "2001:db8::1"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "*.example.com",
            "a.example.com:8080",
            "[::1]:80",
            "http://a",
            "a/b",
            "a b",
            "a.",
            "bücher.example",
            "1.2.3",
            "1.2.3.256",
            "1234",
            "a@b",
            "a\n",
            ":",
            "[",
            "a:b",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"a".repeat(64)).is_err());
        assert!(parse(&["abc"; 70].join(".")).is_err());
    }

    #[test]
    fn what_to_write_instead_is_a_host() {
        for (text, expected) in [
            ("a.example:80", "write `\"a.example\"`; hosts are matched without port"),
            ("[::1]:80", "write `\"[::1]\"`; hosts are matched without port"),
            ("a.example.", "write `\"a.example\"`"),
            ("a\0b:80", &format!("{EXAMPLE}; hosts are matched without port")),
            ("a\u{1b}[2J.", EXAMPLE),
        ] {
            assert_eq!(parse(text).unwrap_err().1, expected, "{text:?}");
        }
    }

    #[test]
    fn loopback() {
        for host in ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST", "idp.localhost"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["128.0.0.1", "::2", "0.0.0.0", "localhost.example.com", "notlocalhost", "idp"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
