//! An identity provider on 127.0.0.1 that answers as it is told, and remembers what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response};
use tokio::net::TcpListener;

use crate::config;
use crate::config::Secret;
use crate::identity_provider::testing::config as provider_config;
use crate::identity_provider::{Client, Credentials, IdentityProvider};

/// A public Ed25519 key as a JWK without `kid` (RFC 8037 appendix A.2).
pub(crate) const JWK: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

type Script = Box<dyn Fn() -> Response<Body> + Send>;

#[derive(Default)]
struct Shared {
    scripts: Mutex<HashMap<String, Script>>,
    seen: Mutex<Vec<Seen>>,
}

/// A request that the server got.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The server; it stops with the test's runtime.
pub(crate) struct Server {
    pub(crate) base: String,
    shared: Arc<Shared>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let shared = Arc::<Shared>::default();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(handle).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base, shared }
    }

    /// A server with metadata and a JWKS, and a provider that uses it.
    pub(crate) async fn with_provider() -> (Self, Arc<IdentityProvider>) {
        let server = Self::start().await;
        server.publish_metadata();
        server.publish_keys(&[JWK]);
        let provider = provider(&provider_config(&server.base));
        (server, provider)
    }

    pub(crate) fn script(&self, path: &str, script: impl Fn() -> Response<Body> + Send + 'static) {
        self.shared.scripts.lock().unwrap().insert(path.to_owned(), Box::new(script));
    }

    pub(crate) fn answer(&self, path: &str, status: u16, body: &str) {
        let body = body.to_owned();
        self.script(path, move || json(status, body.clone()));
    }

    pub(crate) fn publish_metadata(&self) {
        let base = &self.base;
        let metadata = serde_json::json!({
            "issuer": base,
            "token_endpoint": format!("{base}/token"),
            "revocation_endpoint": format!("{base}/revoke"),
            "end_session_endpoint": format!("{base}/logout"),
            "jwks_uri": format!("{base}/jwks"),
        });
        self.answer("/.well-known/openid-configuration", 200, &metadata.to_string());
    }

    pub(crate) fn publish_keys(&self, keys: &[&str]) {
        self.answer("/jwks", 200, &format!(r#"{{"keys":[{}]}}"#, keys.join(",")));
    }

    /// What was asked under `path` so far.
    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().iter().filter(|seen| seen.path == path).cloned().collect()
    }
}

pub(crate) fn json(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json;charset=UTF-8")
        .body(body.into())
        .unwrap()
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let seen = Seen {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: axum::body::to_bytes(body, 1024 * 1024).await.unwrap(),
    };
    let path = seen.path.clone();
    shared.seen.lock().unwrap().push(seen);
    shared.scripts.lock().unwrap().get(&path).map_or_else(|| json(404, Body::empty()), |script| script())
}

pub(crate) fn provider(config: &config::IdentityProvider) -> Arc<IdentityProvider> {
    Arc::new(IdentityProvider::new(config).unwrap())
}

pub(crate) fn client() -> Client {
    Client { id: String::from("store"), secret: Some(Secret::new("p+q%2Fr:s")), parameters: Vec::new() }
}

pub(crate) fn credentials(username: &str, password: &str) -> Credentials {
    Credentials { username: username.into(), password: password.into() }
}

/// Waits, generously, until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect(what);
}
