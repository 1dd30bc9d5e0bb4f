//! Gathers the facts that the status page shows.

use std::time::Duration;

use serde::Serialize;

use crate::admin::process::{Listening, Process};
use crate::admin::readiness::{self, NotReady};
use crate::admin::status::counts::{Count, counts, sessions};
use crate::admin::status::finding::Finding;
use crate::admin::status::shared_state_facts::SharedStateStatus;
use crate::gateway::{App, State};
use crate::identity_provider::IdentityProvider;
use crate::telemetry::history::{Counted, LATELY, Recent};
use crate::telemetry::metrics::METRICS;
use crate::tls::Validity;

/// The period of the values that are called "now" or "last minute".
const MINUTE: Duration = Duration::from_secs(60);

/// The counters whose quotient is the duration of a call to a provider.
const LATENCY: (Counted, Counted) = (Counted::ProviderSeconds, Counted::ProviderCalls);

/// All facts that the status page shows.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Status {
    pub(super) version: &'static str,
    /// The time when the facts were gathered, in Unix seconds.
    pub(super) now: u64,
    pub(super) uptime_seconds: u64,
    /// The reasons why the process is not ready. If the list is empty, it is ready.
    pub(super) not_ready: Vec<NotReady>,
    /// The findings that somebody should look at, the worst first.
    pub(super) findings: Vec<Finding>,
    pub(super) configuration: Configuration,
    pub(super) rates: Vec<Rate>,
    pub(super) apps: Vec<AppStatus>,
    pub(super) identity_providers: Vec<ProviderStatus>,
    pub(super) sessions: Vec<Count>,
    /// The reasons why requests did not pass.
    pub(super) reasons: Vec<Count>,
    pub(super) revocations: usize,
    pub(super) open_streams: usize,
    pub(super) refreshes_waiting: i64,
    pub(super) open_connections: i64,
    pub(super) max_connections: usize,
    /// The connections that were refused in the last quarter of an hour because too many were open.
    pub(super) refused_connections: f64,
    /// The log lines that were lost in the last quarter of an hour because nobody read them.
    pub(super) lost_log_lines: f64,
    pub(super) listening: Vec<Listening>,
    pub(super) certificates: Vec<CertificateStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shared_state: Option<SharedStateStatus>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Configuration {
    pub(super) generation: u64,
    /// The time of loading, in Unix seconds.
    pub(super) loaded_at: u64,
    /// The reason why the last reload was refused, if it was refused.
    pub(super) last_error: Option<String>,
    pub(super) refused_reloads: u64,
    pub(super) needs_restart: Vec<String>,
}

