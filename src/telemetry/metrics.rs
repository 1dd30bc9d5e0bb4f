//! Counters and histograms for Prometheus. There is one registry for the process, so they outlive a configuration.
//!
//! Label values come from the configuration and from our own codes, never from a client, so the number of series is
//! bounded. The series that every request counts are looked up once for each app, and counted without a lock
//! ([`AppMetrics`]).

mod process;
mod registration;

use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use crate::answer::reason::ReasonCode;
use crate::telemetry::event::Event;

use process::ProcessMetrics;
use registration::registered;

/// Everything that is counted.
pub(crate) struct Metrics {
    /// The registry that `/metrics` reads.
    pub(crate) registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    decisions: IntCounterVec,
    logins: IntCounterVec,
    refreshes: IntCounterVec,
    sessions_ended: IntCounterVec,
    revocations: IntCounterVec,
    reuse: IntCounterVec,
    /// Requests that waited for another one's refresh.
    pub(crate) refresh_waits: IntCounterVec,
    /// Requests that wait for a refresh now.
    pub(crate) refresh_waiting: IntGauge,
    /// Requests with an old refresh token that got the session's newest tokens without a call.
    pub(crate) replays: IntCounterVec,
    provider_seconds: HistogramVec,
    provider_errors: IntCounterVec,
    upstream_errors: IntCounterVec,
    omissions: IntCounterVec,
    /// Look-ups of the apps' host names.
    pub(crate) name_lookups: IntCounterVec,
    /// Connections that are open, on all public listeners.
    pub(crate) connections: IntGauge,
    config_generation: IntGauge,
    config_loaded: IntGauge,
    /// Requests that were refused and belong to no app: malformed heads, unknown hosts.
    pub(crate) refused_heads: IntCounterVec,
    /// Spans that were exported, or lost.
    pub(crate) spans: IntCounterVec,
    /// The metrics of the process itself.
    pub(crate) process: ProcessMetrics,
}

/// The metrics of this process.
pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

impl Metrics {
    fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| counter(&registry, name, help, labels);
        let histogram = |name: &str, help: &str, labels: &[&str]| {
            let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
            registered(&registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels))
        };
        let gauge = |name: &str, help: &str| registered(&registry, IntGauge::new(name, help));
        let (app_reason, app) = (["app", "reason"], ["app"]);
        let calls = ["identity_provider", "endpoint"];
        Self {
            requests: counter(
                "portcullis_requests_total",
                "Requests that were answered, by status class.",
                &["app", "route", "status"],
            ),
            request_seconds: histogram(
                "portcullis_request_duration_seconds",
                "From a request's head to the end of its answer.",
                &app,
            ),
            decisions: counter(
                "portcullis_decisions_total",
                "Why requests passed or were refused.",
                &app_reason,
            ),
            logins: counter("portcullis_logins_total", "Logins by outcome.", &["app", "outcome"]),
            refreshes: counter(
                "portcullis_refreshes_total",
                "Refreshes by outcome: calls to the provider, and what was refused without one.",
                &["app", "outcome"],
            ),
            sessions_ended: counter(
                "portcullis_sessions_ended_total",
                "Sessions that ended, by reason.",
                &app_reason,
            ),
            revocations: counter(
                "portcullis_revocations_total",
                "Revocations by who asked for them.",
                &["source", "outcome"],
            ),
            reuse: counter(
                "portcullis_refresh_token_reuses_total",
                "Refresh tokens that were used again too late.",
                &app,
            ),
            refresh_waits: counter(
                "portcullis_refresh_waits_total",
                "Requests that waited for another request's refresh.",
                &app,
            ),
            refresh_waiting: gauge(
                "portcullis_refresh_waiting",
                "Requests that wait for a call to the provider now.",
            ),
            replays: counter(
                "portcullis_refresh_replays_total",
                "Requests that were answered from the replay window.",
                &app,
            ),
            provider_seconds: histogram(
                "portcullis_identity_provider_request_duration_seconds",
                "Calls to the provider, until their answer was read.",
                &calls,
            ),
            provider_errors: counter(
                "portcullis_identity_provider_errors_total",
                "Calls to the provider without an answer, or with a status of 500 and more, or 429.",
                &calls,
            ),
            upstream_errors: counter(
                "portcullis_upstream_errors_total",
                "Failures of an app's upstreams.",
                &app_reason,
            ),
            omissions: omissions(&registry),
            name_lookups: name_lookups(&registry),
            connections: gauge("portcullis_open_connections", "Connections that are open, public ones."),
            config_generation: gauge(
                "portcullis_config_generation",
                "How often a configuration was taken since the start: 1 is the first one.",
            ),
            config_loaded: gauge(
                "portcullis_config_loaded_timestamp_seconds",
                "When the configuration was taken, in Unix seconds.",
            ),
            refused_heads: counter(
                "portcullis_refused_heads_total",
                "Requests that were refused and are of no app.",
                &["reason"],
            ),
            spans: counter(
                "portcullis_spans_total",
                "Spans of traces, by what became of them.",
                &["outcome"],
            ),
            process: ProcessMetrics::new(&registry),
            registry,
        }
    }
}

fn name_lookups(registry: &Registry) -> IntCounterVec {
    let help = "Look-ups of the host names of apps' upstreams.";
    counter(registry, "portcullis_name_lookups_total", help, &["host", "outcome"])
}

