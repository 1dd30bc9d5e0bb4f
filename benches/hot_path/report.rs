//! Turns figures into a table.

use crate::cases::{CASES, Case};
use crate::measurement::{Measurement, median};

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
