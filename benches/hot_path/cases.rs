//! The cases that are compared, and the requests for them.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis::access::numbers::ProviderNumber;
use portcullis::access::revocations::Mark;
use portcullis::access::seal::{Seal, SessionRecord};
use portcullis::config::SealKey;
use portcullis::system::clock::{Clock, SystemClock};
use tempfile::TempDir;

use crate::issuer::{Error, Issuer};
use crate::load::{Answer, Request, Requests};
use crate::store::store_toml;
use crate::{app, provider};

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// A bare Pingora proxy.
    Bare,
    /// The same, with the requests of [`Case::OneToken`].
    BareWithCookies,
    /// Portcullis, a public route, no cookies.
    Public,
    /// Portcullis, a required route, always the same session.
    OneToken,
    /// Portcullis, a required route, many sessions in turn.
    ManyTokens,
    /// The same with everything of `[session]` turned on, and thousands of revocations.
    Protected,
    /// [`Case::ManyTokens`], served by the build that `BENCH_EARLIER` names.
    Earlier,
}

/// In the order of the table.
pub(crate) const CASES: [Case; 7] = [
    Case::Bare,
    Case::Public,
    Case::BareWithCookies,
    Case::OneToken,
    Case::ManyTokens,
    Case::Protected,
    Case::Earlier,
];

/// Seals the cookies of [`Case::Protected`].
const SEAL_KEY: [u8; 32] = *b"seal key of the benchmark, 32 by";

impl Case {
    /// Its row's title.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Bare => "bare Pingora, no cookies",
            Self::BareWithCookies => "bare Pingora, with the cookies",
            Self::Public => "Portcullis, public route",
            Self::OneToken => "Portcullis, one session",
            Self::ManyTokens => "Portcullis, 2,000 sessions",
            Self::Protected => "the same, sealed, limited, revocations",
            Self::Earlier => "an earlier build, 2,000 sessions",
        }
    }

    /// The bare proxy under the same requests.
    pub(crate) const fn baseline(self) -> Self {
        match self {
            Self::Bare | Self::Public => Self::Bare,
            Self::BareWithCookies | Self::OneToken | Self::ManyTokens | Self::Protected | Self::Earlier => {
                Self::BareWithCookies
            }
        }
    }
}

/// Everything around the proxies.
pub(crate) struct Fixture {
    backend: SocketAddr,
    /// Holds `gateway.toml`.
    directory: TempDir,
    bare: Arc<Vec<Request>>,
    bare_with_cookies: Arc<Vec<Request>>,
    public: Arc<Vec<Request>>,
    one_token: Arc<Vec<Request>>,
    many_tokens: Arc<Vec<Request>>,
    protected: Arc<Vec<Request>>,
}

