//! `upstreams` of `[apps.*]`, and the tables about the connections to them: `upstream_tls`, `timeouts`, `health_check`.

use std::fmt;
use std::time::Duration;

use crate::config::certificate_authorities::{Authorities, authorities};
use crate::config::quoting::quote;
use crate::config::reader::{Item, Section, boolean};
use crate::config::values::duration::duration;
use crate::config::values::host_name::host;
use crate::config::values::path::request_path;
use crate::config::values::url::{Fault, bare_host, or_fault, parse_http, parse_http_shown};
use crate::syntax::authority::url_host;

/// One address of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// A host name or an IP address (IPv6 without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
    /// If true, connections use TLS.
    pub tls: bool,
    /// If true, connections use HTTP/2 without TLS, with prior knowledge (RFC 9113 section 3.3). It is never true
    /// together with `tls`.
    pub h2c: bool,
}

impl fmt::Display for Upstream {
    /// Writes the URL in the form that the file uses.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self {
            Self { tls: true, .. } => "https",
            Self { h2c: true, .. } => "h2c",
            _ => "http",
        };
        write!(formatter, "{scheme}://{}:{}", url_host(&self.host), self.port)
    }
}

/// `[apps.NAME.upstream_tls]`. No setting can switch the verification off.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    /// The authorities that certify the upstreams. `None` means the machine's authorities.
    pub ca: Option<Authorities>,
    /// The name that the upstreams' certificates must have. `None` means the host of the upstream's URL.
    pub server_name: Option<String>,
    /// If true, Portcullis offers the upstreams HTTP/2 by ALPN (RFC 9113 section 3.2).
    pub http2: bool,
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { ca: None, server_name: None, http2: true }
    }
}

/// `[apps.NAME.timeouts]`.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// The longest time for the TCP and TLS handshakes with an upstream.
    pub connect: Duration,
    /// The longest time until the head of the app's answer.
    pub response: Duration,
    /// The longest time between two reads or writes of a body, an event stream or a WebSocket.
    pub idle: Duration,
}

/// `[apps.NAME.health_check]`. It matters if there are several upstreams.
#[derive(Debug, Clone)]
pub struct HealthCheck {
    /// The time between two checks.
    pub interval: Duration,
    /// The longest time for one check.
    pub timeout: Duration,
    /// The path for `GET`, whose answer must be 2xx or 3xx. `None` means that a TCP connection suffices.
    pub path: Option<String>,
}

/// Reads the key `upstreams`.
pub(crate) fn upstreams(section: &Section<'_>) -> Option<Vec<Upstream>> {
    section.required(
        "upstreams",
        "list the addresses of the app, such as `[\"http://127.0.0.1:3001\"]`",
        |item| item.some("list at least one address, such as `[\"http://127.0.0.1:3001\"]`", upstream),
    )
}

/// Reads `http://host[:port]`, `https://host[:port]` or `h2c://host[:port]`.
fn upstream(item: &Item<'_>) -> Option<Upstream> {
    let text = item.text("a URL", "write a URL such as `\"http://127.0.0.1:3001\"`")?;
    or_fault(item, parse_upstream(text))
}

fn parse_upstream(text: &str) -> Result<Upstream, Fault> {
    const H2C: &str = "h2c://";
    const HINT: &str = "write scheme, host and port alone, such as `\"http://127.0.0.1:3001\"`";
    let h2c = text.get(..H2C.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(H2C));
    let url = match text.get(H2C.len()..).filter(|_| h2c) {
        // The URL parser does not know the scheme `h2c`, and would read its host by less strict rules. So it gets
        // `http`.
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

/// Reads `[apps.NAME.upstream_tls]`.
pub(crate) fn upstream_tls(app: &Section<'_>, upstreams: Option<&[Upstream]>) -> Option<UpstreamTls> {
    let section = app.section("upstream_tls");
    let ca = section.optional("ca", "the machine's authorities", authorities);
    let server_name = section.optional("server_name", "the host of the upstream's URL", host);
    let http2 = section.defaulted("http2", "true", boolean);
    let has_none = upstreams.is_some_and(|upstreams| !upstreams.iter().any(|upstream| upstream.tls));
    if has_none && !section.is_empty() {
        section.warn_here(
            "no upstream of the app is `https`, so this is not used",
            "write `https://` in `upstreams`",
        );
    }
    Some(UpstreamTls { ca: ca?, server_name: server_name?, http2: http2? })
}

/// Reads `[apps.NAME.timeouts]`.
pub(crate) fn timeouts(app: &Section<'_>) -> Option<Timeouts> {
    let section = app.section("timeouts");
    let connect = section.defaulted("connect", "\"2s\"", |item| duration(item, "10ms", "1m"));
    let response = section.defaulted("response", "\"30s\"", |item| duration(item, "10ms", "1h"));
    let idle = section.defaulted("idle", "\"5m\"", |item| duration(item, "10ms", "1d"));
    Some(Timeouts { connect: connect?, response: response?, idle: idle? })
}

/// Reads `[apps.NAME.health_check]`.
pub(crate) fn health_check(app: &Section<'_>) -> Option<HealthCheck> {
    let section = app.section("health_check");
    let interval = section.defaulted("interval", "\"5s\"", |item| duration(item, "10ms", "1h"));
    let timeout = section.defaulted("timeout", "\"1s\"", |item| duration(item, "10ms", "1m"));
    let path = section.optional("path", "a TCP connection suffices", request_path);
    Some(HealthCheck { interval: interval?, timeout: timeout?, path: path? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_by_their_urls() {
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
}
