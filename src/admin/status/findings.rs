//! Finds the facts of the status that somebody should look at.

use crate::admin::status::facts::{AppStatus, CertificateStatus, Health, ProviderStatus, Status};
use crate::admin::status::finding::{Finding, Severity, Standing};
use crate::admin::status::shared_state_facts::SharedStateStatus;
use crate::admin::status::units::{ago, count, days, duration, list, whole};

/// The time before a certificate's end from which the page warns, in seconds. Certificates with a short life have a
/// shorter time.
const CERTIFICATE_NOTICE: i64 = 14 * 24 * 60 * 60;

/// The time in seconds after which revocations are stale, and an entry of the outbox is late.
const STALE: u64 = 10;

impl Finding {
    fn problem(about: impl Into<String>, text: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, about: about.into(), text: text.into() }
    }

    fn warning(about: impl Into<String>, text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, about: about.into(), text: text.into() }
    }
}

/// Returns all findings, the worst first.
pub(super) fn find(status: &Status) -> Vec<Finding> {
    let not_ready = status.not_ready.iter().map(|not_ready| {
        let provider = not_ready.identity_provider.as_ref();
        let about = provider.map_or_else(|| String::from("not ready"), |name| about_provider(name));
        Finding::problem(about, not_ready.reason.clone())
    });
    let mut findings: Vec<_> = not_ready.collect();
    findings.extend(configuration(status));
    findings.extend(process(status));
    findings.extend(status.apps.iter().filter_map(app));
    findings.extend(status.identity_providers.iter().filter_map(provider));
    findings.extend(status.certificates.iter().filter_map(certificate));
    findings.extend(status.shared_state.iter().flat_map(|state| shared_state(state, status.uptime_seconds)));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn configuration(status: &Status) -> Vec<Finding> {
    let configuration = &status.configuration;
    let (generation, loaded) = (configuration.generation, ago(status.now, configuration.loaded_at));
    let refused = configuration.last_error.as_ref().map(|error| {
        let text =
            format!("The last reload was refused, so configuration {generation} of {loaded} stays: {error}");
        Finding::problem("configuration", text)
    });
    let needs_restart = (!configuration.needs_restart.is_empty()).then(|| {
        let keys = list(&configuration.needs_restart);
        Finding::warning("configuration", format!("These changes need a restart: {keys}."))
    });
    refused.into_iter().chain(needs_restart).collect()
}

fn process(status: &Status) -> Vec<Finding> {
    let refused = (status.refused_connections > 0.0).then(|| {
        let (refused, most) = (count(status.refused_connections), whole(status.max_connections));
        let text = format!(
            "{refused} were refused in the last 15 minutes: {most} lived (`server.limits.max_connections`), and none of them only waited."
        );
        Finding::problem("connections", text)
    });
    let lost = (status.lost_log_lines > 0.0).then(|| {
        let lost = count(status.lost_log_lines);
        let text = format!(
            "{lost} lines were lost in the last 15 minutes: nobody reads standard error, or too slowly."
        );
        Finding::warning("log", text)
    });
    refused.into_iter().chain(lost).collect()
}

fn app(app: &AppStatus) -> Option<Finding> {
    let about = format!("app {}", app.name);
    let down: Vec<_> = app.upstreams.iter().filter(|upstream| upstream.health == Health::Down).collect();
    let addresses = list(&down.iter().map(|upstream| upstream.address.clone()).collect::<Vec<_>>());
    if app.upstreams.is_empty() {
        return Some(Finding::problem(
            about,
            "No address of an upstream is known: its names do not resolve.",
        ));
    }
    if down.len() == app.upstreams.len() {
        return Some(Finding::problem(about, format!("Every upstream is down: {addresses}.")));
    }
    if !down.is_empty() {
        let text = format!("{} of {} upstreams are down: {addresses}.", down.len(), app.upstreams.len());
        return Some(Finding::warning(about, text));
    }
    let failed = app.upstream_errors_last_minute;
    (failed > 0.0).then(|| {
        Finding::warning(about, format!("Requests that it failed in the last minute: {}.", count(failed)))
    })
}

fn provider(provider: &ProviderStatus) -> Option<Finding> {
    let (about, errors) = (about_provider(&provider.name), provider.errors_last_minute);
    // Another finding already says that the provider is not ready.
    if !provider.is_ready {
        return None;
    }
    if errors > 0.0 {
        let calls = count(provider.calls_last_minute);
        let text = format!("{} of {calls} calls failed in the last minute.", count(errors));
        return Some(Finding::problem(about, text));
    }
    let error = provider.last_error.as_ref()?;
    Some(Finding::warning(about, format!("The JWKS could not be renewed, the keys so far stay: {error}")))
}

impl CertificateStatus {
    /// Returns the validity of the certificate now.
    pub(super) fn standing(&self) -> Standing {
        let lifetime = self.lifetime();
        match self.seconds_left {
            left if left < 0 => Standing::Expired,
            left if left > lifetime => Standing::Early,
            left if left < CERTIFICATE_NOTICE.min(lifetime / 3) => Standing::EndsSoon,
            _ => Standing::Good,
        }
    }

    fn lifetime(&self) -> i64 {
        self.not_after.saturating_sub(self.not_before)
    }
}

fn certificate(certificate: &CertificateStatus) -> Option<Finding> {
    let about = format!("certificate of {}", list(&certificate.names));
    let left = certificate.seconds_left;
    match certificate.standing() {
        Standing::Good => None,
        Standing::EndsSoon => Some(Finding::warning(about, format!("Expires in {}.", days(left)))),
        Standing::Expired => {
            Some(Finding::problem(about, format!("Expired {} ago.", days(left.saturating_neg()))))
        }
        Standing::Early => {
            let early = days(left.saturating_sub(certificate.lifetime()));
            Some(Finding::problem(about, format!("Becomes valid only in {early}.")))
        }
    }
}

fn shared_state(state: &SharedStateStatus, uptime_seconds: u64) -> Vec<Finding> {
    let engine = &state.engine;
    let about = || format!("engine {}", engine.address);
    let away = (!engine.is_up).then(|| {
        Finding::problem(
            about(),
            "It does not answer: refreshes get 503, and cookies are kept. Requests with a valid JWT go on.",
        )
    });
    let complaint = engine.complaint.as_ref().map(|complaint| Finding::warning(about(), sentence(complaint)));
    let conflict =
        state.conflict.as_ref().map(|conflict| Finding::problem("shared state", sentence(conflict)));
    let staleness = state.revocations_staleness_seconds.unwrap_or(uptime_seconds);
    let outdated = (staleness >= STALE).then(|| {
        let text = format!(
            "Revocations of other replicas have not been read for {}: they are not applied here yet.",
            duration(staleness)
        );
        Finding::warning("revocations", text)
    });
    let outbox = (state.outbox > 0 && engine.is_up && state.outbox_waits_seconds >= STALE).then(|| {
        let text = format!(
            "{} things have not been told to the engine for {}, although it answers.",
            whole(state.outbox),
            duration(state.outbox_waits_seconds)
        );
        Finding::warning("shared state", text)
    });
    let unknown = (state.unknown_outcomes > 0.0).then(|| {
        let text = format!(
            "The fate of {} refresh tokens was unknown in the last 15 minutes: the provider gave no answer. Each may be a lost session (`refresh_grace`).",
            count(state.unknown_outcomes)
        );
        Finding::warning("refreshes", text)
    });
    let unreadable = (state.unreadable_revocations > 0).then(|| {
        let text = format!(
            "{} in the engine do not open: they were sealed with a key that is not in `shared_state.keys` here.",
            whole(state.unreadable_revocations)
        );
        Finding::warning("revocations", text)
    });
    [away, complaint, conflict, outdated, unreadable, outbox, unknown].into_iter().flatten().collect()
}

/// Returns a text as a sentence.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}

fn about_provider(name: &str) -> String {
    format!("identity provider {name}")
}
