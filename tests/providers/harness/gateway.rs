//! The gateway in this process, in front of an app that answers with what it received.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use axum::{Json, Router, http::request::Parts};
use portcullis::process::Server;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::{Browser, eventually};

/// The settings of `gateway.toml` beyond the defaults.
pub(crate) struct Setup {
    issuer: String,
    provider: String,
    apps: Vec<App>,
}

/// One `[apps.NAME]`, with the host `NAME.localhost`.
pub(crate) struct App {
    name: &'static str,
    client_id: &'static str,
    client_secret: Option<&'static str>,
    settings: String,
    admin_role: &'static str,
}

/// A gateway that runs until it is dropped.
pub(crate) struct Gateway {
    address: SocketAddr,
    admin: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Setup {
    /// One identity provider, no app yet.
    pub(crate) fn new(issuer: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), provider: String::new(), apps: Vec::new() }
    }

    /// Adds lines to `[identity_providers.main]`.
    pub(crate) fn provider(mut self, lines: &str) -> Self {
        self.provider.push_str(lines);
        self.provider.push('\n');
        self
    }

    /// Adds an app.
    pub(crate) fn app(mut self, app: App) -> Self {
        self.apps.push(app);
        self
    }

    /// Starts the gateway, and an app behind it.
    pub(crate) async fn start(self) -> Gateway {
        // What the gateway logs belongs to a failed test's output.
        let _ = tracing_subscriber::fmt().with_env_filter("portcullis=info").with_test_writer().try_init();
        let text = self.toml(start_app().await);
        let loaded = portcullis::config::parse(&text).unwrap_or_else(|error| panic!("{error:#?} in\n{text}"));
        let server = Server::bind(loaded.config).await.expect("free ports");
        let address = *server.addresses().first().expect("a listener");
        let admin = server.admin_address().expect("an admin listener");
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        Gateway { address, admin, _stop: stop }
    }

    fn toml(&self, upstream: SocketAddr) -> String {
        let mut text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin_listen = \"127.0.0.1:0\"\nworker_threads = 2\n\n\
             [identity_providers.main]\nkind = \"oauth2\"\nissuer = {}\nleeway = \"1s\"\n{}",
            quoted(&self.issuer),
            self.provider
        );
        for app in &self.apps {
            app.write(&mut text, upstream);
        }
        text
    }
}

impl App {
    /// An app whose client authenticates with this secret.
    pub(crate) fn new(
        name: &'static str,
        client_id: &'static str,
        client_secret: Option<&'static str>,
    ) -> Self {
        Self { name, client_id, client_secret, settings: String::new(), admin_role: "admin" }
    }

    /// Adds lines to `[apps.NAME]`.
    pub(crate) fn settings(mut self, lines: &str) -> Self {
        self.settings.push_str(lines);
        self.settings.push('\n');
        self
    }

    /// The role that `/api/admin/*` asks for; default: `admin`.
    pub(crate) fn admin_role(mut self, role: &'static str) -> Self {
        self.admin_role = role;
        self
    }

    fn write(&self, text: &mut String, upstream: SocketAddr) {
        let Self { name, client_id, settings, admin_role, .. } = self;
        let secret =
            self.client_secret.map_or_else(String::new, |it| format!("client_secret = {}\n", quoted(it)));
        write!(
            text,
            r#"
[apps.{name}]
hosts = ["{name}.localhost"]
upstreams = ["http://{upstream}"]
client_id = "{client_id}"
{secret}{settings}
[apps.{name}.identity_headers]
X-Auth-User = "sub"
X-Auth-Email = "email"
X-Auth-Roles = "roles"

[[apps.{name}.routes]]
path = "/"
access = "public"

[[apps.{name}.routes]]
path = "/api/admin/*"
access = "required"
roles = ["{admin_role}"]
"#
        )
        .expect("a string takes everything");
    }
}

impl Gateway {
    /// A browser without cookies that looks at this app.
    pub(crate) fn browser(&self, app: &str) -> Browser {
        Browser::new(self.address, format!("{app}.localhost"))
    }

    /// Waits until `/readyz` says ready.
    pub(crate) async fn ready(&self) {
        let ready = || async { (self.readiness().await == 200).then_some(()) };
        eventually("the gateway is ready", Duration::from_secs(30), ready).await;
    }

    /// The status of `/readyz`.
    pub(crate) async fn readiness(&self) -> u16 {
        let http = reqwest::Client::builder().build().expect("an HTTP client");
        let answer = http.get(format!("http://{}/readyz", self.admin)).send().await.expect("an answer");
        answer.status().as_u16()
    }
}

/// An app that echoes the head of each request as JSON; its address.
async fn start_app() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    let app = Router::new().fallback(echo);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn echo(head: Parts) -> Json<Value> {
    let mut headers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in &head.headers {
        headers
            .entry(name.as_str())
            .or_default()
            .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    Json(json!({ "method": head.method.as_str(), "target": head.uri.to_string(), "headers": headers }))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
