//! URLs of identity providers and upstreams, and origins of browsers.

use ::url::{Host, Url};

use super::super::model::Upstream;
use super::super::reader::Item;
use super::super::spelling::quote;
use super::host;
use crate::syntax::authority::url_host;

/// What is wrong, and what to write instead.
type Fault = (String, String);

/// `http://host[:port]`, `https://host[:port]` or `h2c://host[:port]`.
pub(crate) fn upstream(item: &Item<'_>) -> Option<Upstream> {
    let text = item.text("a URL", "write a URL such as `\"http://127.0.0.1:3001\"`")?;
    or_fault(item, parse_upstream(text))
}

fn parse_upstream(text: &str) -> Result<Upstream, Fault> {
    const H2C: &str = "h2c://";
    const HINT: &str = "write scheme, host and port alone, such as `\"http://127.0.0.1:3001\"`";
    let h2c = text.get(..H2C.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(H2C));
    let url = match text.get(H2C.len()..).filter(|_| h2c) {
        // A scheme that the standard for URLs does not know would have its host read by laxer rules.
        Some(rest) => parse_http_shown(text, &format!("http://{rest}"), HINT)?,
        None => parse_http(text, HINT)?,
    };
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        let wrong = format!("{} has a path, a query or a fragment: requests keep their own", quote(text));
        return Err((wrong, String::from(HINT)));
    }
    match (url.host(), url.port_or_known_default()) {
        (Some(host), Some(port)) if port != 0 => {
            Ok(Upstream { host: bare_host(&host), port, tls: url.scheme() == "https", h2c })
        }
        _ => Err((format!("{} has no port that one can connect to", quote(text)), String::from(HINT))),
    }
}

/// An endpoint of an identity provider.
pub(crate) fn endpoint(item: &Item<'_>) -> Option<Url> {
    http(item, "write a URL such as `\"https://id.example.com/oauth2/token\"`")
}

/// An `http` or `https` URL without a fragment.
pub(crate) fn http(item: &Item<'_>, hint: &str) -> Option<Url> {
    let text = item.text("a URL", hint)?;
    let url = or_fault(item, parse_http(text, hint))?;
    if url.fragment().is_some() {
        return item.fault(format!("{} has a fragment", quote(text)), hint);
    }
    Some(url)
}

/// An issuer as a URL (OpenID Connect Discovery 1.0 section 3: neither query nor fragment).
pub(crate) fn parse_issuer(text: &str) -> Result<Url, Fault> {
    const HINT: &str =
        "write the issuer as the tokens have it, such as `\"https://id.example.com/realms/shop\"`";
    let url = parse_http(text, HINT)?;
    if let Some((issuer, _)) = text.split_once("/.well-known/") {
        return Err((
            format!("{} is the address of the metadata", quote(text)),
            format!("write the issuer alone, `\"{}\"`", quote(issuer).trim_matches('`')),
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err((format!("{} has a query or a fragment", quote(text)), String::from(HINT)));
    }
    Ok(url)
}

fn parse_http(text: &str, hint: &str) -> Result<Url, Fault> {
    parse_http_shown(text, text, hint)
}

/// The same for a text that was written otherwise.
fn parse_http_shown(shown: &str, text: &str, hint: &str) -> Result<Url, Fault> {
    let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    if after_scheme.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
        // Not shown: it may be a password.
        return Err((String::from("this URL has a user name or a password in it"), String::from(hint)));
    }
    let url = Url::parse(text).map_err(|error| {
        let wrong = match error {
            ::url::ParseError::RelativeUrlWithoutBase => String::from("is not a URL with a scheme"),
            error => format!("is not a URL: {error}"),
        };
        (format!("{} {wrong}", quote(shown)), String::from(hint))
    })?;
    let written_so = text.get(..url.scheme().len() + 3).is_some_and(|start| start.ends_with("://"));
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !written_so {
        return Err((format!("{} is not an `http` or `https` URL", quote(shown)), String::from(hint)));
    }
    if text.chars().any(|character| character.is_whitespace() || character.is_control() || character == '\\')
    {
        return Err((format!("{} has a space or a backslash", quote(shown)), String::from(hint)));
    }
    Ok(url)
}

/// Whether plain http to this URL stays on the machine, or is not plain.
pub(crate) fn is_confidential(url: &Url) -> bool {
    url.scheme() == "https" || is_on_this_machine(url)
}

/// Whether its host is a loopback address or a name of one.
pub(crate) fn is_on_this_machine(url: &Url) -> bool {
    url.host().is_some_and(|host| host::is_loopback(&bare_host(&host)))
}

fn bare_host(host: &Host<&str>) -> String {
    match host {
        Host::Ipv6(address) => address.to_string(),
        host => host.to_string(),
    }
}

/// `scheme://host[:port]`, exactly as browsers send it in `Origin`, lower-case.
pub(crate) fn origin(item: &Item<'_>) -> Option<String> {
    let text = item.text("an origin", "write an origin such as `\"https://shop.example.com\"`")?;
    or_fault(item, parse_origin(text))
}

fn parse_origin(text: &str) -> Result<String, Fault> {
    const HINT: &str =
        "write `scheme://host[:port]` as browsers send it, such as `\"https://shop.example.com\"`";
    let wrong = |what: &str| (format!("{} {what}", quote(text)), String::from(HINT));
    let lower = text.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://").ok_or_else(|| wrong("is not an origin"))?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_scheme {
        return Err(wrong("is not an origin"));
    }
    if authority.contains('/') {
        return Err(wrong("has a path"));
    }
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (authority, None),
    };
    let host = host::parse(name).map_err(|(what, _)| wrong(what))?;
    let host = url_host(&host);
    match port {
        None => Ok(format!("{scheme}://{host}")),
        Some(port) => match (scheme, port.parse::<u16>()) {
            ("http", Ok(80)) | ("https", Ok(443)) => Err((
                format!("{} has its scheme's own port, which browsers leave out", quote(text)),
                format!("write `\"{scheme}://{host}\"`"),
            )),
            (_, Ok(number)) if number != 0 && number.to_string() == port => {
                Ok(format!("{scheme}://{host}:{number}"))
            }
            _ => Err(wrong("has no valid port")),
        },
    }
}

