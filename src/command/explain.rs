//! `portcullis explain`: what the gateway would do with a request, step by step, and why.
//!
//! Without cookies it says what everybody gets, and makes no connection. With a user's cookies it asks
//! [`decide`](crate::access::decision::decide) itself, as the gateway does, and shows what that went by. Of tokens and cookies it shows no part.
//! What only a running gateway knows (revocations, replaced refresh tokens, a session's last request) is not in it.

mod cookie_file;
mod destination;
mod keys;
mod session;
mod verdict;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use url::{Position, Url};

use self::keys::Keys;
use crate::access::cross_site;
use crate::access::decision::{AppRules, Reason, RequestHead};
use crate::config::{App, Config};
use crate::syntax::authority::Authority;
use crate::syntax::path;
use crate::syntax::redacted::SecretText;
use crate::syntax::web_socket;
use crate::system::clock::Clock;

/// A request to be explained.
#[derive(Debug, Default)]
pub struct Question {
    /// The method, in any case.
    pub method: String,
    /// The URL as a browser would use it; `ws` and `wss` ask for a WebSocket, as do the headers of a handshake.
    pub url: String,
    /// The `Origin` header.
    pub origin: Option<String>,
    /// Other headers, each as `Name: value`.
    pub headers: Vec<String>,
    /// The text of a file with cookies: a `Cookie` header, Netscape's format (curl), or JSON as browsers export it.
    pub cookies: Option<SecretText>,
    /// A JWKS to verify with, instead of the provider's.
    pub jwks: Option<Vec<u8>>,
}

/// Why a request cannot be explained.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExplainError {
    /// Not a method.
    #[error("`{0}` is not a request method")]
    Method(String),
    /// Not a URL with a host.
    #[error(
        "`{0}` is not an http, https, ws or wss URL: write it as a browser has it, such as `https://store.example.com/cart`"
    )]
    Url(String),
    /// Not an `Origin`.
    #[error("`{0}` cannot be an `Origin` header")]
    Origin(String),
    /// Not a header, or one that has its own way in.
    #[error(
        "`{0}` is not a header such as `Sec-Fetch-Site: same-origin`; `Host` follows from the URL, `Cookie` comes by --cookies"
    )]
    Header(String),
    /// None of the formats.
    #[error("the cookies cannot be read: {0}")]
    Cookies(&'static str),
    /// Not a JWKS with a usable key.
    #[error("the JWKS cannot be used: {0}")]
    Jwks(String),
}

/// The question, read.
struct Asked<'a> {
    method: Method,
    url: &'a str,
    /// Without port, for the configuration.
    host: String,
    /// As the `Host` header has it.
    authority: String,
    websocket: bool,
    is_secure: bool,
    /// What the request is judged by. Sensitive: never shown.
    headers: HeaderMap,
    /// Whether the request is judged as a whole: it came with its headers.
    is_whole: bool,
}

