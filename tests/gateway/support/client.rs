//! A browser as far as a gateway can tell: keep-alive, a cookie jar after RFC 6265bis, and nothing hidden.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::net::TcpStream;

use super::set_cookie::SetCookie;
use super::wire::{Body, Framing, Head, Wire, patiently};

/// A request in the making.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.into(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self.header("Content-Type", content_type)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) fn form(self, body: &str) -> Self {
        self.body("application/x-www-form-urlencoded", body)
    }

    /// As it goes over the wire; a `Host` of its own replaces the browser's.
    fn bytes(&self, host: &str, cookies: Option<&str>) -> Vec<u8> {
        let has = |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let mut lines = vec![format!("{} {} HTTP/1.1", self.method, self.target)];
        if !has("host") {
            lines.push(format!("Host: {host}"));
        }
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        if let Some(cookies) = cookies {
            lines.push(format!("Cookie: {cookies}"));
        }
        if !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") {
            lines.push(format!("Content-Length: {}", self.body.len()));
        }
        let mut bytes = (lines.join("\r\n") + "\r\n\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A response, complete.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    /// 1xx answers that came first.
    pub(crate) interim: Vec<Head>,
    pub(crate) body: Vec<u8>,
    /// Of the body, also where it was too long to keep.
    pub(crate) length: u64,
    pub(crate) trailers: Vec<(String, String)>,
    /// The head permits to use the connection again.
    pub(crate) keeps_alive: bool,
}

impl Answer {
    fn new(head: Head, interim: Vec<Head>, body: Body, framing: Framing) -> Self {
        let says_close = head.all("connection").iter().any(|value| value.eq_ignore_ascii_case("close"));
        let keeps_alive = !says_close && framing != Framing::UntilClose;
        let Body { bytes, length, trailers } = body;
        Self { head, interim, body: bytes, length, trailers, keeps_alive }
    }

    pub(crate) fn status(&self) -> u16 {
        self.head.status()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.head.first_line, self.text()))
    }

    pub(crate) fn set_cookies(&self) -> Vec<SetCookie> {
        self.head.all("set-cookie").into_iter().map(SetCookie::parse).collect()
    }

    /// The one `Set-Cookie` of this name.
    pub(crate) fn set_cookie(&self, name: &str) -> Option<SetCookie> {
        let mut found: Vec<_> = self.set_cookies().into_iter().filter(|cookie| cookie.name == name).collect();
        assert!(found.len() <= 1, "`{name}` is set {} times", found.len());
        found.pop()
    }

    /// The identity header or other header that the app saw, from its echo.
    pub(crate) fn seen_by_app(&self, name: &str) -> Option<String> {
        let echo = self.json();
        let values = echo.get("headers").expect("an echo").get(name.to_ascii_lowercase())?.as_array()?;
        assert_eq!(values.len(), 1, "the app saw `{name}` more than once: {values:?}");
        values.first()?.as_str().map(str::to_owned)
    }

    /// Asserts a problem answer by its status, its code, its media type and its headers.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status(), status, "{} {}", self.head.first_line, self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let body = self.json();
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{body}");
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"), "{body}");
    }

    /// The body of a problem without the one member that is another one each time.
    pub(crate) fn problem_without_id(&self) -> serde_json::Value {
        let mut body = self.json();
        assert!(body.as_object_mut().is_some_and(|body| body.remove("request_id").is_some()), "{body}");
        body
    }

    #[track_caller]
    pub(crate) fn assert_status(&self, status: u16) {
        assert_eq!(self.status(), status, "{} {}", self.head.first_line, self.text());
    }
}

/// A browser with one tab: one connection, one jar.
#[derive(Debug)]
pub(crate) struct Browser {
    address: SocketAddr,
    pub(crate) host: String,
    pub(crate) jar: BTreeMap<String, String>,
    wire: Option<Wire>,
    /// It has had no request yet.
    is_fresh: bool,
    /// Connections opened so far.
    pub(crate) connections: usize,
}

impl Clone for Browser {
    /// Another tab: the same cookies, a connection of its own.
    fn clone(&self) -> Self {
        Self { jar: self.jar.clone(), ..Self::new(self.address, &self.host) }
    }
}

impl Browser {
    pub(crate) fn new(address: SocketAddr, host: &str) -> Self {
        Self { address, host: host.into(), jar: BTreeMap::new(), wire: None, is_fresh: false, connections: 0 }
    }

    /// The `Cookie` header that the jar makes.
    pub(crate) fn cookie_header(&self) -> Option<String> {
        let pairs: Vec<_> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        self.send(Request::get(target)).await
    }

