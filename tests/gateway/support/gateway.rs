//! A gateway in this process, and the usual world around it: a provider, the store, the forums.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis::process::{Reloader, Server};
use portcullis::system::clock::{Clock, ManualClock, SystemClock};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::app::App;
use super::certificates::Authority;
use super::client::{Answer, Browser};
use super::names::Names;
use super::provider::Provider;
use super::wire::patiently;

/// The store's host.
pub(crate) const HOST: &str = "store.localhost";
/// The store's cookie with the JWT.
pub(crate) const ACCESS: &str = "__Host-access_token";
/// The store's cookie with the refresh token.
pub(crate) const REFRESH: &str = "__Host-refresh_token";

/// A key that seals cookies.
pub(crate) const SEAL_KEY: &str = "c2VhbCBrZXkgb2YgdGhlIHRlc3RzLCBubyBzZWNyZXQ=";
/// The key that follows it.
pub(crate) const NEXT_SEAL_KEY: &str = "bmV4dCBzZWFsIGtleSBvZiB0aGUgdGVzdHMsIG5vbmU=";
/// The configuration of a gateway that seals cookies with the first key.
pub(crate) const SEALED: &str = "[session]\nseal_keys = ['c2VhbCBrZXkgb2YgdGhlIHRlc3RzLCBubyBzZWNyZXQ=']\n";

/// A gateway on free ports.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// The address of the TLS listener, if there is one.
    pub(crate) tls: Option<SocketAddr>,
    pub(crate) reloader: Reloader,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Gateway {
    /// Starts one from the text of a `gateway.toml`.
    pub(crate) async fn start(toml: &str, clock: Arc<dyn Clock>) -> Self {
        Self::start_with(toml, clock, Arc::new(Names::default())).await
    }

    /// The same with a directory of host names.
    pub(crate) async fn start_with(toml: &str, clock: Arc<dyn Clock>, names: Arc<Names>) -> Self {
        // Shown for the tests that fail; an error means that another test has done it.
        let logs = tracing_subscriber::fmt().with_env_filter("warn,portcullis=debug").with_test_writer();
        let _ = logs.with_ansi(false).try_init();
        let loaded = portcullis::config::parse(toml)
            .unwrap_or_else(|error| panic!("{error}: {:#?}\n{toml}", error.problems));
        let server = Server::bind_with(loaded.config, clock, names).await.expect("free ports");
        let address = *server.addresses().first().expect("one listener");
        let admin = server.admin_address().expect("an admin listener");
        let tls = server.tls_addresses().first().copied();
        let reloader = server.reloader();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let stopped = async move {
                // Sent, or dropped with the test.
                let _ = stopped.await;
            };
            server.run(stopped).await.expect("it takes over from nobody");
        });
        Self { address, admin, tls, reloader, stop: Some(stop), running }
    }

    /// Returns the admin listener's answer.
    pub(crate) async fn admin_get(&self, path: &str) -> Answer {
        Browser::new(self.admin, "localhost").get(path).await
    }

    /// Its metrics, as text.
    pub(crate) async fn metrics(&self) -> String {
        self.admin_get("/metrics").await.text()
    }

    /// Waits until `/readyz` says yes.
    pub(crate) async fn ready(&self) {
        patiently("readiness", async {
            while self.admin_get("/readyz").await.status() != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        patiently("the gateway's end", &mut self.running).await.expect("a clean end");
    }
}

/// Returns the configuration of a store whose app is at this URL. Keys of `[apps.store]` may follow.
pub(crate) fn store_at(url: &str) -> String {
    format!("[apps.store]\nupstreams = ['{url}']\n")
}

/// The provider, two apps, and the gateway between them.
pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) provider: Provider,
    pub(crate) store: App,
    pub(crate) forums: App,
    pub(crate) names: Arc<Names>,
    pub(crate) gateway: Gateway,
    config: toml::Table,
}

/// A world that is not running yet.
pub(crate) struct Builder {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) provider: Provider,
    pub(crate) store: App,
    pub(crate) forums: App,
    pub(crate) names: Arc<Names>,
    config: toml::Table,
}

impl World {
    /// The usual one, ready.
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// The usual one with this TOML laid over its `gateway.toml`, ready.
    pub(crate) async fn with(toml: &str) -> Self {
        Self::builder().await.lay_over(toml).start().await
    }

    /// The same with a TLS listener for the store, and the authority that its clients trust.
    pub(crate) async fn over_tls(toml: &str) -> (Authority, Self) {
        let authority = Authority::for_store();
        let world = Self::with(&format!("{}{toml}", authority.server(&["store"]))).await;
        (authority, world)
    }

    pub(crate) async fn builder() -> Builder {
        Self::builder_before(0).await
    }

    /// One whose time begins so many seconds ago.
    pub(crate) async fn builder_before(seconds: u64) -> Builder {
        let clock = Arc::new(ManualClock::new(SystemClock.now() - seconds));
        let provider = Provider::start(clock.clone()).await;
        let (store, forums) = (App::start("store").await, App::start("forums").await);
        let text = usual_config(&provider.issuer(), &store.url(), &forums.url());
        let config = toml::from_str(&text).expect("valid TOML");
        Builder { clock, provider, store, forums, names: Arc::default(), config }
    }