impl Fixture {
    /// Starts app and identity provider, and makes the tokens.
    pub(crate) fn new(tokens: usize) -> Result<Self, Error> {
        let issuer = Issuer::new("RS256")?;
        let backend = app::start()?;
        let provider = provider::start(&issuer.jwks()?)?;
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join("gateway.toml"), gateway_toml(backend, provider))?;
        std::fs::write(
            directory.path().join("protected.toml"),
            gateway_toml(backend, provider).replace("[server]", &protection()),
        )?;
        let seal = Seal::new(&[SealKey::new(SEAL_KEY)], "store", "__Host-refresh_token").ok_or("no seal")?;
        let now = SystemClock.now();
        let url = format!("http://{provider}");
        let subjects: Vec<String> = (0..tokens).map(|number| format!("user-{number:08}")).collect();
        let sessions = subjects
            .iter()
            .map(|subject| Ok((subject.as_str(), issuer.token(&url, subject, now)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let refresh_token = "0".repeat(64);
        let number = ProviderNumber::of_issuer(&url);
        let authenticated = |subject: &str, token: &str, refresh_token: &str| {
            request("/api/cart", &cookies(token, refresh_token), app::first_line(Some(subject), "theme=dark"))
        };
        let anonymous: Arc<Vec<Request>> = vec![request("/", "", app::first_line(None, ""))].into();
        let (first_subject, first_token) = sessions.first().ok_or("no token")?;
        Ok(Self {
            backend,
            directory,
            bare: Arc::clone(&anonymous),
            bare_with_cookies: vec![request(
                "/api/cart",
                &cookies(first_token, &refresh_token),
                app::first_line(None, &session_cookies(first_token, &refresh_token)),
            )]
            .into(),
            public: anonymous,
            one_token: vec![authenticated(first_subject, first_token, &refresh_token)].into(),
            many_tokens: sessions
                .iter()
                .map(|(subject, token)| authenticated(subject, token, &refresh_token))
                .collect::<Vec<_>>()
                .into(),
            protected: sessions
                .iter()
                .map(|(subject, token)| {
                    let sealed = seal.close(&refresh_token, &record(number, subject, token, now))?;
                    Ok(authenticated(subject, token, &sealed))
                })
                .collect::<Result<Vec<_>, Error>>()?
                .into(),
        })
    }

    /// The requests of a case.
    pub(crate) fn requests(&self, case: Case) -> Arc<dyn Requests> {
        let requests = match case {
            Case::Bare => &self.bare,
            Case::BareWithCookies => &self.bare_with_cookies,
            Case::Public => &self.public,
            Case::OneToken => &self.one_token,
            Case::ManyTokens | Case::Earlier => &self.many_tokens,
            Case::Protected => &self.protected,
        };
        Arc::<Vec<Request>>::clone(requests)
    }

    /// The arguments of the process that serves a case.
    pub(crate) fn role(&self, case: Case) -> [String; 2] {
        match case {
            Case::Bare | Case::BareWithCookies => ["bare".into(), self.backend.to_string()],
            Case::Protected => ["protected".into(), self.file("protected.toml")],
            _ => ["portcullis".into(), self.file("gateway.toml")],
        }
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

/// Returns the record that a login would have sealed.
fn record(provider: ProviderNumber, subject: &str, token: &str, now: u64) -> SessionRecord {
    SessionRecord {
        id: Mark::subject(provider, subject).bytes(),
        subject: Mark::subject(provider, subject),
        access_token: Mark::token(provider, token),
        access_token_expires_at: now + 86_400,
        started_at: now,
        renewed_at: now,
    }
}

fn session_cookies(token: &str, refresh_token: &str) -> String {
    format!("__Host-access_token={token}; __Host-refresh_token={refresh_token}; theme=dark")
}

fn cookies(token: &str, refresh_token: &str) -> String {
    format!("Cookie: {}\r\n", session_cookies(token, refresh_token))
}

fn request(path: &str, cookies: &str, body: String) -> Request {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: store.localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\
         Accept-Encoding: gzip, br\r\n{cookies}\r\n"
    );
    let answer = Answer { status: "HTTP/1.1 200 ", in_head: "", body, body_length: Some(app::BODY_SIZE) };
    Request { bytes: head.into_bytes(), answer }
}

/// The token of the admin listener of [`Case::Protected`].
pub(crate) const ADMIN_TOKEN: &str = "admin token of the benchmark";

/// Returns the text in front of the `[server]` table's keys.
fn protection() -> String {
    let key = STANDARD.encode(SEAL_KEY);
    format!(
        r#"[session]
seal_keys = ["{key}"]
absolute_lifetime = "12h"
idle_lifetime = "30m"

[server]
admin_token = "{ADMIN_TOKEN}"
"#
    )
}

/// One worker thread, as the bare proxy has.
fn gateway_toml(backend: SocketAddr, provider: SocketAddr) -> String {
    format!(
        r#"
[server]
listen = ["127.0.0.1:0"]
admin_listen = "127.0.0.1:0"
worker_threads = 1

[server.log]
level = "error"

[identity_providers.main]
kind = "oauth2"
issuer = "http://{provider}"

{}"#,
        store_toml(&format!("http://{backend}"))
    )
}
