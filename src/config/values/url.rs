//! URLs, and origins as browsers send them.

use ::url::{Host, Url};

use crate::config::quoting::quote;
use crate::config::reader::Item;
use crate::config::values::host_name;
use crate::syntax::authority::url_host;

/// A fault, and a hint about a correction.
pub(crate) type Fault = (String, String);

/// Reads the URL of an identity provider's endpoint.
pub(crate) fn endpoint(item: &Item<'_>) -> Option<Url> {
    http(item, "write a URL such as `\"https://id.example.com/oauth2/token\"`")
}

/// Reads an `http` or `https` URL without a fragment.
pub(crate) fn http(item: &Item<'_>, hint: &str) -> Option<Url> {
    let text = item.text("a URL", hint)?;
    let url = or_fault(item, parse_http(text, hint))?;
    if url.fragment().is_some() {
        return item.fault(format!("{} has a fragment", quote(text)), hint);
    }
    Some(url)
}

/// Parses an issuer as a URL without a query and a fragment (OpenID Connect Discovery 1.0 section 3).
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

/// Parses an `http` or `https` URL.
pub(crate) fn parse_http(text: &str, hint: &str) -> Result<Url, Fault> {
    parse_http_shown(text, text, hint)
}

/// Parses `text`. The file writes the URL in another form, `shown`, and messages quote that form.
pub(crate) fn parse_http_shown(shown: &str, text: &str, hint: &str) -> Result<Url, Fault> {
    let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    if after_scheme.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
        // The text is not shown, because it may contain a password.
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

/// Returns true if nobody on the network can read a request to this URL: it is `https`, or stays on this machine.
pub(crate) fn is_confidential(url: &Url) -> bool {
    url.scheme() == "https" || is_on_this_machine(url)
}

/// Returns true if the URL's host is a loopback address or a name of one.
pub(crate) fn is_on_this_machine(url: &Url) -> bool {
    url.host().is_some_and(|host| host_name::is_loopback(&bare_host(&host)))
}

/// Returns a host without the brackets of an IPv6 address.
pub(crate) fn bare_host(host: &Host<&str>) -> String {
    match host {
        Host::Ipv6(address) => address.to_string(),
        host => host.to_string(),
    }
}

/// Reads `scheme://host[:port]`, exactly as browsers send it in `Origin`, in lower case.
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
    let host = host_name::parse(name).map_err(|(what, _)| wrong(what))?;
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

/// Reports the fault, if there is one.
pub(crate) fn or_fault<T>(item: &Item<'_>, result: Result<T, Fault>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err((message, hint)) => item.fault(message, hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
