//! The state that every request reads: the apps by host, and the data that they share. `process/build.rs` builds it
//! from a configuration. Another configuration makes another state.

use std::collections::HashMap;
use std::sync::{Arc, Once};

use arc_swap::ArcSwap;
use http::HeaderValue;
use ipnet::IpNet;
use tracing::warn;

use crate::access::app_rules::{AppRules, Knowledge};
use crate::access::numbers::ProviderNumber;
use crate::access::revocations::Record;
use crate::access::routes::Route;
use crate::access::session_tables::SessionTables;
use crate::config::{self, Config};
use crate::gateway::open_streams::OpenStreams;
use crate::identity_provider::{IdentityProvider, Webhook};
use crate::session::{CookieWriter, RelyingParty, Sessions};
use crate::syntax::authority::Authority;
use crate::system::clock::Clock;
use crate::telemetry::metrics::AppMetrics;
use crate::telemetry::traces::Traces;
use crate::upstream::Upstreams;

/// The state of a running gateway.
#[derive(Debug)]
pub struct State {
    /// Every app, in the configuration's order.
    pub apps: Vec<Arc<App>>,
    /// Every provider, in the configuration's order.
    pub providers: Vec<Arc<IdentityProvider>>,
    /// The logins, refreshes and logouts.
    pub sessions: Sessions,
    /// Peers whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `[server.limits]`.
    pub limits: config::Limits,
    /// Says which requests are logged.
    pub(crate) access_log: config::AccessLog,
    /// OpenTelemetry traces. `None` if they are off.
    pub(crate) traces: Option<Arc<Traces>>,
    /// The open WebSockets and event streams.
    pub(crate) open_streams: Arc<OpenStreams>,
    /// The numbers of the providers, by which revocations name them.
    pub(crate) provider_numbers: Vec<ProviderNumber>,
    /// The token that the caller of an administrative request must show.
    pub(crate) admin_token: Option<config::Secret>,
    /// The host names that requests to the admin listener use.
    pub(crate) admin_hosts: Vec<String>,
    /// The port to which requests without TLS are redirected, with `https`.
    pub(crate) redirect_port: Option<u16>,
    /// `Strict-Transport-Security` for answers over TLS.
    pub(crate) hsts: Option<HeaderValue>,
    by_host: HashMap<String, usize>,
    memory: Arc<SessionTables>,
    clock: Arc<dyn Clock>,
    refresh_ahead: u64,
}

/// The state for new requests. A request keeps the state that it began with.
#[derive(Debug)]
pub struct CurrentState(ArcSwap<State>);

impl CurrentState {
    /// Begins with this state.
    pub fn new(state: Arc<State>) -> Self {
        Self(ArcSwap::new(state))
    }

    /// Returns the current state without a lock.
    pub fn load(&self) -> Arc<State> {
        self.0.load_full()
    }

    /// Replaces the state at once for all new requests.
    pub(crate) fn store(&self, state: Arc<State>) {
        self.0.store(state);
    }
}

/// The parts of a state that outlive a configuration or are taken over from the state before it.
pub(crate) struct Parts {
    /// Every app, in the configuration's order.
    pub(crate) apps: Vec<Arc<App>>,
    /// Every provider, in the configuration's order.
    pub(crate) providers: Vec<Arc<IdentityProvider>>,
    /// Logins, refreshes, logouts.
    pub(crate) sessions: Sessions,
    /// OpenTelemetry traces. `None` if they are off.
    pub(crate) traces: Option<Arc<Traces>>,
    /// The open streams, shared by all states of a process.
    pub(crate) open_streams: Arc<OpenStreams>,
    /// The same for all states of a process.
    pub(crate) memory: Arc<SessionTables>,
    /// The same for all states of a process.
    pub(crate) clock: Arc<dyn Clock>,
}

/// One app at run time.
#[derive(Debug)]
pub struct App {
    /// Its name, for logs.
    pub name: String,
    /// The rules of its sessions, its client and its provider.
    pub relying_party: Arc<RelyingParty>,
    /// Reads the events of its provider's webhook; `None`: it takes none.
    pub(crate) webhook: Option<Box<dyn Webhook>>,
    /// Writes its cookies.
    pub cookies: CookieWriter,
    /// Its hosts, sorted.
    pub(crate) hosts: Vec<String>,
    /// Its addresses.
    pub(crate) upstreams: Arc<Upstreams>,
    /// The fields of its login form.
    pub login: config::Login,
    /// Its time-outs.
    pub timeouts: config::Timeouts,
    /// Tells whether it receives the JWT.
    pub forward_access_token: bool,
    /// The metrics of its requests.
    pub(crate) metrics: AppMetrics,
    duplicate_cookies: Once,
    logins_over_http: Once,
    routes: Vec<String>,
}

