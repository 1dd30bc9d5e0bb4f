//! A browser: one host's cookie jar, and requests as a single-page application makes them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cookie::Cookie;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::form;

pub(crate) const ACCESS_TOKEN: &str = "__Host-access_token";
pub(crate) const REFRESH_TOKEN: &str = "__Host-refresh_token";

/// A browser that looks at one app. Its clone is another browser with the same cookies: a second tab a moment ago, or a
/// thief.
#[derive(Clone)]
pub(crate) struct Browser {
    http: reqwest::Client,
    address: SocketAddr,
    host: String,
    /// The cookie jar.
    pub(crate) cookies: BTreeMap<String, String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// All header fields.
    pub(crate) headers: HeaderMap,
    /// The body, `Null` if it is not JSON.
    pub(crate) body: Value,
    cookies: Vec<Cookie<'static>>,
}

impl Browser {
    pub(super) fn new(address: SocketAddr, host: String) -> Self {
        let http = reqwest::Client::builder().build().expect("an HTTP client");
        Self { http, address, host, cookies: BTreeMap::new() }
    }

    /// Signs in with a JSON body.
    pub(crate) async fn log_in(&mut self, username: &str, password: &str) -> Answer {
        let body = json!({ "username": username, "password": password }).to_string();
        self.post("/api/login", "application/json", body).await
    }

    /// Signs in as a plain HTML form would.
    pub(crate) async fn log_in_by_form(&mut self, username: &str, password: &str) -> Answer {
        let body = form(&[("username", username), ("password", password)]);
        self.post("/api/login", "application/x-www-form-urlencoded", body).await
    }

    /// Signs in, which has to work.
    pub(crate) async fn signed_in(mut self, (username, password): (&str, &str)) -> Self {
        self.log_in(username, password).await.expect(200, None);
        self
    }

    /// Signs out.
    pub(crate) async fn log_out(&mut self) -> Answer {
        self.post("/api/logout", "application/json", String::new()).await
    }

    /// A request whose new cookies are kept.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let answer = self.peek(path).await;
        self.keep(&answer);
        answer
    }

    /// A request whose answer gets lost on the way as far as the cookie jar is concerned.
    pub(crate) async fn peek(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    /// As if the browser had dropped the JWT's cookie: the next request has to refresh.
    pub(crate) fn drop_access_token(&mut self) {
        self.cookies.retain(|name, _| !name.starts_with(ACCESS_TOKEN));
    }

    /// As if the browser had dropped all but one of the cookies of a split JWT.
    pub(crate) fn drop_first_part_of_access_token(&mut self) {
        self.cookies.remove(ACCESS_TOKEN);
    }

    /// The refresh token as the provider knows it.
    pub(crate) fn refresh_token(&self) -> String {
        self.cookies.get(REFRESH_TOKEN).expect("a refresh token").clone()
    }

    /// Takes over the cookies of an answer.
    pub(crate) fn keep(&mut self, answer: &Answer) {
        for cookie in &answer.cookies {
            if removes(cookie) {
                self.cookies.remove(cookie.name());
            } else {
                self.cookies.insert(cookie.name().to_owned(), cookie.value().to_owned());
            }
        }
    }

    /// Sends any body.
    pub(crate) async fn post(&mut self, path: &str, content_type: &str, body: String) -> Answer {
        let answer = self.send(Method::POST, path, Some((content_type, body))).await;
        self.keep(&answer);
        answer
    }

    async fn send(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Answer {
        let mut request =
            self.http.request(method, format!("http://{}{path}", self.address)).header("host", &self.host);
        if !self.cookies.is_empty() {
            let pairs: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", pairs.join("; "));
        }
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type).body(body);
        }
        let answer = request.send().await.expect("an answer of the gateway");
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let bytes = answer.bytes().await.expect("its body");
        let cookies = headers.get_all("set-cookie").iter().map(|value| {
            let text = value.to_str().expect("an ASCII cookie").to_owned();
            assert!(text.len() <= 4096, "a cookie of {} bytes, which browsers refuse", text.len());
            Cookie::parse(text).expect("a cookie")
        });
        let cookies = cookies.collect();
        Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null), cookies }
    }
}

impl Answer {
    /// Fails unless it has this status and, if given, this problem `code`.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16, code: Option<&str>) {
        assert_eq!(self.status, status, "unexpected status: {self:?}");
        if let Some(code) = code {
            assert_eq!(self.body["code"], code, "unexpected problem: {self:?}");
            assert_eq!(self.headers["content-type"], "application/problem+json");
        }
    }

    /// Fails unless it is a 503 that leaves the session alone and says when to come back.
    #[track_caller]
    pub(crate) fn expect_outage(&self) {
        self.expect(503, Some("identity_provider_unavailable"));
        assert!(self.headers.contains_key("retry-after"), "no Retry-After: {self:?}");
        assert!(self.cookies.is_empty(), "an outage must not touch the cookies: {self:?}");
    }

    /// Fails unless it ends the session: 401, and both cookies cleared.
    #[track_caller]
    pub(crate) fn expect_end_of_session(&self) {
        self.expect(401, Some("session_expired"));
        for name in [ACCESS_TOKEN, REFRESH_TOKEN] {
            let cookie = self.cookie(name).unwrap_or_else(|| panic!("`{name}` is not cleared: {self:?}"));
            assert!(removes(cookie), "`{name}` is set, not cleared");
        }
    }

    /// The cookie of this name that it sets or clears.
    pub(crate) fn cookie(&self, name: &str) -> Option<&Cookie<'static>> {
        self.cookies.iter().find(|cookie| cookie.name() == name)
    }

    /// All cookies that it sets or clears.
    pub(crate) fn cookies(&self) -> &[Cookie<'static>] {
        &self.cookies
    }

    /// The body of a problem without the one member that is another one each time.
    pub(crate) fn problem_without_id(&self) -> Value {
        let mut body = self.body.clone();
        assert!(body.as_object_mut().is_some_and(|body| body.remove("request_id").is_some()), "{body}");
        body
    }

    /// A header that the app received, from the echo in the body.
    pub(crate) fn received(&self, header: &str) -> Option<&str> {
        self.body["headers"][header][0].as_str()
    }
}

fn removes(cookie: &Cookie<'_>) -> bool {
    cookie.max_age().is_some_and(cookie::time::Duration::is_zero)
}
