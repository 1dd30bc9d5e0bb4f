//! `/metrics`: the counters and the present values, in the text format of Prometheus, version 0.0.4.

use std::collections::BTreeMap;

use prometheus::{Counter, Gauge, IntCounter, Registry, TextEncoder};

use crate::admin::process_status::ReloadStatus;
use crate::gateway::State;
use crate::system::resource_usage;
use crate::telemetry::metrics::METRICS;

use crate::admin::fleet_metrics;
use crate::admin::gauges::{gauge, register, vector};
use crate::admin::process::Process;

/// Returns the text. The gauges of present values are made for each call, so that no series remains after its subject
/// has ended.
pub(super) fn text(state: &State, process: &Process) -> String {
    let registry = Registry::new();
    // The names are constants, so these errors do not happen. If one did, a test would notice the missing metric.
    let _ = fill(&registry, state);
    let _ = fleet_metrics::fill(&registry, state, process);
    let _ = reloads(&registry, &process.status.reload());
    let _ = certificates(&registry, process);
    let _ = usage(&registry);
    let mut families = METRICS.registry.gather();
    families.extend(registry.gather());
    families.sort_by(|one, other| one.name().cmp(other.name()));
    TextEncoder::new().encode_to_string(&families).unwrap_or_default()
}

fn fill(registry: &Registry, state: &State) -> prometheus::Result<()> {
    let build = vector(registry, "portcullis_build_info", "The version that runs.", &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    let ready = vector(
        registry,
        "portcullis_identity_provider_ready",
        "Whether endpoints and keys are known.",
        &["name"],
    )?;
    let age =
        vector(registry, "portcullis_jwks_age_seconds", "Time since the keys were fetched.", &["name"])?;
    for provider in &state.providers {
        ready.with_label_values(&[provider.name()]).set(if provider.readiness().is_ok() { 1.0 } else { 0.0 });
        if let Some(jwks_age) = provider.jwks_age() {
            age.with_label_values(&[provider.name()]).set(jwks_age.as_secs_f64().floor());
        }
    }
    let healthy = vector(
        registry,
        "portcullis_upstream_healthy",
        "Whether an app's address is in use: it passed its health check, or is the only one.",
        &["app", "upstream"],
    )?;
    for app in &state.apps {
        for (address, is_healthy) in app.upstreams.health() {
            healthy.with_label_values(&[&*app.name, &*address]).set(if is_healthy { 1.0 } else { 0.0 });
        }
    }
    gauge(
        registry,
        "portcullis_revocations",
        "Revocations that are kept now.",
        state.sessions.revocations(),
    )?;
    gauge(
        registry,
        "portcullis_open_streams",
        "WebSockets, event streams and gRPC calls of sessions that are open.",
        state.open_streams.len(),
    )
}

/// Adds the end of the certificates for each name. If a name has several certificates, the earliest end counts.
#[expect(clippy::cast_precision_loss, reason = "seconds far below 2^53")]
fn certificates(registry: &Registry, process: &Process) -> prometheus::Result<()> {
    let ends = vector(
        registry,
        "portcullis_certificate_not_after_timestamp_seconds",
        "When the certificate that TLS listeners show for a name ends.",
        &["name"],
    )?;
    let mut known = BTreeMap::new();
    for certificate in process.certificates() {
        for name in certificate.names {
            let end = known.entry(name).or_insert(certificate.not_after);
            *end = certificate.not_after.min(*end);
        }
    }
    for (name, end) in known {
        ends.with_label_values(&[&*name]).set(end as f64);
    }
    Ok(())
}

/// Adds the metrics of the process, with the names that Prometheus's own libraries use.
#[expect(clippy::cast_precision_loss, reason = "bytes and counts below 2^53")]
fn usage(registry: &Registry) -> prometheus::Result<()> {
    let set = |name: &str, help: &str, value: f64| {
        register(registry, Gauge::new(name, help)?).map(|gauge| gauge.set(value))
    };
    if let Some(open) = resource_usage::open_descriptors() {
        set("process_open_fds", "File descriptors that are open.", open as f64)?;
    }
    if let Some(most) = resource_usage::most_descriptors() {
        set("process_max_fds", "File descriptors that may be open.", most as f64)?;
    }
    let Some(usage) = resource_usage::usage() else { return Ok(()) };
    let cpu = Counter::new("process_cpu_seconds_total", "Time of processors, in user and in system mode.")?;
    register(registry, cpu)?.inc_by(usage.cpu_seconds);
    set("process_virtual_memory_bytes", "Virtual memory.", usage.virtual_memory_bytes as f64)?;
    set("process_resident_memory_bytes", "Resident memory.", usage.resident_memory_bytes as f64)?;
    set("process_start_time_seconds", "Start of the process, in Unix time.", usage.start_seconds)
}

/// Adds the outcome of the reloads. A refused reload changes nothing else, so no other metric shows it.
fn reloads(registry: &Registry, status: &ReloadStatus) -> prometheus::Result<()> {
    gauge(
        registry,
        "portcullis_config_last_reload_successful",
        "Whether the last reload was taken; 1 before the first one.",
        usize::from(status.last_error.is_none()),
    )?;
    let refused = IntCounter::new(
        "portcullis_config_reloads_refused_total",
        "Reloads that were refused: the configuration before stayed.",
    )?;
    register(registry, refused).map(|counter| counter.inc_by(status.refused))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// Returns the names as they are written in the code. `/metrics` does not show a series without a value.
    fn names(source: &str) -> impl Iterator<Item = String> {
        let quoted = source.split("mod tests").next().unwrap().split('"').skip(1).step_by(2);
        let is_name = |text: &&str| text.starts_with("portcullis_") || text.starts_with("process_");
        quoted.filter(is_name).map(str::to_owned)
    }

    fn known() -> BTreeSet<String> {
        let counted = names(include_str!("../telemetry/metrics/families.rs"));
        let of_process = names(include_str!("../telemetry/metrics/process.rs"));
        let of_engine = names(include_str!("../telemetry/metrics/shared_state.rs"));
        let of_fleet = names(include_str!("../telemetry/metrics/fleet.rs"));
        let of_fleet = of_fleet.chain(names(include_str!("fleet_metrics.rs")));
        let of_shared_state = of_engine.chain(of_fleet);
        counted.chain(of_process).chain(of_shared_state).chain(names(include_str!("metrics.rs"))).collect()
    }

    #[test]
    fn the_page_has_every_metric_and_no_other() {
        let page = include_str!("../../docs/operations.md");
        let section = page.split("## Metrics").nth(1).unwrap().split("\n## ").next().unwrap();
        let row = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
        let documented: BTreeSet<_> = section.lines().filter_map(row).collect();
        assert_eq!(documented, known());
    }

    #[test]
    fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
        let known = known();
        let dashboard = include_str!("../../examples/monitoring/dashboard.json");
        serde_json::from_str::<serde_json::Value>(dashboard).unwrap();
        // With `__name__`, functions of ranges see the same labels twice, which is an error.
        assert!(!include_str!("../../examples/monitoring/alerts.yaml").contains("__name__"));
        for text in [dashboard, include_str!("../../examples/monitoring/alerts.yaml")] {
            for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                let name =
                    ["_bucket", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
                let is_ours = name.starts_with("portcullis_") || name.starts_with("process_");
                assert!(!is_ours || known.contains(name), "{word}");
            }
        }
    }
}
