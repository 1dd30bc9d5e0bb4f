//! The metrics of the engine. They are registered at their first use, so a process without `[shared_state]` has none.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};

use crate::telemetry::metrics::METRICS;
use crate::telemetry::metrics::registration::registered;

/// The bounds of the durations of commands, in seconds.
const SECONDS: [f64; 12] = [0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// The metrics of the engine.
pub(crate) struct EngineMetrics {
    /// 1 while the engine answers, else 0.
    pub(crate) up: IntGauge,
    /// Changes of the primary or loss of its data.
    pub(crate) generation_changes: IntCounter,
    /// Logins that were counted at this replica alone, because the engine did not answer.
    pub(crate) throttle_fallback: IntCounter,
    commands: HistogramVec,
    errors: IntCounterVec,
}

/// The metrics of this process's engine.
pub(crate) static ENGINE_METRICS: LazyLock<EngineMetrics> = LazyLock::new(EngineMetrics::new);

impl EngineMetrics {
    fn new() -> Self {
        let registry = &METRICS.registry;
        let up = IntGauge::new("portcullis_shared_state_up", "1 while the engine answers, else 0.");
        let generation_changes = IntCounter::new(
            "portcullis_shared_state_generation_changes_total",
            "Times when the engine's primary changed, or lost its data.",
        );
        let throttle_fallback = IntCounter::new(
            "portcullis_shared_state_throttle_fallback_total",
            "Logins that were counted at this replica alone, because the engine did not answer.",
        );
        let seconds = HistogramOpts::new(
            "portcullis_shared_state_commands_seconds",
            "Commands to the engine, until their answer was there or the time was over.",
        );
        let errors = Opts::new("portcullis_shared_state_errors_total", "Commands to the engine that failed.");
        Self {
            up: registered(registry, up),
            generation_changes: registered(registry, generation_changes),
            throttle_fallback: registered(registry, throttle_fallback),
            commands: registered(registry, HistogramVec::new(seconds.buckets(SECONDS.to_vec()), &["op"])),
            errors: registered(registry, IntCounterVec::new(errors, &["op", "kind"])),
        }
    }

    /// Records a command. `failed` is the kind of its failure.
    pub(crate) fn record(&self, operation: &str, duration: Duration, failed: Option<&str>) {
        self.commands.with_label_values(&[operation]).observe(duration.as_secs_f64());
        if let Some(kind) = failed {
            self.errors.with_label_values(&[operation, kind]).inc();
        }
    }

    /// Counts values of the engine that do not open.
    pub(crate) fn unreadable(&self, operation: &str, number: u64) {
        if number > 0 {
            self.errors.with_label_values(&[operation, "unreadable"]).inc_by(number);
        }
    }

    /// Returns the number of values of the engine that did not open.
    pub(crate) fn unreadable_until_now(&self, operation: &str) -> u64 {
        self.errors.with_label_values(&[operation, "unreadable"]).get()
    }

    /// Counts a command that was not sent.
    pub(crate) fn was_away(&self, operation: &str) {
        self.errors.with_label_values(&[operation, "away"]).inc();
    }
}
