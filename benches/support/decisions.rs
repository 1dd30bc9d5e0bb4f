//! Decisions without a server: rules, keys and a request with a session, prepared.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use portcullis::access::decision::{AppRules, Knowledge, RequestHead};
use portcullis::access::key_set::KeySet;
use portcullis::access::session_tables::SessionTables;

use crate::issuer::{Error, Issuer};
use crate::store::store_toml;

const ISSUER_URL: &str = "http://127.0.0.1:9000";

/// The time of all decisions here: when the token was issued.
const NOW: u64 = 1_800_000_000;

/// All that a decision is made from.
pub(crate) struct Prepared {
    /// The app's.
    pub(crate) rules: AppRules,
    /// The provider's.
    pub(crate) keys: KeySet,
    /// Empty at first.
    pub(crate) memory: SessionTables,
    /// Those of a browser with that session.
    pub(crate) headers: HeaderMap,
}

impl Prepared {
    /// With a token of this issuer.
    pub(crate) fn new(issuer: &Issuer) -> Result<Self, Error> {
        let config = portcullis::config::parse(&gateway_toml())?.config;
        let app = config.apps.first().ok_or("no app")?;
        let provider = config.identity_providers.first().ok_or("no provider")?;
        let jwks = issuer.jwks()?.to_string();
        let token = issuer.token(ISSUER_URL, "user-00000001", NOW)?;
        Ok(Self {
            rules: AppRules::new(app, provider, &config.session),
            keys: KeySet::from_jwks(jwks.as_bytes(), &provider.algorithms)?,
            memory: SessionTables::new(1024, NOW),
            headers: headers(&token)?,
        })
    }

    /// The request.
    pub(crate) fn request(&self) -> RequestHead<'_> {
        RequestHead {
            method: &Method::GET,
            path: "/api/cart/items/17",
            host: "store.localhost",
            headers: &self.headers,
            websocket: false,
        }
    }

    /// Returns what the gateway knows at the time.
    pub(crate) fn known(&self) -> Knowledge<'_> {
        Knowledge {
            keys: &self.keys,
            key_generation: 1,
            memory: &self.memory,
            now: NOW,
            refresh_ahead: 30,
            keys_are_fresh: false,
        }
    }
}

fn headers(token: &str) -> Result<HeaderMap, Error> {
    let refresh_token = "0".repeat(64);
    let cookies = format!(
        "theme=dark; __Host-access_token={token}; __Host-refresh_token={refresh_token}; _ga=GA1.1.1234567890.1234567890"
    );
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("store.localhost"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64)"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(HeaderName::from_static("sec-fetch-site"), HeaderValue::from_static("same-origin"));
    headers.insert(header::COOKIE, HeaderValue::from_str(&cookies)?);
    Ok(headers)
}

fn gateway_toml() -> String {
    format!(
        r#"
[server]
listen = ["127.0.0.1:0"]

[identity_providers.main]
kind = "oauth2"
issuer = "{ISSUER_URL}"
algorithms = ["RS256", "ES256", "EdDSA"]

{}
[[apps.store.routes]]
path = "/assets/*"
access = "public"

[[apps.store.routes]]
path = "/api/admin/*"
roles = ["admin"]
"#,
        store_toml("http://127.0.0.1:3001")
    )
}
