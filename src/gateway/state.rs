//! What every request looks up: the apps by host, and what they share. Built from a configuration, then only read; another
//! configuration makes another state.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};

use arc_swap::ArcSwap;
use http::HeaderValue;
use ipnet::IpNet;
use tracing::warn;

use crate::access::app_rules::{AppRules, Knowledge};
use crate::access::memory::Memory;
use crate::access::numbers;
use crate::access::revocations::Record;
use crate::access::routes::Route;
use crate::config::{self, Config};
use crate::gateway::open_streams::OpenStreams;
use crate::gateway::reload_status::{ProcessStatus, ReloadStatus};
use crate::identity_provider::{Client, IdentityProvider, SetupError};
use crate::session::{CookieWriter, ProviderCalls, RelyingParty, Sessions};
use crate::syntax::authority::Authority;
use crate::system::clock::Clock;
use crate::system::name_lookup::Lookup;
use crate::telemetry::metrics::{self, AppMetrics};
use crate::telemetry::traces::Traces;
use crate::upstream::{Names, Upstreams};

/// The state of a running gateway.
#[derive(Debug)]
pub struct State {
    /// Every app, in the configuration's order.
    pub apps: Vec<Arc<App>>,
    /// Every provider, in the configuration's order.
    pub providers: Vec<Arc<IdentityProvider>>,
    /// Logins, refreshes, logouts.
    pub sessions: Sessions,
    /// Peers whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `[server.limits]`.
    pub limits: config::Limits,
    /// Which requests are logged.
    pub(crate) access_log: config::AccessLog,
    /// OpenTelemetry traces; `None`: they are off.
    pub(crate) traces: Option<Arc<Traces>>,
    /// WebSockets and event streams.
    pub(crate) open_streams: Arc<OpenStreams>,
    /// Numbers of the providers, by which revocations name them.
    pub(crate) provider_numbers: Vec<usize>,
    /// What the caller of an administrative request must show.
    pub(crate) admin_token: Option<config::Secret>,
    /// By which names the admin listener is asked.
    pub(crate) admin_hosts: Vec<String>,
    /// What is the same for all states of the process.
    pub(crate) status: Arc<ProcessStatus>,
    /// Which configuration this is, counted from 1.
    generation: u64,
    outline: config::Outline,
    /// `https` at this port is where requests without TLS belong.
    pub(crate) redirect_port: Option<u16>,
    /// `Strict-Transport-Security` for answers over TLS.
    pub(crate) hsts: Option<HeaderValue>,
    by_host: HashMap<String, usize>,
    memory: Arc<Memory>,
    clock: Arc<dyn Clock>,
    names: Arc<Names>,
    refresh_ahead: u64,
}

/// The state for new requests. A request keeps the one that it began with.
#[derive(Debug)]
pub struct CurrentState(ArcSwap<State>);

impl CurrentState {
    /// Begins with this one.
    pub fn new(state: Arc<State>) -> Self {
        Self(ArcSwap::new(state))
    }

    /// The state now: no lock.
    pub fn load(&self) -> Arc<State> {
        self.0.load_full()
    }

    /// Replaces it at once for all requests that come.
    pub(crate) fn store(&self, state: Arc<State>) {
        self.0.store(state);
    }
}

/// One app at run time.
#[derive(Debug)]
pub struct App {
    /// Its name, for logs.
    pub name: String,
    /// Its sessions' rules, client and provider.
    pub relying_party: Arc<RelyingParty>,
    /// Writes its cookies.
    pub cookies: CookieWriter,
    /// Its addresses.
    pub(crate) upstreams: Arc<Upstreams>,
    /// Its login form's fields.
    pub login: config::Login,
    /// Its time-outs.
    pub timeouts: config::Timeouts,
    /// Whether it receives the JWT.
    pub forward_access_token: bool,
    /// What its requests count.
    pub(crate) metrics: AppMetrics,
    duplicate_cookies: Once,
    logins_over_http: Once,
    routes: Vec<String>,
}

impl App {
    /// The name of a route in logs and metrics: its pattern in the configuration, or the name of an endpoint of ours.
    pub(crate) fn route(&self, route: Route) -> &str {
        match route {
            Route::Unmatched => "-",
            Route::Own(endpoint) => endpoint.rules().name,
            Route::OfApp(place) => self.routes.get(place).map_or("-", String::as_str),
        }
    }

    /// How many routes the configuration has for it.
    pub(crate) fn configured_routes(&self) -> usize {
        self.routes.len()
    }

    /// Says once that a session cookie came twice.
    pub(crate) fn warn_of_duplicate_cookies(&self) {
        self.duplicate_cookies.call_once(|| {
            warn!(
                app = self.name,
                "a session cookie came twice and is cleared: was `cookies.domain` changed, or does a sibling host set it?"
            );
        });
    }

    /// Says once that somebody has logged in whose browser drops the cookies.
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

    /// What decisions about it need.
    pub fn rules(&self) -> &AppRules {
        &self.relying_party.rules
    }
}

