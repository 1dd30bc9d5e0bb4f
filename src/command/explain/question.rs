//! A request to be explained: as the user typed it, and as it was parsed.

use crate::syntax::redacted::{Redacted, SecretText};
use crate::syntax::web_socket;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use url::{Position, Url};

use crate::command::explain::cookie_file;
use crate::command::explain::explain_error::ExplainError;
use crate::syntax::authority::Authority;

/// A request to be explained, as the user typed it.
#[derive(Debug, Default)]
pub struct Question {
    /// The method, in upper or lower case.
    pub method: String,
    /// The URL as a browser would use it. `ws` and `wss` ask for a WebSocket, as do the headers of a handshake.
    pub url: String,
    /// The `Origin` header.
    pub origin: Option<String>,
    /// Other headers, each as `Name: value`.
    pub headers: Redacted<Vec<String>>,
    /// The text of a file with cookies: a `Cookie` header, Netscape's format (curl), or JSON as browsers export it.
    pub cookies: Option<SecretText>,
    /// A JWKS that is used for the verification instead of the provider's.
    pub jwks: Option<Vec<u8>>,
}

/// The request, parsed.
pub(super) struct Asked<'a> {
    pub(super) method: Method,
    pub(super) url: &'a str,
    /// The host without a port, as the configuration writes it.
    pub(super) host: String,
    /// The host and port, as the `Host` header has them.
    pub(super) authority: String,
    pub(super) websocket: bool,
    pub(super) is_secure: bool,
    /// The headers that decide about the request. They are sensitive and never shown.
    pub(super) headers: HeaderMap,
    /// The user gave headers, so the request is judged as a whole.
    pub(super) is_whole: bool,
}

/// Parses a question.
pub(super) fn read(question: &Question) -> Result<Asked<'_>, ExplainError> {
    let method = Method::from_bytes(question.method.to_ascii_uppercase().as_bytes())
        .map_err(|_| ExplainError::Method(question.method.clone()))?;
    let no_url = || ExplainError::Url(question.url.clone());
    let url = Url::parse(&question.url).map_err(|_| no_url())?;
    if !matches!(url.scheme(), "http" | "https" | "ws" | "wss") {
        return Err(no_url());
    }
    let authority = url[Position::BeforeHost..Position::AfterPort].to_owned();
    let host = Authority::parse(authority.as_bytes()).ok_or_else(no_url)?.name().to_owned();
    let mut headers = HeaderMap::new();
    for line in question.headers.iter() {
        let (name, value) = header_line(line).ok_or_else(|| ExplainError::Header(line.clone()))?;
        headers.append(name, value);
    }
    let is_browsers_websocket = matches!(url.scheme(), "ws" | "wss");
    let websocket = is_browsers_websocket || web_socket::is_handshake(Version::HTTP_11, &method, &headers);
    if is_browsers_websocket {
        // These are the headers that browsers send.
        headers.entry(header::SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static(web_socket::VERSION));
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        headers.entry(header::SEC_WEBSOCKET_KEY).or_insert(key);
    }
    if let Some(origin) = &question.origin {
        let value = HeaderValue::from_str(origin).map_err(|_| ExplainError::Origin(origin.clone()))?;
        headers.insert(header::ORIGIN, value);
    }
    if let Some(text) = &question.cookies
        && let Some(value) = cookie_file::header(text, &host)?
    {
        headers.insert(header::COOKIE, value);
    }
    Ok(Asked {
        method,
        url: &question.url,
        host,
        authority,
        websocket,
        is_secure: matches!(url.scheme(), "https" | "wss"),
        headers,
        is_whole: question.origin.is_some() || question.cookies.is_some() || !question.headers.is_empty(),
    })
}

/// Parses a header as the user typed it. Refuses `Host` and `Cookie`, which come from the URL and from the cookies.
fn header_line(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
    let is_taken = [header::HOST, header::COOKIE].contains(&name);
    Some((name, HeaderValue::from_str(value.trim()).ok()?)).filter(|_| !is_taken)
}

/// Returns the path as the user typed it. `Url` would resolve dot segments, but the gateway refuses them.
pub(super) fn raw_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    rest.find('/').and_then(|start| rest.get(start..)).unwrap_or("/")
}
