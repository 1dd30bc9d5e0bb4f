//! The metrics by name, with their help texts and the names of their labels.

use prometheus::Opts;

/// A metric with all its series.
#[derive(Clone, Copy)]
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    /// The names of its labels.
    pub(super) labels: &'static [&'static str],
}

impl Family {
    const fn new(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, help, labels }
    }

    /// Returns its name and its help in the form that the library takes.
    pub(super) fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }
}

pub(super) const REQUESTS: Family = Family::new(
    "portcullis_requests_total",
    "Requests that were answered, by status class.",
    &["app", "route", "status"],
);
pub(super) const REQUEST_SECONDS: Family = Family::new(
    "portcullis_request_duration_seconds",
    "From a request's head to the end of its answer.",
    &["app"],
);
pub(super) const DECISIONS: Family =
    Family::new("portcullis_decisions_total", "Why requests passed or were refused.", &["app", "reason"]);
pub(super) const LOGINS: Family =
    Family::new("portcullis_logins_total", "Logins by outcome.", &["app", "outcome"]);
pub(super) const REFRESHES: Family = Family::new(
    "portcullis_refreshes_total",
    "Refreshes by outcome: calls to the provider, and what was refused without one.",
    &["app", "outcome"],
);
pub(super) const SESSIONS_ENDED: Family =
    Family::new("portcullis_sessions_ended_total", "Sessions that ended, by reason.", &["app", "reason"]);
pub(super) const REVOCATIONS: Family =
    Family::new("portcullis_revocations_total", "Revocations by who asked for them.", &["source", "outcome"]);
pub(super) const REUSE: Family = Family::new(
    "portcullis_refresh_token_reuses_total",
    "Refresh tokens that were used again too late.",
    &["app"],
);
pub(super) const REFRESH_WAITS: Family = Family::new(
    "portcullis_refresh_waits_total",
    "Requests that waited for another request's refresh.",
    &["app"],
);
pub(super) const REFRESH_WAITING: Family =
    Family::new("portcullis_refresh_waiting", "Requests that wait for a call to the provider now.", &[]);
pub(super) const REPLAYS: Family = Family::new(
    "portcullis_refresh_replays_total",
    "Requests that were answered from the replay window.",
    &["app"],
);
pub(super) const PROVIDER_SECONDS: Family = Family::new(
    "portcullis_identity_provider_request_duration_seconds",
    "Calls to the provider, until their answer was read.",
    &["identity_provider", "endpoint"],
);
pub(super) const PROVIDER_ERRORS: Family = Family::new(
    "portcullis_identity_provider_errors_total",
    "Calls to the provider without an answer, or with a status of 500 and more, or 429.",
    &["identity_provider", "endpoint"],
);
pub(super) const UPSTREAM_ERRORS: Family =
    Family::new("portcullis_upstream_errors_total", "Failures of an app's upstreams.", &["app", "reason"]);
pub(super) const OMISSIONS: Family = Family::new(
    "portcullis_identity_omissions_total",
    "Claims of new JWTs that an app is not told, or not as a whole.",
    &["app"],
);
pub(super) const NAME_LOOKUPS: Family = Family::new(
    "portcullis_name_lookups_total",
    "Look-ups of the host names of apps' upstreams.",
    &["host", "outcome"],
);
pub(super) const CONNECTIONS: Family =
    Family::new("portcullis_open_connections", "Connections that are open, public ones.", &[]);
pub(super) const CONFIG_GENERATION: Family = Family::new(
    "portcullis_config_generation",
    "How often a configuration was taken since the start: 1 is the first one.",
    &[],
);
pub(super) const CONFIG_LOADED: Family = Family::new(
    "portcullis_config_loaded_timestamp_seconds",
    "When the configuration was taken, in Unix seconds.",
    &[],
);
pub(super) const REFUSED_HEADS: Family = Family::new(
    "portcullis_refused_heads_total",
    "Requests that were refused and are of no app.",
    &["reason"],
);
pub(super) const SPANS: Family =
    Family::new("portcullis_spans_total", "Spans of traces, by what became of them.", &["outcome"]);