impl State {
    /// Builds the state; makes no connection.
    pub fn new(config: &Config, clock: Arc<dyn Clock>, lookup: Arc<dyn Lookup>) -> Result<Self, SetupError> {
        let memory = Arc::new(Memory::new(config.server.limits.verified_tokens, clock.now()));
        let status = Arc::new(ProcessStatus::default());
        status.reload.store(Arc::new(ReloadStatus {
            generation: 1,
            loaded_at: clock.now(),
            ..ReloadStatus::default()
        }));
        let sessions = Sessions::new(Arc::clone(&clock), Arc::clone(&memory), config);
        let names = Arc::new(Names::new(lookup));
        let shared = Shared { memory, clock, names, open_streams: Arc::default(), status };
        Self::build(config, 1, || sessions, shared, None)
    }

    /// The state after this one. What is remembered of sessions goes on, and so does everything whose settings did not
    /// change; makes no connection.
    pub(crate) fn next(&self, config: &Config) -> Result<Self, SetupError> {
        let sessions = || self.sessions.with_settings(config);
        let shared = Shared {
            memory: Arc::clone(&self.memory),
            clock: Arc::clone(&self.clock),
            names: Arc::clone(&self.names),
            open_streams: Arc::clone(&self.open_streams),
            status: Arc::clone(&self.status),
        };
        Self::build(config, self.generation + 1, sessions, shared, Some(self))
    }

    fn build(
        config: &Config,
        generation: u64,
        sessions: impl FnOnce() -> Sessions,
        shared: Shared,
        before: Option<&Self>,
    ) -> Result<Self, SetupError> {
        let builder = Builder { config, before, names: &shared.names };
        let mut calls = Calls::new();
        let providers = config
            .identity_providers
            .iter()
            .map(|settings| builder.provider(settings, &mut calls))
            .collect::<Result<Vec<_>, _>>()?;
        let mut apps = Vec::with_capacity(config.apps.len());
        let mut by_host = HashMap::new();
        for app in &config.apps {
            // A valid configuration refers to a provider that there is.
            let settings = config.identity_providers.get(app.identity_provider);
            let Some((settings, provider)) = settings.zip(providers.get(app.identity_provider)) else {
                continue;
            };
            by_host.extend(app.hosts.iter().map(|host| (host.clone(), apps.len())));
            apps.push(builder.app(app, settings, provider));
        }
        metrics::config_was_taken(shared.clock.now());
        let tls = config.server.tls.as_ref();
        let hsts = tls.and_then(|tls| tls.hsts).map(|age| format!("max-age={}", age.as_secs()));
        let numbers = config.identity_providers.iter().map(numbers::of_provider);
        let traces = builder.traces()?;
        let Shared { memory, clock, names, open_streams, status } = shared;
        Ok(Self {
            apps,
            providers: providers.into_iter().map(|(provider, _)| provider).collect(),
            provider_numbers: numbers.collect(),
            sessions: sessions(),
            trusted_proxies: config.server.trusted_proxies.clone(),
            limits: config.server.limits.clone(),
            admin_token: config.server.admin_token.clone(),
            admin_hosts: config.server.admin_hosts.clone(),
            open_streams,
            status,
            generation,
            outline: config.outline.clone(),
            access_log: config.server.log.access,
            traces,
            redirect_port: tls.and_then(|tls| tls.redirect_port),
            hsts: hsts.and_then(|value| HeaderValue::try_from(value).ok()),
            by_host,
            memory,
            clock,
            names,
            refresh_ahead: config.refresh.ahead.as_secs(),
        })
    }

    /// The hosts of each app, sorted; in the order of `apps`.
    pub(crate) fn hosts(&self) -> Vec<Vec<&str>> {
        let mut hosts = vec![Vec::new(); self.apps.len()];
        for (host, app) in &self.by_host {
            if let Some(hosts) = hosts.get_mut(*app) {
                hosts.push(host.as_str());
            }
        }
        for hosts in &mut hosts {
            hosts.sort_unstable();
        }
        hosts
    }

    /// Which configuration it was built from, counted from 1.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// How the configuration came to be what it is.
    pub fn reload_status(&self) -> Arc<ReloadStatus> {
        self.status.reload.load_full()
    }

    /// Changes that.
    pub(crate) fn set_reload_status(&self, status: ReloadStatus) {
        self.status.reload.store(Arc::new(status));
    }

    /// The app of a `Host` header: compared without port, case and the dot of an absolute name.
    pub fn app(&self, host: &str) -> Option<&Arc<App>> {
        let index = self.by_host.get(Authority::parse(host.as_bytes())?.name())?;
        self.apps.get(*index)
    }

    /// What is remembered, also by the states before and after.
    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Takes revocations that another process knows.
    pub(crate) fn take_revocations(&self, records: &[Record]) {
        self.memory.revocations.take(records, self.now());
    }

