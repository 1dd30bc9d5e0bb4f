//! Builds the running state from a configuration. From one configuration to the next, it keeps what is remembered about
//! sessions, and all parts with unchanged settings.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::access::decision::AppRules;
use crate::access::session_tables::SessionTables;
use crate::config::{self, Config, Outline};
use crate::gateway::open_streams::OpenStreams;
use crate::gateway::{App, Parts, State};
use crate::identity_provider::{Client, IdentityProvider, SetupError};
use crate::session::{EngineLink, ProviderCalls, RelyingParty, Sessions};
use crate::system::clock::Clock;
use crate::system::name_lookup::Lookup;
use crate::telemetry::metrics;
use crate::telemetry::traces::Traces;
use crate::upstream::{Names, Upstreams};

/// The number of the next rules. Each set of rules gets its own number, so that the rules of two apps or of two
/// configurations are never confused.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

/// The limits of the calls to each issuer.
type Calls = HashMap<String, Arc<ProviderCalls>>;

/// Builds the states of a process. It keeps everything that outlives a configuration.
#[derive(Debug)]
pub(crate) struct StateBuilder {
    memory: Arc<SessionTables>,
    clock: Arc<dyn Clock>,
    names: Names,
    open_streams: Arc<OpenStreams>,
}

/// The state that new requests use until now, and the configuration from which it was built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before<'a> {
    pub(crate) state: &'a State,
    pub(crate) outline: &'a Outline,
}

impl StateBuilder {
    /// Makes a builder that remembers nothing yet.
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>, lookup: Arc<dyn Lookup>) -> Self {
        let memory = Arc::new(SessionTables::new(config.server.limits.verified_tokens, clock.now()));
        Self { memory, clock, names: Names::new(lookup), open_streams: Arc::default() }
    }

    /// Builds the first state. It makes no connection. With a link to an engine, this process is a replica of a fleet.
    pub(crate) fn first(&self, config: &Config, link: Option<EngineLink>) -> Result<State, SetupError> {
        let sessions =
            || Sessions::with_link(Arc::clone(&self.clock), Arc::clone(&self.memory), config, link);
        self.build(config, sessions, None)
    }

    /// Builds the next state from the previous one. It makes no connection.
    pub(crate) fn next(&self, config: &Config, before: Before<'_>) -> Result<State, SetupError> {
        self.build(config, || before.state.sessions.with_settings(config), Some(before))
    }

    fn build(
        &self,
        config: &Config,
        sessions: impl FnOnce() -> Sessions,
        before: Option<Before<'_>>,
    ) -> Result<State, SetupError> {
        let step = Step { config, before, names: &self.names };
        let mut calls = Calls::new();
        let providers = config
            .identity_providers
            .iter()
            .map(|settings| step.provider(settings, &mut calls))
            .collect::<Result<Vec<_>, _>>()?;
        // Every app of a valid configuration has a provider.
        let apps = config.apps.iter().filter_map(|app| {
            let settings = config.identity_providers.get(app.identity_provider)?;
            Some(step.app(app, settings, providers.get(app.identity_provider)?))
        });
        let apps = apps.collect();
        let traces = step.traces()?;
        // From here on nothing fails. The sessions in use get their new settings now: a configuration that is refused changes
        // nothing.
        metrics::config_was_taken(self.clock.now());
        let parts = Parts {
            apps,
            providers: providers.into_iter().map(|(provider, _)| provider).collect(),
            sessions: sessions(),
            traces,
            open_streams: Arc::clone(&self.open_streams),
            memory: Arc::clone(&self.memory),
            clock: Arc::clone(&self.clock),
        };
        Ok(State::new(config, parts))
    }
}

/// The step from one configuration to the next. It makes the parts of a state, or takes them from the previous state.
struct Step<'a> {
    config: &'a Config,
    before: Option<Before<'a>>,
    names: &'a Names,
}

impl Step<'_> {
    fn state_before(&self) -> Option<&State> {
        self.before.map(|before| before.state)
    }

    /// Returns the previous state if it had the same settings under these keys.
    fn unchanged(&self, mut keys: impl Iterator<Item = String>) -> Option<&State> {
        let before =
            self.before.filter(|before| keys.all(|key| before.outline.is_same(&self.config.outline, &key)));
        before.map(|before| before.state)
    }

    /// Returns the traces of the previous state if their settings are the same. Otherwise it starts new traces.
    fn traces(&self) -> Result<Option<Arc<Traces>>, SetupError> {
        let unchanged = self.unchanged([String::from("server.tracing")].into_iter());
        let known = unchanged.and_then(|state| state.traces.clone());
        let settings = self.config.server.tracing.as_ref().filter(|_| known.is_none());
        let started = settings.map(Traces::start).transpose().map_err(SetupError::HttpClient)?;
        Ok(known.or(started))
    }

    /// Returns a provider with the limits of its calls. Two tables of one issuer share these limits, although each
    /// table has its own settings. The limits and the fetched keys survive a reload.
    fn provider(
        &self,
        settings: &config::IdentityProvider,
        calls: &mut Calls,
    ) -> Result<(Arc<IdentityProvider>, Arc<ProviderCalls>), SetupError> {
        let name = settings.name.as_str();
        let of_before = || {
            let apps = self.state_before().into_iter().flat_map(|before| &before.apps);
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

    /// Returns the previous state's provider with the same issuer. If there are several, it prefers the one of the same
    /// name.
    fn of_issuer(&self, settings: &config::IdentityProvider) -> Option<&IdentityProvider> {
        let providers = self.state_before().into_iter().flat_map(|before| &before.providers);
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
        let relying_party = RelyingParty {
            app: app.name.clone(),
            rules: rules.of_generation(generation),
            client: Client::of(app),
            provider: Arc::clone(provider),
            request_timeout: settings.request_timeout,
            calls: Arc::clone(calls),
        };
        let upstreams = upstreams.unwrap_or_else(|| Arc::new(Upstreams::new(app, self.names)));
        Arc::new(App::new(app, Arc::new(relying_party), upstreams))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::system::clock::SystemClock;
    use crate::system::name_lookup::SystemLookup;

    const TEXT: &str = "[identity_providers.main]\nissuer = 'http://127.0.0.1:9000'\nclient_auth = 'none'\nleeway = '5s'\n\
        [apps.store]\nhosts = ['store.localhost']\nupstreams = ['http://127.0.0.1:3001']\nclient_id = 'store'\n\
        [apps.store.login]\npath = '/api/login'\n";

    #[test]
    fn a_refused_configuration_changes_nothing_in_the_sessions_in_use() {
        let config = |window: &str| {
            // The leeway changes as well, so that the provider is made anew.
            let text = TEXT
                .replace("leeway = '5s'", if window == "40s" { "leeway = '6s'" } else { "leeway = '5s'" });
            let text = format!("{text}[refresh]\nreplay_window = '{window}'\n");
            config::parse(&text).unwrap_or_else(|error| panic!("{}", error.report("gateway.toml"))).config
        };
        let (old, mut refused) = (config("20s"), config("40s"));
        refused.identity_providers[0].issuer = String::from("a name, which nothing can be discovered from");
        let builder = StateBuilder::new(&old, Arc::new(SystemClock), Arc::new(SystemLookup::default()));
        let state = builder.first(&old, None).unwrap();
        let before = Before { state: &state, outline: &old.outline };
        assert!(builder.next(&refused, before).is_err());
        assert_eq!(state.sessions.replay_window_length(), Duration::from_secs(20));
        builder.next(&config("40s"), before).unwrap();
        assert_eq!(state.sessions.replay_window_length(), Duration::from_secs(40));
    }
}
