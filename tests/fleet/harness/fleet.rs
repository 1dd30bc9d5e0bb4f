//! A provider, an app, and the replicas between them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use portcullis::system::clock::{Clock, SystemClock};

use super::replica::{HOST, Replica};
use crate::support::app::App;
use crate::support::provider::Provider;
use crate::support::{Browser, Endpoint, Reply, Request};

/// A key of `shared_state.keys`.
pub(crate) const KEY: &str = "a2V5IG9mIHRoZSB0ZXN0ZWQgZmxlZXQsIG5vIHNlY3I=";
/// Another one.
pub(crate) const OTHER_KEY: &str = "YW5vdGhlciBrZXkgb2YgdGhlIHRlc3RlZCBmbGVldCE=";
/// Seals the cookies.
const SEAL_KEY: &str = "c2VhbCBrZXkgb2YgdGhlIHRlc3RzLCBubyBzZWNyZXQ=";
/// The token of the admin listener.
pub(crate) const ADMIN_TOKEN: &str = "an admin token of the tests";

/// A fleet that is not running yet.
pub(crate) struct Plan {
    pub(crate) provider: Provider,
    store: App,
    config: toml::Table,
}

impl Plan {
    /// Replicas that share nothing. The provider's JWTs live for 4 s.
    pub(crate) async fn alone() -> Self {
        let provider = Provider::start(Arc::new(SystemClock)).await;
        provider.set(|settings| settings.lifetime = 4);
        let store = App::start("store").await;
        store.on(super::socket::PATH, Reply::after(50, Reply::WebSocket));
        let config = toml::from_str(&config(&provider.issuer(), &store.url())).expect("valid TOML");
        Self { provider, store, config }
    }

    /// Replicas that share an engine.
    pub(crate) async fn shared(url: &str) -> Self {
        let table = format!("[shared_state]\nurl = '{url}'\nkeys = ['{KEY}']\nsettle = '2s'\n");
        Self::alone().await.lay_over(&table)
    }

    /// Lays TOML over the configuration: tables are merged, everything else is replaced.
    pub(crate) fn lay_over(mut self, toml: &str) -> Self {
        merge(&mut self.config, toml::from_str(toml).expect("valid TOML"));
        self
    }

    /// Starts three replicas, and waits until they are ready.
    pub(crate) async fn start(self) -> Fleet {
        let mut fleet = self.launch(3);
        fleet.ready().await;
        fleet
    }

    /// Starts replicas.
    pub(crate) fn launch(self, count: usize) -> Fleet {
        let Self { provider, store, config } = self;
        let replicas = (0..count).map(|_| Replica::start(config.clone())).collect();
        Fleet { provider, _store: store, config, replicas }
    }
}

/// A running fleet.
pub(crate) struct Fleet {
    pub(crate) provider: Provider,
    _store: App,
    config: toml::Table,
    pub(crate) replicas: Vec<Replica>,
}

impl Fleet {
    /// The usual one: three replicas that share an engine.
    pub(crate) async fn start(url: &str) -> Self {
        Plan::shared(url).await.start().await
    }

    /// The same with this TOML laid over the configuration.
    pub(crate) async fn with(url: &str, toml: &str) -> Self {
        Plan::shared(url).await.lay_over(toml).start().await
    }

    /// Waits until all replicas are ready.
    pub(crate) async fn ready(&mut self) {
        for replica in &mut self.replicas {
            replica.ready().await;
        }
    }

    /// Starts one more replica, with this TOML laid over the configuration.
    pub(crate) fn newcomer(&self, toml: &str) -> Replica {
        let mut config = self.config.clone();
        merge(&mut config, toml::from_str(toml).expect("valid TOML"));
        Replica::start(config)
    }

    /// The addresses of all replicas.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(Replica::address).collect()
    }

    /// A browser that has signed in at a replica, and uses this one.
    pub(crate) async fn logged_in(&self, replica: usize, username: &str) -> Browser {
        let mut browser = self.replicas[replica].browser();
        browser.log_in(username).await;
        browser
    }

    /// Another tab of a browser, whose requests go to this replica.
    pub(crate) fn tab(&self, browser: &Browser, replica: usize) -> Browser {
        let mut tab = Browser::new(self.replicas[replica].address(), HOST);
        tab.jar.clone_from(&browser.jar);
        tab
    }

    /// Waits until the access token of a browser has expired.
    pub(crate) async fn expired(&self, browser: &Browser) {
        let expires = claim(&browser.jar[super::load::ACCESS], "exp");
        while SystemClock.now() <= expires {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Ends all sessions of a subject at the admin listener of a replica.
    pub(crate) async fn revoke(&self, replica: usize, subject: &str) {
        let request =
            Request::post("/sessions/revoke").header("Authorization", &format!("Bearer {ADMIN_TOKEN}"));
        let request = request.json(&serde_json::json!({ "sub": subject }));
        self.replicas[replica].operator().send(request).await.assert_status(204);
    }

    /// The number of refresh calls.
    pub(crate) fn calls(&self) -> usize {
        self.provider.count(Endpoint::Refresh)
    }

    /// Fails the test if a refresh token came to the provider more than once.
    pub(crate) fn assert_each_token_came_once(&self) {
        let mut counts = HashMap::<String, usize>::new();
        for call in self.provider.calls(Endpoint::Refresh) {
            *counts.entry(call.field("refresh_token").expect("a token").to_owned()).or_default() += 1;
        }
        counts.retain(|_, count| *count > 1);
        assert!(counts.is_empty(), "these came more than once: {counts:?}");
        assert_eq!(self.provider.reuses(), 0);
    }
}

/// A number in the claims of a JWT.
pub(crate) fn claim(jwt: &str, name: &str) -> u64 {
    use base64::Engine;
    let claims = jwt.split('.').nth(1).expect("a JWT");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    let claims: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    claims[name].as_u64().expect("a number")
}

fn merge(target: &mut toml::Table, changes: toml::Table) {
    for (name, change) in changes {
        match (target.get_mut(&name), change) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(change)) => merge(inner, change),
            (_, change) => {
                target.insert(name, change);
            }
        }
    }
}

fn config(issuer: &str, store: &str) -> String {
    format!(
        r#"
        [server]
        worker_threads = 2
        admin_token = "{ADMIN_TOKEN}"
        upgrade_socket = "upgrade.sock"
        [server.limits]
        verified_tokens = 1024
        [session]
        seal_keys = ["{SEAL_KEY}"]
        [identity_providers.main]
        issuer = "{issuer}"
        leeway = "0s"
        [apps.store]
        hosts = ["{HOST}"]
        upstreams = ["{store}"]
        client_id = "store"
        client_secret = "store-secret"
        [apps.store.backchannel_logout]
        path = "/api/backchannel-logout"
        "#
    )
}
