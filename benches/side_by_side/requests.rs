//! The requests, and what their answers must be.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::app::{BODY_SIZE, first_line};
use crate::gateway::host;
use crate::load::{Answer, Request, Requests};
use crate::provider::{REFRESH_TOKEN, USER};

/// The cookie that every proxy reads the token from.
pub(crate) const COOKIE: &str = "__Host-access_token";

/// The part of an answer's head that a refreshed or new session has.
const NEW_TOKEN: &str = "__Host-access_token=ey";

/// A session's number, and its JWT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session<'a> {
    /// Its number.
    pub(crate) number: usize,
    /// Its JWT.
    pub(crate) token: &'a str,
}

/// The claim `sub` of a session, and its user name.
pub(crate) fn subject(session: usize) -> String {
    format!("{USER}{session:08}")
}

/// A proxy's manners: what it makes of a request with a session's cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// It passes everything on as it is.
    Forwards,
    /// It tells the app who the user is, and passes the cookies on.
    Identifies,
    /// It takes the session's cookies out.
    Strips,
    /// Both.
    IdentifiesAndStrips,
}

impl Session<'_> {
    /// A request with its cookies, and what the app must see of it.
    pub(crate) fn get(self, host: &str, path: &str, manners: Manners) -> Request {
        let cookies = self.cookies(&format!("{REFRESH_TOKEN}{:08}-{:039}", self.number, 0));
        let subject = subject(self.number);
        let line = match manners {
            Manners::Forwards => first_line(None, &cookies),
            Manners::Identifies => first_line(Some(&subject), &cookies),
            Manners::Strips => first_line(None, "theme=dark"),
            Manners::IdentifiesAndStrips => first_line(Some(&subject), "theme=dark"),
        };
        Request { bytes: head("GET", host, path, &cookies).into_bytes(), answer: from_app(line) }
    }

    /// A request whose JWT has expired, with a refresh token that can be told from all others by `serial`.
    pub(crate) fn refreshing(self, serial: usize) -> Request {
        let cookies = self.cookies(&format!("{REFRESH_TOKEN}{:08}-{serial:039}", self.number));
        let line = first_line(Some(&subject(self.number)), "theme=dark");
        Request {
            bytes: head("GET", &host(0), "/api/cart", &cookies).into_bytes(),
            answer: Answer { in_head: NEW_TOKEN, ..from_app(line) },
        }
    }

    /// A request with a forged signature and without a refresh token, which must be refused.
    pub(crate) fn forged(self) -> Request {
        let mut token = self.token.to_owned();
        let at = token.len().saturating_sub(100);
        let other = if token.get(at..=at) == Some("A") { "B" } else { "A" };
        token.replace_range(at..=at, other);
        let cookies = format!("{COOKIE}={token}; theme=dark");
        Request {
            bytes: head("GET", &host(0), "/api/cart", &cookies).into_bytes(),
            answer: Answer { status: "HTTP/1.1 401 ", in_head: "", body: String::new(), body_length: None },
        }
    }

    fn cookies(self, refresh_token: &str) -> String {
        format!("{COOKIE}={}; __Host-refresh_token={refresh_token}; theme=dark", self.token)
    }
}

/// A login.
pub(crate) fn login(session: usize) -> Request {
    let subject = subject(session);
    let body = format!(r#"{{"email":"{subject}@"#);
    let answer = Answer { status: "HTTP/1.1 200 ", in_head: NEW_TOKEN, body, body_length: None };
    Request { bytes: post("/api/login", &subject), answer }
}

/// The same request to the app.
pub(crate) fn proxied_login(session: usize) -> Request {
    Request {
        bytes: post("/public/login", &subject(session)),
        answer: from_app(first_line(None, "theme=dark")),
    }
}

/// Refreshes without end: the sessions' expired JWTs in turn, each time with a new refresh token.
pub(crate) struct Refreshes {
    expired: Vec<String>,
    serial: AtomicUsize,
}

impl Refreshes {
    /// With the expired JWTs of sessions 0, 1, ….
    pub(crate) const fn new(expired: Vec<String>) -> Self {
        Self { expired, serial: AtomicUsize::new(0) }
    }
}

impl Requests for Refreshes {
    fn distinct(&self) -> usize {
        self.expired.len()
    }

    fn get(&self, number: usize) -> Cow<'_, Request> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let number = number % self.expired.len();
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
        let token = &self.expired[number];
        Cow::Owned(Session { number, token }.refreshing(serial))
    }
}

fn head(method: &str, host: &str, path: &str, cookies: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n\
         Accept-Encoding: gzip, br\r\nCookie: {cookies}\r\n\r\n"
    )
}

fn post(path: &str, user: &str) -> Vec<u8> {
    let body = format!(r#"{{"username":"{user}","password":"a password of the benchmark"}}"#);
    let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut head = head("POST", &host(0), path, "theme=dark");
    // Before the empty line.
    head.truncate(head.len().saturating_sub(2));
    (head + &fields).into_bytes()
}

fn from_app(line: String) -> Answer {
    Answer { status: "HTTP/1.1 200 ", in_head: "", body: line, body_length: Some(BODY_SIZE) }
}