/// A rate that the page shows as a sparkline.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Rate {
    pub(super) name: &'static str,
    /// `/s` for a rate, or `s` for a duration.
    pub(super) unit: &'static str,
    pub(super) last_minute: Option<f64>,
    /// The number in the last quarter of an hour. It is `None` for a duration.
    pub(super) count: Option<f64>,
    /// The value of each step, the oldest first.
    pub(super) steps: Vec<Option<f64>>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct AppStatus {
    pub(super) name: String,
    pub(super) hosts: Vec<String>,
    pub(super) routes: usize,
    pub(super) identity_provider: String,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) requests: Rate,
    /// The requests that were refused in the last quarter of an hour.
    pub(super) refused: f64,
    pub(super) server_errors: f64,
    pub(super) upstream_errors: f64,
    pub(super) upstream_errors_last_minute: f64,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Upstream {
    pub(super) address: String,
    pub(super) health: Health,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Health {
    Up,
    Down,
    /// The app has only this address, so there is no other address to choose.
    NotChecked,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct ProviderStatus {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) is_ready: bool,
    /// The reason why the last attempt to fetch its endpoints or keys failed.
    pub(super) last_error: Option<String>,
    pub(super) keys: usize,
    pub(super) jwks_age_seconds: Option<u64>,
    pub(super) algorithms: Vec<String>,
    pub(super) latency: Rate,
    pub(super) calls_last_minute: f64,
    pub(super) errors_last_minute: f64,
    /// The calls in the last quarter of an hour.
    pub(super) calls: f64,
    pub(super) errors: f64,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct CertificateStatus {
    pub(super) names: Vec<String>,
    /// The beginning of the validity, in Unix seconds.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// The time until the end. It is negative if the certificate has expired.
    pub(super) seconds_left: i64,
}

impl Status {
    /// Gathers all facts except the findings.
    pub(super) fn new(state: &State, process: &Process, recent: Recent<'_>) -> Self {
        let (now, reload) = (state.now(), process.status.reload());
        let certificates = process.certificates().into_iter();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            now,
            uptime_seconds: process.uptime().as_secs(),
            not_ready: readiness::reasons(state, process),
            findings: Vec::new(),
            configuration: Configuration {
                generation: reload.generation,
                loaded_at: reload.loaded_at,
                last_error: reload.last_error.clone(),
                refused_reloads: reload.refused,
                needs_restart: reload.needs_restart.clone(),
            },
            rates: rates(recent),
            apps: state.apps.iter().map(|app| AppStatus::new(app, recent)).collect(),
            identity_providers: state.providers.iter().map(|one| ProviderStatus::new(one, recent)).collect(),
            sessions: sessions(recent),
            reasons: counts(recent, None, Counted::Reasons),
            revocations: state.sessions.revocations(),
            open_streams: state.open_streams.len(),
            refreshes_waiting: METRICS.refresh_waiting.get(),
            open_connections: METRICS.connections.get(),
            max_connections: state.limits.max_connections,
            refused_connections: recent.increase(Counted::RefusedConnections, None, LATELY),
            lost_log_lines: recent.increase(Counted::LostLogLines, None, LATELY),
            listening: process.listening.clone(),
            certificates: certificates.map(|one| CertificateStatus::new(one, now)).collect(),
            shared_state: state.sessions.fleet().map(|fleet| SharedStateStatus::new(fleet, recent)),
        }
    }
}

impl AppStatus {
    fn new(app: &App, recent: Recent<'_>) -> Self {
        let name = Some(app.name.as_str());
        let is_checked = app.upstreams.has_choice();
        let upstream = |(address, is_healthy)| Upstream {
            address,
            health: match (is_checked, is_healthy) {
                (false, _) => Health::NotChecked,
                (true, true) => Health::Up,
                (true, false) => Health::Down,
            },
        };
        Self {
            name: app.name.clone(),
            hosts: app.hosts.clone(),
            routes: app.configured_routes(),
            identity_provider: app.relying_party.provider.name().to_owned(),
            upstreams: app.upstreams.health().into_iter().map(upstream).collect(),
            requests: Rate::new("Requests", Counted::Requests, name, recent),
            refused: recent.increase(Counted::Refused, name, LATELY),
            server_errors: recent.increase(Counted::ServerErrors, name, LATELY),
            upstream_errors: recent.increase(Counted::UpstreamErrors, name, LATELY),
            upstream_errors_last_minute: recent.increase(Counted::UpstreamErrors, name, MINUTE),
        }
    }
}

impl ProviderStatus {
    fn new(provider: &IdentityProvider, recent: Recent<'_>) -> Self {
        let name = Some(provider.name());
        Self {
            name: provider.name().to_owned(),
            issuer: provider.issuer().to_owned(),
            is_ready: provider.readiness().is_ok(),
            last_error: provider.last_error(),
            keys: provider.key_set().len(),
            jwks_age_seconds: provider.jwks_age().map(|age| age.as_secs()),
            algorithms: provider.algorithms().collect(),
            latency: Rate::latency(name, recent),
            calls_last_minute: recent.increase(Counted::ProviderCalls, name, MINUTE),
            errors_last_minute: recent.increase(Counted::ProviderErrors, name, MINUTE),
            calls: recent.increase(Counted::ProviderCalls, name, LATELY),
            errors: recent.increase(Counted::ProviderErrors, name, LATELY),
        }
    }
}

impl CertificateStatus {
    fn new(Validity { names, not_before, not_after }: Validity, now: u64) -> Self {
        let seconds_left = not_after.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX));
        Self { names, not_before, not_after, seconds_left }
    }
}

impl Rate {
    fn new(name: &'static str, counted: Counted, of: Option<&str>, recent: Recent<'_>) -> Self {
        Self {
            name,
            unit: "/s",
            last_minute: recent.per_second(counted, of, MINUTE),
            count: Some(recent.increase(counted, of, LATELY)),
            steps: recent.rates(counted, of),
        }
    }

    fn latency(of: Option<&str>, recent: Recent<'_>) -> Self {
        Self {
            name: "Provider time per call",
            unit: "s",
            last_minute: recent.mean(LATENCY, of, MINUTE),
            count: None,
            steps: recent.means(LATENCY, of),
        }
    }
}

fn rates(recent: Recent<'_>) -> Vec<Rate> {
    let rate = |name, counted| Rate::new(name, counted, None, recent);
    vec![
        rate("Requests", Counted::Requests),
        rate("Refused requests", Counted::Refused),
        rate("Answers with 5xx", Counted::ServerErrors),
        rate("App failures", Counted::UpstreamErrors),
        rate("Logins", Counted::Logins),
        rate("Refreshes", Counted::Refreshes),
        Rate::latency(None, recent),
        rate("Provider errors", Counted::ProviderErrors),
    ]
}