    /// Signs in as one of the provider's users, or fails the test.
    pub(crate) async fn log_in(&mut self, username: &str) -> Answer {
        let answer = self.try_log_in(username, "correct horse").await;
        answer.assert_status(200);
        answer
    }

    pub(crate) async fn try_log_in(&mut self, username: &str, password: &str) -> Answer {
        let body = serde_json::json!({"username": username, "password": password});
        self.send(Request::post("/api/login").json(&body)).await
    }

    pub(crate) async fn send(&mut self, request: Request) -> Answer {
        let what = format!("{} {}", request.method, request.target);
        patiently(&what, self.exchange(&request)).await
    }

    /// The same; `None` if it needs a connection and nobody listens. What was accepted must be answered.
    pub(crate) async fn try_send(&mut self, request: &Request) -> Option<Answer> {
        let what = format!("{} {}", request.method, request.target);
        patiently(&what, self.try_exchange(request)).await
    }

    async fn connect(&mut self) -> Option<()> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        self.connections += 1;
        (self.wire, self.is_fresh) = (Some(Wire::new(stream)), true);
        Some(())
    }

    async fn exchange(&mut self, request: &Request) -> Answer {
        self.try_exchange(request).await.expect("the gateway listens")
    }

    async fn try_exchange(&mut self, request: &Request) -> Option<Answer> {
        let bytes = request.bytes(&self.host, self.cookie_header().as_deref());
        for _ in 0..2 {
            if self.wire.is_none() {
                self.connect().await?;
            }
            let kept = !std::mem::replace(&mut self.is_fresh, false);
            let mut wire = self.wire.take()?;
            let sent = wire.send(&bytes).await;
            // An early refusal may close while the body is still on its way: read it all the same.
            let answer = match sent {
                Err(_) if kept => None,
                _ => receive(&mut wire, &request.method, usize::MAX).await,
            };
            let Some(answer) = answer else {
                assert!(kept, "no answer to {} {}", request.method, request.target);
                continue; // A kept connection had been closed meanwhile: browsers try once more.
            };
            if answer.keeps_alive {
                self.wire = Some(wire);
            }
            self.keep_cookies(&answer);
            return Some(answer);
        }
        panic!("no answer to {} {}", request.method, request.target);
    }

    /// A connection of its own, for bytes that no browser sends.
    pub(crate) async fn open(&mut self) -> Wire {
        self.connections += 1;
        Wire::new(TcpStream::connect(self.address).await.expect("the gateway listens"))
    }

    /// Does what an answer's `Set-Cookie` headers say.
    pub(crate) fn keep_cookies(&mut self, answer: &Answer) {
        for cookie in answer.set_cookies() {
            if cookie.clears() {
                self.jar.remove(&cookie.name);
            } else {
                self.jar.insert(cookie.name, cookie.value);
            }
        }
    }
}

/// Returns the bytes that `browser` would send for `request`.
pub(crate) fn request_bytes(browser: &Browser, request: &Request) -> Vec<u8> {
    request.bytes(&browser.host, browser.cookie_header().as_deref())
}

/// Reads one final response, keeping `kept` bytes of its body; `None` if the connection ended without one.
pub(crate) async fn receive(wire: &mut Wire, method: &str, kept: usize) -> Option<Answer> {
    let mut interim = Vec::new();
    loop {
        let head = wire.head().await.ok().flatten()?;
        if matches!(head.status(), 100 | 102..=199) {
            interim.push(head);
            continue;
        }
        let framing = head.response_framing(method);
        let body = if head.status() == 101 {
            Body::default()
        } else {
            wire.body(framing, kept).await.unwrap_or_else(|error| panic!("{error}: {}", head.first_line))
        };
        return Some(Answer::new(head, interim, body, framing));
    }
}

/// Sends bytes on a connection of their own, and returns the answer and whether the connection then ended.
pub(crate) async fn raw(address: SocketAddr, bytes: impl AsRef<[u8]>) -> (Option<Answer>, bool) {
    let mut wire = Wire::new(TcpStream::connect(address).await.expect("the gateway listens"));
    let _ = wire.send(bytes).await;
    patiently("an answer to raw bytes", async {
        let answer = receive(&mut wire, "GET", usize::MAX).await;
        let ends = match &answer {
            Some(answer) if answer.keeps_alive => false,
            _ => !wire.fill().await.unwrap_or(false),
        };
        (answer, ends)
    })
    .await
}