    /// Returns the time of the provider and the gateway.
    pub(crate) fn provider_now(&self) -> u64 {
        self.clock.now()
    }

    /// A browser at the store.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.gateway.address, "store.localhost")
    }

    /// A browser at the forums.
    pub(crate) fn forums_browser(&self) -> Browser {
        Browser::new(self.gateway.address, "forums.localhost")
    }

    /// A browser that is signed in to the store.
    pub(crate) async fn logged_in(&self, username: &str) -> Browser {
        let mut browser = self.browser();
        browser.log_in(username).await;
        browser
    }

    /// Gives the gateway its first configuration with this TOML laid over it; says what changed.
    pub(crate) async fn reload(&self, toml: &str) -> Vec<String> {
        self.reload_without(toml, |_| {}).await
    }

    /// The same with something taken out.
    pub(crate) async fn reload_without(
        &self,
        toml: &str,
        take: impl FnOnce(&mut toml::Table),
    ) -> Vec<String> {
        let mut config = self.config.clone();
        merge(&mut config, toml::from_str(toml).expect("valid TOML"));
        take(&mut config);
        let text = toml::to_string(&config).expect("serialisable");
        let loaded = portcullis::config::parse(&text)
            .unwrap_or_else(|error| panic!("{error}: {:#?}\n{text}", error.problems));
        let changes = self.gateway.reloader.reload(loaded.config).await.expect("a usable configuration");
        changes.iter().map(ToString::to_string).collect()
    }

    /// Lets every access token of the usual lifetime expire.
    pub(crate) fn expire_access_tokens(&self) {
        self.clock.advance(310);
    }
}

impl Builder {
    /// Lays TOML over the config: tables are merged, everything else replaced.
    pub(crate) fn lay_over(mut self, toml: &str) -> Self {
        let changes: toml::Table = toml::from_str(toml).expect("valid TOML");
        merge(&mut self.config, changes);
        self
    }

    /// The same world with this `gateway.toml`.
    pub(crate) fn replaced_by(mut self, text: &str) -> Self {
        self.config = toml::from_str(text).expect("valid TOML");
        self
    }

    /// Takes a key out of the config.
    pub(crate) fn without(mut self, path: &str) -> Self {
        let (tables, key) = path.rsplit_once('.').expect("a dotted path");
        let mut table = &mut self.config;
        for name in tables.split('.') {
            table = table.get_mut(name).and_then(toml::Value::as_table_mut).expect("a table");
        }
        table.remove(key).expect("a key that is there");
        self
    }

    /// The `gateway.toml` as it stands.
    pub(crate) fn text(&self) -> String {
        toml::to_string(&self.config).expect("serialisable")
    }

    /// Starts the gateway and waits until it is ready.
    pub(crate) async fn start(self) -> World {
        let world = self.start_unready().await;
        world.gateway.ready().await;
        world
    }

    /// Starts the gateway.
    pub(crate) async fn start_unready(self) -> World {
        let text = self.text();
        let Self { clock, provider, store, forums, names, config } = self;
        let gateway = Gateway::start_with(&text, clock.clone(), names.clone()).await;
        World { clock, provider, store, forums, names, gateway, config }
    }
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

fn usual_config(issuer: &str, store: &str, forums: &str) -> String {
    let app = |name: &str, upstream: &str| {
        format!(
            r#"
            [apps.{name}]
            hosts = ["{name}.localhost"]
            upstreams = ["{upstream}"]
            client_id = "{name}"
            client_secret = "{name}-secret"
            audience = "{name}"
            [apps.{name}.login]
            path = "/api/login"
            [apps.{name}.user]
            path = "/api/user"
            claims = ["sub", "email", "name", "preferred_username", "roles"]
            [apps.{name}.logout]
            path = "/api/logout"
            [apps.{name}.identity_headers]
            X-Auth-User = "sub"
            X-Auth-Email = "email"
            X-Auth-Roles = "roles"
            [[apps.{name}.routes]]
            path = "/"
            access = "public"
            [[apps.{name}.routes]]
            path = "/open/*"
            access = "public"
            [[apps.{name}.routes]]
            path = "/either/*"
            access = "optional"
            [[apps.{name}.routes]]
            path = "/api/admin/*"
            access = "required"
            roles = ["admin", "owner"]
            "#
        )
    };
    format!(
        r#"
        [server]
        listen = ["127.0.0.1:0"]
        admin_listen = "127.0.0.1:0"
        worker_threads = 2
        shutdown_grace = "5s"
        [server.limits]
        verified_tokens = 1024 # the default table takes long to drop, once for every test
        [identity_providers.main]
        kind = "oauth2"
        issuer = "{issuer}"
        scope = "openid offline_access"
        algorithms = ["RS256", "ES256", "EdDSA"]
        {}{}"#,
        app("store", store),
        app("forums", forums)
    )
}