impl App {
    /// Makes an app with its settings.
    pub(crate) fn new(
        settings: &config::App,
        relying_party: Arc<RelyingParty>,
        upstreams: Arc<Upstreams>,
    ) -> Self {
        let mut hosts = settings.hosts.clone();
        hosts.sort_unstable();
        Self {
            name: settings.name.clone(),
            webhook: relying_party.provider.webhook(settings),
            relying_party,
            cookies: CookieWriter::new(settings.cookies.clone()),
            hosts,
            upstreams,
            login: settings.login.clone(),
            timeouts: settings.timeouts.clone(),
            forward_access_token: settings.forward_access_token,
            metrics: AppMetrics::new(&settings.name, Route::count(settings.routes.len())),
            duplicate_cookies: Once::new(),
            logins_over_http: Once::new(),
            routes: settings.routes.iter().map(|route| route.path.to_string()).collect(),
        }
    }

    /// Returns the name of a route in logs and metrics: its pattern in the configuration, or the name of one of our
    /// endpoints.
    pub(crate) fn route(&self, route: Route) -> &str {
        match route {
            Route::Unmatched => "-",
            Route::Own(endpoint) => endpoint.rules().name,
            Route::OfApp(place) => self.routes.get(place).map_or("-", String::as_str),
        }
    }

    /// Returns the number of the app's routes in the configuration.
    pub(crate) fn configured_routes(&self) -> usize {
        self.routes.len()
    }

    /// Warns once that a session cookie came twice.
    pub(crate) fn warn_of_duplicate_cookies(&self) {
        self.duplicate_cookies.call_once(|| {
            warn!(
                app = self.name,
                "a session cookie came twice and is cleared: was `cookies.domain` changed, or does a sibling host set it?"
            );
        });
    }

    /// Warns once that somebody has logged in with a browser that drops the cookies.
    pub(crate) fn warn_of_login_over_http(&self, host: &str) {
        self.logins_over_http.call_once(|| {
            warn!(
                app = self.name,
                host,
                "a login came by plain http, where browsers keep no `Secure` cookies: it was answered with 200, and the next \
                 request has no session. Use https (`server.listen_tls`); or list the proxy that ends TLS in \
                 `server.trusted_proxies`, and let it send `X-Forwarded-Proto: https`; or, for development, take a \
                 `localhost` name"
            );
        });
    }

    /// Returns the rules for decisions about the app.
    pub fn rules(&self) -> &AppRules {
        &self.relying_party.rules
    }
}

impl State {
    /// Makes a state of these parts, with the settings that requests read.
    pub(crate) fn new(config: &Config, parts: Parts) -> Self {
        let Parts { apps, providers, sessions, traces, open_streams, memory, clock } = parts;
        let tls = config.server.tls.as_ref();
        let hsts = tls.and_then(|tls| tls.hsts).map(|age| format!("max-age={}", age.as_secs()));
        Self {
            by_host: by_host(&apps),
            apps,
            providers,
            provider_numbers: config
                .identity_providers
                .iter()
                .map(|provider| ProviderNumber::of_issuer(&provider.issuer))
                .collect(),
            sessions,
            trusted_proxies: config.server.trusted_proxies.clone(),
            limits: config.server.limits.clone(),
            admin_token: config.server.admin_token.clone(),
            admin_hosts: config.server.admin_hosts.clone(),
            open_streams,
            access_log: config.server.log.access,
            traces,
            redirect_port: tls.and_then(|tls| tls.redirect_port),
            hsts: hsts.and_then(|value| HeaderValue::try_from(value).ok()),
            memory,
            clock,
            refresh_ahead: config.refresh.ahead.as_secs(),
        }
    }

    /// Returns the app of a `Host` field. The comparison ignores the port, the case and the final dot of an absolute
    /// name.
    pub fn app(&self, host: &str) -> Option<&Arc<App>> {
        let index = self.by_host.get(Authority::parse(host.as_bytes())?.name())?;
        self.apps.get(*index)
    }

    /// The memory that all states of a process share.
    pub(crate) fn memory(&self) -> &Arc<SessionTables> {
        &self.memory
    }

    /// Adds revocations that another process knows.
    pub(crate) fn take_revocations(&self, records: &[Record]) {
        self.memory.revocations.take(records, self.now());
    }

    /// Returns the time in Unix seconds.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Calls `then` with the current knowledge, for a decision about an app.
    pub(crate) fn with_knowledge<T>(
        &self,
        app: &App,
        keys_are_fresh: bool,
        then: impl FnOnce(&Knowledge<'_>) -> T,
    ) -> T {
        // This order is safe: if newer keys are used with an older number, the only effect is one more verification.
        let keys_now = app.relying_party.provider.key_set_generation();
        // A token that was verified with other rules, or with another provider's keys, is verified once more.
        let key_generation = (app.rules().generation << 32).wrapping_add(keys_now);
        let keys = app.relying_party.provider.key_set();
        then(&Knowledge {
            keys: &keys,
            key_generation,
            memory: &self.memory,
            now: self.clock.now(),
            refresh_ahead: self.refresh_ahead,
            keys_are_fresh,
        })
    }
}

/// Returns the index of the app for each host.
fn by_host(apps: &[Arc<App>]) -> HashMap<String, usize> {
    let apps = apps.iter().enumerate();
    apps.flat_map(|(index, app)| app.hosts.iter().map(move |host| (host.clone(), index))).collect()
}
