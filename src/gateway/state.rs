//! What every request looks up: the apps by host, and what they share. Built once from a configuration, then only read.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;
use ipnet::IpNet;

use crate::access::decision::{AppRules, Knowledge};
use crate::access::memory::Memory;
use crate::access::routes::{Destination, Rule};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::gateway::open_streams::OpenStreams;
use crate::identity_provider::{Client, IdentityProvider, SetupError};
use crate::session::{CookieWriter, ProviderCalls, SessionContext, Sessions};
use crate::telemetry::metrics::{self, AppMetrics};
use crate::upstream::Upstreams;

/// Routes that no configuration lists, the first one for requests that are on none.
const OWN_ROUTES: [&str; 6] = ["-", "login", "user", "logout", "backchannel_logout", "fusionauth_webhook"];

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
    /// WebSockets and event streams.
    pub(crate) open_streams: OpenStreams,
    /// `https` at this port is where requests without TLS belong.
    pub(crate) redirect_port: Option<u16>,
    /// `Strict-Transport-Security` for answers over TLS.
    pub(crate) hsts: Option<HeaderValue>,
    by_host: HashMap<String, usize>,
    memory: Arc<Memory>,
    clock: Arc<dyn Clock>,
    refresh_ahead: u64,
}

/// One app at run time.
#[derive(Debug)]
pub struct App {
    /// Its name, for logs.
    pub name: String,
    /// Its sessions' rules, client and provider.
    pub session: Arc<SessionContext>,
    /// Writes its cookies.
    pub cookies: CookieWriter,
    /// Its addresses.
    pub(crate) upstreams: Upstreams,
    /// Its login form's fields.
    pub login: config::Login,
    /// Its time-outs.
    pub timeouts: config::Timeouts,
    /// Whether it receives the JWT.
    pub forward_access_token: bool,
    /// What its requests count.
    pub(crate) metrics: AppMetrics,
    routes: Vec<(String, config::Access)>,
}

impl App {
    /// The name of a route in logs and metrics: its pattern in the configuration, or which endpoint of ours it is.
    pub(crate) fn route(&self, index: usize) -> &str {
        let of_app = || self.routes.get(index.checked_sub(OWN_ROUTES.len())?).map(|(path, _)| path.as_str());
        OWN_ROUTES.get(index).copied().or_else(of_app).unwrap_or("-")
    }

    /// Who may pass on a route of the configuration.
    pub(crate) fn access(&self, index: usize) -> Option<config::Access> {
        self.routes.get(index.checked_sub(OWN_ROUTES.len())?).map(|(_, access)| *access)
    }

    /// The index of where a request goes; `None`: its path is refused.
    pub(crate) const fn route_index(destination: Option<Destination<'_>>) -> usize {
        match destination {
            None | Some(Destination::App(Rule { index: None, .. })) => 0,
            Some(Destination::Login) => 1,
            Some(Destination::User) => 2,
            Some(Destination::Logout) => 3,
            Some(Destination::BackchannelLogout) => 4,
            Some(Destination::FusionAuthWebhook) => 5,
            Some(Destination::App(Rule { index: Some(index), .. })) => OWN_ROUTES.len() + index,
        }
    }

    /// What decisions about it need.
    pub fn rules(&self) -> &AppRules {
        &self.session.rules
    }
}

impl State {
    /// Builds the state; makes no connection.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        let providers = config
            .identity_providers
            .iter()
            .map(|provider| IdentityProvider::new(provider).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let mut apps = Vec::with_capacity(config.apps.len());
        let mut by_host = HashMap::new();
        let calls: Vec<Arc<ProviderCalls>> = providers.iter().map(|_| Arc::default()).collect();
        for (index, app) in config.apps.iter().enumerate() {
            // A valid configuration refers to a provider that there is.
            let settings = config.identity_providers.get(app.identity_provider);
            let runtime = providers.get(app.identity_provider).zip(calls.get(app.identity_provider));
            let Some((settings, (provider, calls))) = settings.zip(runtime) else {
                continue;
            };
            by_host.extend(app.hosts.iter().map(|host| (host.clone(), index)));
            apps.push(Arc::new(App {
                name: app.name.clone(),
                session: Arc::new(SessionContext {
                    app: app.name.clone(),
                    rules: AppRules::new(index, app, settings, &config.session),
                    client: Client { id: app.client_id.clone(), secret: app.client_secret.clone() },
                    provider: Arc::clone(provider),
                    request_timeout: settings.request_timeout,
                    delivery: app.timeouts.response,
                    calls: Arc::clone(calls),
                }),
                cookies: CookieWriter::new(app.cookies.clone()),
                upstreams: Upstreams::new(app),
                login: app.login.clone(),
                timeouts: app.timeouts.clone(),
                forward_access_token: app.forward_access_token,
                metrics: AppMetrics::new(&app.name, OWN_ROUTES.len() + app.routes.len()),
                routes: app.routes.iter().map(|route| (route.path.to_string(), route.access)).collect(),
            }));
        }
        metrics::config_was_taken(clock.now());
        let tls = config.server.tls.as_ref();
        let hsts = tls.and_then(|tls| tls.hsts).map(|age| format!("max-age={}", age.as_secs()));
        let memory = Arc::new(Memory::new(config.server.limits.verified_tokens, clock.now()));
        Ok(Self {
            apps,
            providers,
            sessions: Sessions::new(Arc::clone(&clock), Arc::clone(&memory), config),
            trusted_proxies: config.server.trusted_proxies.clone(),
            limits: config.server.limits.clone(),
            access_log: config.server.log.access,
            open_streams: OpenStreams::default(),
            redirect_port: tls.and_then(|tls| tls.redirect_port),
            hsts: hsts.and_then(|value| HeaderValue::try_from(value).ok()),
            by_host,
            memory,
            clock,
            refresh_ahead: config.refresh.ahead.as_secs(),
        })
    }

    /// The app of a `Host` header: compared exactly, without port and case.
    pub fn app(&self, host: &str) -> Option<&Arc<App>> {
        let name = match host.strip_prefix('[') {
            Some(literal) => literal.split(']').next()?,
            None => host.split(':').next()?,
        };
        let index = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.by_host.get(&name.to_ascii_lowercase())?
        } else {
            self.by_host.get(name)?
        };
        self.apps.get(*index)
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
        let key_generation = app.session.provider.key_set_generation();
        let keys = app.session.provider.key_set();
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
