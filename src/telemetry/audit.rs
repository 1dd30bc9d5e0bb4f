//! The audit log: the events of sessions, with the target `audit`. It never has tokens, passwords or user names.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderValue;
use tracing::info;

use crate::answer::reason::ReasonCode;
use crate::telemetry::access_log::text;
pub(crate) use crate::telemetry::event::Event;
use crate::telemetry::{metrics, replica_id, traces};

/// The request that caused an event.
#[derive(Debug, Clone)]
pub(crate) struct Cause {
    /// Its id.
    pub(crate) request_id: HeaderValue,
    /// The address that it came from.
    pub(crate) address: Option<IpAddr>,
}

tokio::task_local! {
    static CAUSE: Option<Cause>;
}

/// Runs the work that a request asks for. All events of this work name the request, although `session/` does not know
/// it.
pub(crate) fn caused_by<F: Future>(cause: Option<Cause>, work: F) -> impl Future<Output = F::Output> {
    CAUSE.scope(cause, work)
}

/// Returns the request that caused the present work. Pass it on to a task that this work starts.
pub(crate) fn cause() -> Option<Cause> {
    CAUSE.try_with(Clone::clone).ok().flatten()
}

/// The app of an event, with its client and its provider.
pub(crate) trait Audited {
    /// The app's name.
    fn app(&self) -> &str;
    /// Its `client_id` at the provider.
    fn client_id(&self) -> &str;
    /// The provider's name.
    fn provider(&self) -> &str;
}

impl<T: Audited> Audited for Arc<T> {
    fn app(&self) -> &str {
        (**self).app()
    }

    fn client_id(&self) -> &str {
        (**self).client_id()
    }

    fn provider(&self) -> &str {
        (**self).provider()
    }
}

/// Writes an event of one app's session.
pub(crate) fn record(event: Event, reason: ReasonCode, of: &dyn Audited, subject: Option<&str>) {
    write(event, reason, Some(of), subject, None, None);
}

/// Writes an event of one app's session with a detail. `detail` must not quote a client or a token.
pub(crate) fn record_detail(event: Event, reason: ReasonCode, of: &dyn Audited, detail: &str) {
    write(event, reason, Some(of), None, Some(detail), None);
}

/// Writes an event of the admin listener, which belongs to no app. `detail` is the claim by which sessions are revoked.
/// `peer` is the caller.
pub(crate) fn record_admin(
    event: Event,
    reason: ReasonCode,
    subject: Option<&str>,
    detail: Option<&str>,
    peer: Option<IpAddr>,
) {
    write(event, reason, None, subject, detail, peer);
}

fn write(
    event: Event,
    reason: ReasonCode,
    of: Option<&dyn Audited>,
    subject: Option<&str>,
    detail: Option<&str>,
    peer: Option<IpAddr>,
) {
    metrics::count_event(event, reason, of.map_or("-", Audited::app));
    let cause = cause();
    let client = cause.as_ref().and_then(|cause| cause.address).or(peer);
    info!(
        target: "audit",
        event = event.as_str(),
        reason = reason.as_str(),
        app = of.map(Audited::app),
        client_id = of.map(Audited::client_id),
        provider = of.map(Audited::provider),
        sub = subject,
        detail,
        request_id = text(cause.as_ref().map(|cause| &cause.request_id)),
        trace_id = traces::trace_id(),
        replica = replica_id::get(),
        client = client.map(tracing::field::display),
        "session event"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_event_and_no_other() {
        let page = include_str!("../../docs/operations.md");
        let section = page.split("## Audit log").nth(1).unwrap().split("\n## ").next().unwrap();
        let row = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
        let table = section.split("| Field |").next().unwrap();
        let events: Vec<_> = table.lines().filter_map(row).collect();
        assert_eq!(events, Event::ALL.map(|event| event.as_str().to_owned()));
    }
}