fn or_fault<T>(item: &Item<'_>, result: Result<T, Fault>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err((message, hint)) => item.fault(message, hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams() {
        for (text, host, port, tls) in [
            ("http://127.0.0.1:3001", "127.0.0.1", 3001, false),
            ("http://Cart.internal", "cart.internal", 80, false),
            ("https://cart.internal/", "cart.internal", 443, true),
            ("https://[::1]:8443", "::1", 8443, true),
        ] {
            let upstream = Upstream { host: host.into(), port, tls, h2c: false };
            assert_eq!(parse_upstream(text), Ok(upstream), "{text}");
        }
        for (text, host, port) in [
            ("h2c://127.0.0.1:50051", "127.0.0.1", 50051),
            ("H2C://Cart.internal", "cart.internal", 80),
            ("h2c://[::1]:8080/", "::1", 8080),
        ] {
            let upstream = Upstream { host: host.into(), port, tls: false, h2c: true };
            assert_eq!(parse_upstream(text), Ok(upstream), "{text}");
        }
    }

    #[test]
    fn what_is_no_upstream() {
        for text in [
            "",
            "127.0.0.1:3001",
            "localhost:3001",
            "ftp://a",
            "http://",
            "http:a",
            "http:/a",
            "http://a/b",
            "http://a?b",
            "http://a#b",
            "http://u:p@a",
            "http://@a",
            "http://a:0",
            "http://a:99999",
            "http://a b",
            "http://a\\b",
            " http://a",
            "unix:/run/a.sock",
            "h2c:a",
            "h2c://",
            "h2c://a/b",
            "h2c://u:p@a",
            "h2c://http://a",
            "h2://a",
            "grpc://a",
        ] {
            assert!(parse_upstream(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        for text in ["http://user:hunter2@a/", "user:hunter2@a", "http://user:hunter2@"] {
            let (message, hint) = parse_upstream(text).unwrap_err();
            assert!(!message.contains("hunter2") && !hint.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn origins() {
        for (text, expected) in [
            ("https://Shop.example.com", "https://shop.example.com"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://[::1]:5173", "http://[::1]:5173"),
            ("http://[::1]", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(parse_origin(text).as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "null",
            "*",
            "shop.example.com",
            "https://",
            "https://a/",
            "https://a/b",
            "https://*.a",
            "https://a:443",
            "http://a:80",
            "https://a:",
            "https://a:080",
            "https://a:0",
            "https://a:70000",
            "https://u@a",
            "://a",
            "1x://a",
        ] {
            assert!(parse_origin(text).is_err(), "{text}");
        }
    }
}