fn omissions(registry: &Registry) -> IntCounterVec {
    let help = "Claims of new JWTs that an app is not told, or not as a whole.";
    counter(registry, "portcullis_identity_omissions_total", help, &["app"])
}

fn counter(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

/// Counts a claim that an app is not told, or not as a whole.
pub(crate) fn count_omission(app: &str) {
    METRICS.omissions.with_label_values(&[app]).inc();
}

/// Counts an event of the audit log.
pub(crate) fn count_event(event: Event, reason: ReasonCode, app: &str) {
    let (metrics, code) = (&*METRICS, reason.as_str());
    match event {
        Event::Login => metrics.logins.with_label_values(&[app, "success"]).inc(),
        Event::LoginRefused => metrics.logins.with_label_values(&[app, code]).inc(),
        Event::Refresh => metrics.refreshes.with_label_values(&[app, "success"]).inc(),
        Event::RefreshRefused => metrics.refreshes.with_label_values(&[app, code]).inc(),
        Event::SessionEnded => {
            metrics.sessions_ended.with_label_values(&[app, code]).inc();
            match reason {
                ReasonCode::RefreshRefused => metrics.refreshes.with_label_values(&[app, code]).inc(),
                ReasonCode::Reused => metrics.reuse.with_label_values(&[app]).inc(),
                _ => {}
            }
        }
        Event::Logout => metrics.sessions_ended.with_label_values(&[app, "logout"]).inc(),
        Event::BackchannelLogout | Event::Webhook | Event::Revocation => {
            metrics.revocations.with_label_values(&[event.as_str(), "success"]).inc();
        }
        Event::BackchannelLogoutRefused => {
            metrics.revocations.with_label_values(&["backchannel_logout", "refused"]).inc();
        }
        Event::WebhookRefused => metrics.revocations.with_label_values(&["webhook", "refused"]).inc(),
        Event::RevocationRefused => {
            let outcome = if reason == ReasonCode::TooManyFailed { "throttled" } else { "refused" };
            metrics.revocations.with_label_values(&["revocation", outcome]).inc();
        }
    }
}

/// A call to a provider. It is counted when it is over, even if its caller no longer waits.
#[derive(Debug)]
pub(crate) struct ProviderCall<'a> {
    provider: &'a str,
    endpoint: &'static str,
    started: Instant,
    /// The status of its answer, if there was one.
    pub(crate) status: Option<u16>,
}

impl<'a> ProviderCall<'a> {
    /// Begins a call.
    pub(crate) fn start(provider: &'a str, endpoint: &'static str) -> Self {
        Self { provider, endpoint, started: Instant::now(), status: None }
    }
}

impl Drop for ProviderCall<'_> {
    fn drop(&mut self) {
        let labels = [self.provider, self.endpoint];
        METRICS.provider_seconds.with_label_values(&labels).observe(self.started.elapsed().as_secs_f64());
        if self.status.is_none_or(|status| status >= 500 || status == 429) {
            METRICS.provider_errors.with_label_values(&labels).inc();
        }
    }
}

/// Notes that a configuration is in use from `now` (Unix seconds) on.
pub(crate) fn config_was_taken(now: u64) {
    METRICS.config_generation.inc();
    METRICS.config_loaded.set(i64::try_from(now).unwrap_or(i64::MAX));
}

/// Counts a failure of an app's upstreams.
pub(crate) fn count_upstream_error(app: &str, reason: ReasonCode) {
    METRICS.upstream_errors.with_label_values(&[app, reason.as_str()]).inc();
}

/// The metrics of one app's requests. Each series is looked up at its first request.
#[derive(Debug)]
pub(crate) struct AppMetrics {
    app: String,
    seconds: Histogram,
    decisions: Box<[OnceLock<IntCounter>]>,
    requests: Box<[[OnceLock<IntCounter>; 6]]>,
}

impl AppMetrics {
    /// Makes the metrics of an app with this number of routes. The number includes the routes of its own endpoints.
    pub(crate) fn new(app: &str, routes: usize) -> Self {
        Self {
            app: app.to_owned(),
            seconds: METRICS.request_seconds.with_label_values(&[app]),
            decisions: ReasonCode::ALL.iter().map(|_| OnceLock::new()).collect(),
            requests: (0..routes).map(|_| Default::default()).collect(),
        }
    }

    /// Counts a request that is over. A `status` of 0 means that it was not answered.
    pub(crate) fn count(
        &self,
        (index, route): (usize, &str),
        status: u16,
        reason: Option<ReasonCode>,
        duration: Option<Duration>,
    ) {
        const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
        let class = usize::from(status / 100);
        let slot = self.requests.get(index).and_then(|classes| classes.get(class)).zip(CLASSES.get(class));
        if let Some((slot, class)) = slot {
            slot.get_or_init(|| METRICS.requests.with_label_values(&[&self.app, route, class])).inc();
        }
        if let Some((slot, reason)) =
            reason.and_then(|reason| self.decisions.get(reason as usize).zip(Some(reason)))
        {
            slot.get_or_init(|| METRICS.decisions.with_label_values(&[&self.app, reason.as_str()])).inc();
        }
        if let Some(duration) = duration {
            self.seconds.observe(duration.as_secs_f64());
        }
    }
}

/// A guard that counts as one in a gauge until it is dropped, even if it is dropped with a waiting task.
#[derive(Debug)]
pub(crate) struct Held(&'static IntGauge);

impl Held {
    /// Adds one to the gauge.
    pub(crate) fn new(gauge: &'static IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}
