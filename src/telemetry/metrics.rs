//! Counters and histograms for Prometheus. There is one registry for the process, so they outlive a configuration.
//!
//! Label values come from the configuration and from our own codes, never from a client, so the number of series is
//! bounded. The series that every request counts are looked up once for each app, and counted without a lock
//! ([`AppMetrics`]).

mod families;
pub(crate) mod fleet;
mod process;
mod registration;
pub(crate) mod shared_state;

use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};

use crate::answer::reason::ReasonCode;
use crate::telemetry::event::Event;

use families::Family;
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
        let counter =
            |family: Family| registered(&registry, IntCounterVec::new(family.opts(), family.labels));
        let histogram = |family: Family| {
            let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
            let opts = HistogramOpts::from(family.opts()).buckets(buckets);
            registered(&registry, HistogramVec::new(opts, family.labels))
        };
        let gauge = |family: Family| registered(&registry, IntGauge::with_opts(family.opts()));
        Self {
            requests: counter(families::REQUESTS),
            request_seconds: histogram(families::REQUEST_SECONDS),
            decisions: counter(families::DECISIONS),
            logins: counter(families::LOGINS),
            refreshes: counter(families::REFRESHES),
            sessions_ended: counter(families::SESSIONS_ENDED),
            revocations: counter(families::REVOCATIONS),
            reuse: counter(families::REUSE),
            refresh_waits: counter(families::REFRESH_WAITS),
            refresh_waiting: gauge(families::REFRESH_WAITING),
            replays: counter(families::REPLAYS),
            provider_seconds: histogram(families::PROVIDER_SECONDS),
            provider_errors: counter(families::PROVIDER_ERRORS),
            upstream_errors: counter(families::UPSTREAM_ERRORS),
            omissions: counter(families::OMISSIONS),
            name_lookups: counter(families::NAME_LOOKUPS),
            connections: gauge(families::CONNECTIONS),
            config_generation: gauge(families::CONFIG_GENERATION),
            config_loaded: gauge(families::CONFIG_LOADED),
            refused_heads: counter(families::REFUSED_HEADS),
            spans: counter(families::SPANS),
            process: ProcessMetrics::new(&registry),
            registry,
        }
    }
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
