//! Measurements of a proxy.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::issuer::Error;
use crate::load::{Load, Requests, wait_until_served};
use crate::process::{Proxy, cpu_seconds};

/// The least time between two looks at a load that warms up.
const TICK: Duration = Duration::from_millis(20);

/// One case in one round.
#[derive(Debug, Clone)]
pub(crate) struct Measurement {
    /// CPU time of the proxy per request, in microseconds.
    pub(crate) cpu_us: f64,
    /// Requests per second.
    pub(crate) rate: f64,
    /// Median latency, in milliseconds.
    pub(crate) p50_ms: f64,
    /// 99th percentile, in milliseconds.
    pub(crate) p99_ms: f64,
    /// Resident memory of the proxy, in MiB.
    pub(crate) rss_mib: f64,
    /// Cores that the proxy was busy on.
    pub(crate) proxy_cores: f64,
    /// Cores that load and app were busy on.
    pub(crate) load_cores: f64,
}

/// The length and the load of a measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Before the measurement, at least; every request has been answered once by then, too.
    pub(crate) warm_up: Duration,
    /// The measurement.
    pub(crate) length: Duration,
    /// Connections, each with one request at a time.
    pub(crate) connections: usize,
}

/// Loads a proxy that has just been started.
pub(crate) fn measure(
    proxy: &Proxy,
    requests: &Arc<dyn Requests>,
    window: Window,
) -> Result<Measurement, Error> {
    wait_until_served(proxy.address, &**requests)?;
    let load = Load::start(proxy.address, Arc::clone(requests), window.connections);
    thread::sleep(window.warm_up);
    // Connections are at different places of the list when each of them has sent its share.
    let enough = (requests.distinct() + window.connections) * 5 / 4;
    while load.answered() < enough && load.is_running() {
        thread::sleep(TICK);
    }
    let (proxy_before, load_before) = (proxy.cpu_seconds()?, cpu_seconds(std::process::id())?);
    load.begin_window();
    let began = Instant::now();
    thread::sleep(window.length);
    let (proxy_after, load_after) = (proxy.cpu_seconds()?, cpu_seconds(std::process::id())?);
    let seconds = began.elapsed().as_secs_f64();
    let rss_mib = proxy.rss_mib()?;
    let latencies = load.stop()?;
    if latencies.is_empty() {
        return Err("no request was answered".into());
    }
    Ok(Measurement::new(latencies, seconds, proxy_after - proxy_before, load_after - load_before, rss_mib))
}

impl Measurement {
    /// From the latencies of all requests in a window of `seconds`, and the CPU seconds used in it.
    fn new(mut latencies: Vec<Duration>, seconds: f64, proxy_cpu: f64, load_cpu: f64, rss_mib: f64) -> Self {
        latencies.sort_unstable();
        let percentile = |percent: usize| {
            let found = latencies.get(latencies.len().saturating_sub(1) * percent / 100);
            found.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
        };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let requests = latencies.len() as f64;
        Self {
            cpu_us: proxy_cpu * 1e6 / requests,
            rate: requests / seconds,
            p50_ms: percentile(50),
            p99_ms: percentile(99),
            rss_mib,
            proxy_cores: proxy_cpu / seconds,
            load_cores: load_cpu / seconds,
        }
    }
}

/// The middle, or between the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}
