//! Metrics of present values, which are made for each call of `/metrics`.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Gauge, GaugeVec, Opts, Registry};

/// Adds a gauge with labels.
pub(super) fn vector(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<GaugeVec> {
    register(registry, GaugeVec::new(Opts::new(name, help), labels)?)
}

/// Adds a number.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(super) fn gauge(registry: &Registry, name: &str, help: &str, value: usize) -> prometheus::Result<()> {
    register(registry, Gauge::new(name, help)?).map(|gauge| gauge.set(value as f64))
}

/// Adds a duration.
pub(super) fn seconds(
    registry: &Registry,
    name: &str,
    help: &str,
    value: Duration,
) -> prometheus::Result<()> {
    register(registry, Gauge::new(name, help)?).map(|gauge| gauge.set(value.as_secs_f64()))
}

/// Registers a metric.
pub(super) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone())).map(|()| metric)
}
