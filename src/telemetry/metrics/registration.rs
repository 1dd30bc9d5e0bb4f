//! The registration of a metric.

use prometheus::Registry;
use prometheus::core::Collector;

/// Registers a metric. This cannot fail at run time, because names and labels are constants and a test reads them all.
pub(super) fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> C {
    let metric = metric.and_then(|metric| registry.register(Box::new(metric.clone())).map(|()| metric));
    metric.unwrap_or_else(|error| panic!("{error}"))
}