/// Explains a request. Connects to the identity provider only for its keys: with cookies and without a JWKS.
pub async fn explain(
    config: &Config,
    question: &Question,
    clock: &dyn Clock,
) -> Result<String, ExplainError> {
    let asked = read(question)?;
    let mut steps = Steps(format!("{} {}\n", asked.method, asked.url));
    let found = config.apps.iter().find(|app| app.hosts.contains(&asked.host));
    let Some(app) = found else {
        steps.add("app", &format!("none has the host `{}`", asked.host));
        let hosts: Vec<_> = config.apps.iter().flat_map(|app| &app.hosts).map(String::as_str).collect();
        steps.add("", &format!("hint: compare with `hosts` of the apps: {}", hosts.join(", ")));
        steps.answer("404 unknown_host", "unknown_host");
        return Ok(steps.0);
    };
    steps.add("app", &format!("{} (host `{}`)", app.name, asked.host));
    if matches!(asked.method, Method::TRACE | Method::CONNECT) {
        steps.answer("405 method_not_allowed, on every path", "method");
        return Ok(steps.0);
    }
    if let Some(port) = config.server.tls.as_ref().and_then(|tls| tls.redirect_port)
        && !asked.is_secure
    {
        steps.answer(&format!("308 to `https`, port {port} (`redirect_port`)"), "redirected");
        steps.add("", "not if one of `trusted_proxies` says that it came by https: ask with that URL then");
        return Ok(steps.0);
    }
    if !asked.is_secure && !app.cookies.are_kept_over_http(&asked.host) {
        steps.add("http", "plain: browsers keep none of the session's cookies, which are `Secure`: a login is forgotten at once");
        steps.add("", "hint: ask and sign in by https, at a `localhost` name, or see `cookies.secure` (for development)");
    }
    // A valid configuration refers to a provider that there is.
    let Some(provider) = config.identity_providers.get(app.identity_provider) else { return Ok(steps.0) };
    let rules = AppRules::new(app, provider, &config.session);
    let raw = raw_path(asked.url);
    let head = RequestHead {
        method: &asked.method,
        path: raw,
        host: &asked.authority,
        headers: &asked.headers,
        websocket: asked.websocket,
    };
    if !path_step(&mut steps, &rules, &head) {
        return Ok(steps.0);
    }
    let mut reaches_app = destination::steps(&mut steps, app, &rules, &head, asked.is_whole);
    if asked.is_whole {
        origin_step(&mut steps, app, &head);
        let keys = if asked.headers.contains_key(header::COOKIE) {
            Keys::get(provider, question.jwks.as_deref()).await?
        } else {
            Keys::default()
        };
        let memory = verdict::empty_memory(clock.now());
        let known = verdict::knowledge(&keys, &memory, config, clock.now());
        let token = session::steps(&mut steps, &rules, &head, &known, &keys);
        if question.cookies.is_some() && !asked.headers.contains_key(header::COOKIE) {
            let hint = "the file has none for this host. Over plain http curl keeps none, and browsers only at `localhost` names";
            steps.add("", hint);
        }
        reaches_app &= verdict::steps(&mut steps, &rules, &head, &known, token);
    }
    if reaches_app {
        destination::forwarding(&mut steps, app, &rules, &head);
    }
    Ok(steps.0)
}

fn read(question: &Question) -> Result<Asked<'_>, ExplainError> {
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
    for line in &question.headers {
        let (name, value) = header_line(line).ok_or_else(|| ExplainError::Header(line.clone()))?;
        headers.append(name, value);
    }
    let is_browsers_websocket = matches!(url.scheme(), "ws" | "wss");
    let websocket = is_browsers_websocket || web_socket::is_handshake(Version::HTTP_11, &method, &headers);
    if is_browsers_websocket {
        // As browsers send them.
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

/// A header as it was typed. Those that follow from something else are none.
fn header_line(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
    let is_taken = [header::HOST, header::COOKIE].contains(&name);
    Some((name, HeaderValue::from_str(value.trim()).ok()?)).filter(|_| !is_taken)
}

/// Whether the path is one that is served at all.
fn path_step(steps: &mut Steps, rules: &AppRules, head: &RequestHead<'_>) -> bool {
    let decoded = match path::decode(head.path) {
        Ok(decoded) => decoded,
        Err(error) => {
            steps.add("path", &error.to_string());
            steps.answer("400 bad_request", Reason::Path(error).code().as_str());
            return false;
        }
    };
    if destination::is_login_variant(rules, head, &decoded) {
        steps.add("path", "a spelling of the login path that could bring a password to the app");
        steps.answer("400 bad_request", "login_variant");
        return false;
    }
    true
}

/// Who is said to have sent it.
fn origin_step(steps: &mut Steps, app: &App, head: &RequestHead<'_>) {
    let matters = head.may_change_state() || head.websocket;
    let origin = head.headers.get(header::ORIGIN);
    let is_cross_site = cross_site::is_cross_site(head.headers, head.host, &app.allowed_origins);
    let text = if !matters {
        "not looked at: the method changes nothing"
    } else if is_cross_site && origin.is_some_and(|origin| origin == "null") {
        "`null`: refused where there are session cookies, and at login and logout, but for `Sec-Fetch-Site: same-origin`"
    } else if is_cross_site {
        "another site's: refused where there are session cookies, and at login and logout"
    } else if origin.is_none() && !head.headers.contains_key("sec-fetch-site") {
        "none, so it is no browser's (`--origin` tries one)"
    } else {
        "the app's own, or one of `allowed_origins`"
    };
    steps.add("origin", text);
}

/// The path as it was typed: `Url` would resolve dot segments, which the gateway refuses.
fn raw_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    rest.find('/').and_then(|start| rest.get(start..)).unwrap_or("/")
}

/// What has been found so far, a line for each step.
struct Steps(String);

impl Steps {
    fn add(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "  {name:<10} {value}");
    }

    /// The end of it, with its reason code.
    fn answer(&mut self, answer: &str, reason: &str) {
        self.add("answer", answer);
        self.add("reason", reason);
    }
}
