//! Figures into a table.

use std::time::Duration;

use crate::cases::{CASES, Case};

/// One case in one round.
#[derive(Debug, Clone)]
pub(crate) struct Measurement {
    /// CPU time of the proxy per request, in microseconds.
    cpu_us: f64,
    /// Requests per second.
    rate: f64,
    /// Median latency, in milliseconds.
    p50_ms: f64,
    /// 99th percentile, in milliseconds.
    p99_ms: f64,
    /// Resident memory of the proxy, in MiB.
    rss_mib: f64,
    /// Cores that the proxy was busy on.
    proxy_cores: f64,
    /// Cores that load and app were busy on.
    load_cores: f64,
}

impl Measurement {
    /// From the latencies of all requests in a window of `seconds`, and the CPU seconds used in it.
    pub(crate) fn new(
        mut latencies: Vec<Duration>,
        seconds: f64,
        proxy_cpu: f64,
        load_cpu: f64,
        rss_mib: f64,
    ) -> Self {
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

/// All rounds.
pub(crate) struct Report {
    pinned: bool,
    measured: Vec<(usize, Case, Measurement)>,
}

impl Report {
    /// `pinned`: proxy and load had cores of their own.
    pub(crate) const fn new(pinned: bool) -> Self {
        Self { pinned, measured: Vec::new() }
    }

    /// Adds a measurement, and prints it as a sign of life.
    pub(crate) fn add(&mut self, round: usize, case: Case, measured: Measurement) {
        eprintln!("round {}: {:32} {:6.2} µs", round + 1, case.title(), measured.cpu_us);
        self.measured.push((round, case, measured));
    }

    /// Prints the table, in Markdown: medians over the rounds; the ratios are formed within each round, and between the
    /// best rounds of each, since whatever else the machine does only ever adds.
    pub(crate) fn print(&self) {
        println!(
            "\n| | CPU µs/request | × bare: median (spread), best rounds | requests/s | p50 ms | p99 ms | RSS MiB | busy: proxy, load |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        for case in CASES.into_iter().filter(|case| self.of(*case).next().is_some()) {
            let median_of = |value: fn(&Measurement) -> f64| median(self.of(case).map(|(_, it)| value(it)));
            println!(
                "| {} | {:.2} | {} | {:.0} | {:.2} | {:.2} | {:.1} | {:.2}, {:.2} |",
                case.title(),
                median_of(|it| it.cpu_us),
                self.ratios(case),
                median_of(|it| it.rate),
                median_of(|it| it.p50_ms),
                median_of(|it| it.p99_ms),
                median_of(|it| it.rss_mib),
                median_of(|it| it.proxy_cores),
                median_of(|it| it.load_cores),
            );
        }
        if !self.pinned {
            println!(
                "\nProxy and load shared cores (no `taskset`, or one core): the ratios are less certain."
            );
        }
    }

    fn of(&self, case: Case) -> impl Iterator<Item = (usize, &Measurement)> {
        self.measured.iter().filter(move |(_, of, _)| *of == case).map(|(round, _, it)| (*round, it))
    }

    /// CPU time against the bare proxy with the same requests in the same round.
    fn ratios(&self, case: Case) -> String {
        let baseline = case.baseline();
        if case == baseline {
            return "1".into();
        }
        let ratios: Vec<f64> = self
            .of(case)
            .filter_map(|(round, it)| {
                let (_, bare) = self.of(baseline).find(|(other, _)| *other == round)?;
                Some(it.cpu_us / bare.cpu_us)
            })
            .collect();
        let best = |case| self.of(case).map(|(_, it)| it.cpu_us).fold(f64::INFINITY, f64::min);
        let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let best = best(case) / best(baseline);
        format!("{:.3} ({low:.3}–{high:.3}), {best:.3}", median(ratios.into_iter()))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}
