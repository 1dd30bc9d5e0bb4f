//! What every request looks up: the apps by host, and what they share. Built once from a configuration, then only read.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;

use crate::access::decision::{AppRules, Knowledge};
use crate::access::key_set::KeySet;
use crate::access::verified_tokens::VerifiedTokens;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::identity_provider::{Client, IdentityProvider, SetupError};
use crate::session::{CookieWriter, ProviderCalls, SessionContext, Sessions};
use crate::upstream::Upstreams;

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
    by_host: HashMap<String, usize>,
    verified: VerifiedTokens,
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
}

impl App {
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
                    rules: AppRules::new(index, app, settings),
                    client: Client { id: app.client_id.clone(), secret: app.client_secret.clone() },
                    provider: Arc::clone(provider),
                    request_timeout: settings.request_timeout,
                    calls: Arc::clone(calls),
                }),
                cookies: CookieWriter::new(app.cookies.clone()),
                upstreams: Upstreams::new(app),
                login: app.login.clone(),
                timeouts: app.timeouts.clone(),
                forward_access_token: app.forward_access_token,
            }));
        }
        Ok(Self {
            apps,
            providers,
            sessions: Sessions::new(Arc::clone(&clock), &config.refresh, &config.server.limits),
            trusted_proxies: config.server.trusted_proxies.clone(),
            limits: config.server.limits.clone(),
            by_host,
            verified: VerifiedTokens::new(config.server.limits.verified_tokens),
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

    /// The time, in Unix seconds.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// What is known now, for a decision about an app whose provider has these keys.
    pub fn knowledge<'a>(
        &'a self,
        keys: &'a KeySet,
        key_generation: u64,
        keys_are_fresh: bool,
    ) -> Knowledge<'a> {
        Knowledge {
            keys,
            key_generation,
            verified: &self.verified,
            now: self.clock.now(),
            refresh_ahead: self.refresh_ahead,
            keys_are_fresh,
        }
    }
}
