//! Reads the few counters that the status page shows from the metrics of the process.

use prometheus::proto::Metric;

use crate::answer::reason::ReasonCode;
use crate::telemetry::history::{Counted, Counters};
use crate::telemetry::metrics::METRICS;

/// Returns the present values. This counts nothing itself, so a request costs no more.
pub(crate) fn read() -> Counters {
    let mut counters = Counters::new();
    for family in METRICS.registry.gather() {
        for metric in family.get_metric() {
            take(&mut counters, family.name(), metric);
        }
    }
    counters
}

fn take(counters: &mut Counters, family: &str, metric: &Metric) {
    let label = |name: &str| {
        let found = metric.get_label().iter().find(|label| label.name() == name);
        found.map(|label| label.value().to_owned()).unwrap_or_default()
    };
    let mut add = |counted, name: String, value: f64| {
        *counters.entry(counted).or_default().entry(name).or_default() += value;
    };
    let value = metric.get_counter().get_value();
    match family {
        "portcullis_requests_total" => {
            add(Counted::Requests, label("app"), value);
            if label("status") == "5xx" {
                add(Counted::ServerErrors, label("app"), value);
            }
        }
        "portcullis_decisions_total" => {
            let code = label("reason");
            let reason = ReasonCode::ALL.iter().find(|reason| reason.as_str() == code);
            if reason.is_some_and(|reason| reason.is_refusal()) {
                add(Counted::Refused, label("app"), value);
            }
            if reason.is_some_and(|reason| !reason.is_pass()) {
                add(Counted::Reasons, code, value);
            }
        }
        "portcullis_refused_heads_total" => add(Counted::Reasons, label("reason"), value),
        "portcullis_upstream_errors_total" => add(Counted::UpstreamErrors, label("app"), value),
        "portcullis_logins_total" => add(Counted::Logins, label("outcome"), value),
        "portcullis_refreshes_total" => add(Counted::Refreshes, label("outcome"), value),
        "portcullis_sessions_ended_total" => add(Counted::SessionsEnded, label("reason"), value),
        "portcullis_revocations_total" => {
            add(Counted::Revocations, format!("{}, {}", label("source"), label("outcome")), value);
        }
        "portcullis_identity_provider_request_duration_seconds" => {
            let (calls, seconds) = (metric.get_histogram(), label("identity_provider"));
            #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
            add(Counted::ProviderCalls, seconds.clone(), calls.get_sample_count() as f64);
            add(Counted::ProviderSeconds, seconds, calls.get_sample_sum());
        }
        "portcullis_identity_provider_errors_total" => {
            add(Counted::ProviderErrors, label("identity_provider"), value);
        }
        "portcullis_log_lines_dropped_total" => add(Counted::LostLogLines, String::new(), value),
        "portcullis_connections_refused_total" => add(Counted::RefusedConnections, String::new(), value),
        "portcullis_shared_state_unknown_outcomes_total" => {
            add(Counted::UnknownOutcomes, String::new(), value);
        }
        _ => {}
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers, and halves of them")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::audit::Event;
    use crate::telemetry::metrics::{self, AppMetrics, ProviderCall};

    /// Names of its own: the metrics are those of all tests of this process.
    #[test]
    fn what_is_counted_is_found() {
        let app = AppMetrics::new("counters-app", 1);
        let second = Some(Duration::from_secs(1));
        app.count((0, "-"), 200, Some(ReasonCode::SessionValid), second);
        app.count((0, "-"), 401, Some(ReasonCode::NoSession), second);
        app.count((0, "-"), 504, Some(ReasonCode::UpstreamTimeout), second);
        metrics::count_upstream_error("counters-app", ReasonCode::UpstreamTimeout);
        metrics::count_event(Event::Login, ReasonCode::Requested, "counters-app");
        metrics::count_event(Event::RefreshRefused, ReasonCode::NotBound, "counters-app");
        metrics::count_event(Event::Logout, ReasonCode::Requested, "counters-app");
        metrics::count_event(Event::WebhookRefused, ReasonCode::NotAuthentic, "");
        drop(ProviderCall::start("counters-provider", "jwks"));
        METRICS.refused_heads.with_label_values(&["header_too_large"]).inc();
        METRICS.process.log_lines_dropped.inc();
        METRICS.process.connections_refused.inc();
        let counters = read();
        for (counted, name, value) in [
            (Counted::Requests, "counters-app", 3.0),
            (Counted::ServerErrors, "counters-app", 1.0),
            (Counted::Refused, "counters-app", 1.0),
            (Counted::UpstreamErrors, "counters-app", 1.0),
            (Counted::ProviderCalls, "counters-provider", 1.0),
            (Counted::ProviderErrors, "counters-provider", 1.0),
        ] {
            assert_eq!(counters[&counted][name], value, "{counted:?}");
        }
        // Other tests count under these names, too.
        for (counted, name) in [
            (Counted::Reasons, "no_session"),
            (Counted::Reasons, "upstream_timeout"),
            (Counted::Reasons, "header_too_large"),
            (Counted::Logins, "success"),
            (Counted::Refreshes, "not_bound"),
            (Counted::SessionsEnded, "logout"),
            (Counted::Revocations, "webhook, refused"),
            (Counted::LostLogLines, ""),
            (Counted::RefusedConnections, ""),
        ] {
            assert!(counters[&counted][name] >= 1.0, "{counted:?} {name}");
        }
        assert!(!counters[&Counted::Reasons].contains_key("session_valid"));
        assert!(counters[&Counted::ProviderSeconds].contains_key("counters-provider"));
    }
}