    /// Unix seconds.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Tells what is known now, for a decision about an app.
    pub(crate) fn with_knowledge<T>(
        &self,
        app: &App,
        keys_are_fresh: bool,
        then: impl FnOnce(&Knowledge<'_>) -> T,
    ) -> T {
        // In this order: keys of a later generation under an earlier number are only verified once more.
        let keys_now = app.relying_party.provider.key_set_generation();
        // What was verified by other rules, or with the keys of another provider, is verified once more.
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

/// What outlives a configuration.
struct Shared {
    memory: Arc<Memory>,
    clock: Arc<dyn Clock>,
    names: Arc<Names>,
    open_streams: Arc<OpenStreams>,
    status: Arc<ProcessStatus>,
}

/// Rules are numbered in the order in which they are made, so that no two apps' rules, of any configuration, are taken for
/// the same.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

/// The bounds of the calls to each issuer.
type Calls = HashMap<String, Arc<ProviderCalls>>;

/// Builds the parts of a state, or takes them from the one before.
struct Builder<'a> {
    config: &'a Config,
    before: Option<&'a State>,
    names: &'a Names,
}

impl Builder<'_> {
    /// The state before, if it had the same under these keys.
    fn unchanged(&self, mut keys: impl Iterator<Item = String>) -> Option<&State> {
        self.before.filter(|before| keys.all(|key| before.outline.is_same(&self.config.outline, &key)))
    }

    /// Those before, which go on, or others.
    fn traces(&self) -> Result<Option<Arc<Traces>>, SetupError> {
        let unchanged = self.unchanged([String::from("server.tracing")].into_iter());
        let known = unchanged.and_then(|state| state.traces.clone());
        let settings = self.config.server.tracing.as_ref().filter(|_| known.is_none());
        let started = settings.map(Traces::start).transpose().map_err(SetupError::HttpClient)?;
        Ok(known.or(started))
    }

    /// A provider with the bounds of its calls, which go on with the keys that were fetched. Two tables of one issuer are one
    /// provider to be called, though each has its own settings.
    fn provider(
        &self,
        settings: &config::IdentityProvider,
        calls: &mut Calls,
    ) -> Result<(Arc<IdentityProvider>, Arc<ProviderCalls>), SetupError> {
        let name = settings.name.as_str();
        let of_before = || {
            let apps = self.before.into_iter().flat_map(|before| &before.apps);
            let mut of_issuer = apps.filter(|app| app.relying_party.provider.issuer() == settings.issuer);
            of_issuer.next().map(|app| Arc::clone(&app.relying_party.calls)).unwrap_or_default()
        };
        let calls = Arc::clone(calls.entry(settings.issuer.clone()).or_insert_with(of_before));
        let unchanged = self.unchanged([format!("identity_providers.{name}")].into_iter());
        let known = unchanged.and_then(|state| state.providers.iter().find(|known| known.name() == name));
        let provider = match known {
            Some(known) => Arc::clone(known),
            None => Arc::new(IdentityProvider::following(settings, self.of_issuer(settings))?),
        };
        Ok((provider, calls))
    }

    /// What is known of an issuer from before; where several tables have it, rather the one of the same name.
    fn of_issuer(&self, settings: &config::IdentityProvider) -> Option<&IdentityProvider> {
        let providers = self.before.into_iter().flat_map(|before| &before.providers);
        let of_issuer = providers.filter(|provider| provider.issuer() == settings.issuer);
        of_issuer.min_by_key(|provider| provider.name() != settings.name).map(Arc::as_ref)
    }

    fn app(
        &self,
        app: &config::App,
        settings: &config::IdentityProvider,
        (provider, calls): &(Arc<IdentityProvider>, Arc<ProviderCalls>),
    ) -> Arc<App> {
        let section = format!("apps.{}", app.name);
        let known = |state: &State| state.apps.iter().find(|known| known.name == app.name).cloned();
        let unchanged = self.unchanged([section.clone(), String::from("session")].into_iter());
        let same =
            unchanged.and_then(known).filter(|same| Arc::ptr_eq(&same.relying_party.provider, provider));
        if let Some(same) = same {
            return same;
        }
        let of_upstreams =
            ["hosts", "upstreams", "resolve_interval", "upstream_tls", "timeouts", "health_check"];
        let of_upstreams = of_upstreams.into_iter().map(|key| format!("{section}.{key}"));
        let upstreams =
            self.unchanged(of_upstreams).and_then(known).map(|known| Arc::clone(&known.upstreams));
        let rules = AppRules::new(app, settings, &self.config.session);
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        Arc::new(App {
            name: app.name.clone(),
            relying_party: Arc::new(RelyingParty {
                app: app.name.clone(),
                rules: rules.of_generation(generation),
                client: Client::of(app),
                provider: Arc::clone(provider),
                request_timeout: settings.request_timeout,
                calls: Arc::clone(calls),
            }),
            cookies: CookieWriter::new(app.cookies.clone()),
            upstreams: upstreams.unwrap_or_else(|| Arc::new(Upstreams::new(app, self.names))),
            login: app.login.clone(),
            timeouts: app.timeouts.clone(),
            forward_access_token: app.forward_access_token,
            metrics: AppMetrics::new(&app.name, Route::count(app.routes.len())),
            duplicate_cookies: Once::new(),
            logins_over_http: Once::new(),
            routes: app.routes.iter().map(|route| route.path.to_string()).collect(),
        })
    }
}
