//! Tables in Markdown.

use std::fmt::Write;

use crate::measurement::Measurement;
use crate::rounds::{Rounds, Spread, Value};

/// From this share on, a core is what limits the rate.
const BUSY: f64 = 0.95;

/// A case that others are compared with.
pub(crate) struct Column {
    title: &'static str,
    case: usize,
}

impl Column {
    /// Names a case in a table's head.
    pub(crate) const fn new(title: &'static str, case: usize) -> Self {
        Self { title, case }
    }
}

/// Medians of all that is measured.
pub(crate) fn figures(rounds: &Rounds) -> String {
    let mut text = head(&[
        "",
        "CPU µs/request",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "RSS MiB",
        "busy: proxy, load",
        "bottleneck",
    ]);
    for (case, title) in rounds.titles() {
        let median = |value: Value| rounds.of(case, value).median;
        let (proxy, load) = (median(|it| it.proxy_cores), median(|it| it.load_cores));
        let _always_fits = write!(
            text,
            "\n| {title} | {} | {:.0} | {:.2} | {:.2} | {:.1} | {proxy:.2}, {load:.2} | {} |",
            rounds.of(case, |it| it.cpu_us),
            median(|it| it.rate),
            median(|it| it.p50_ms),
            median(|it| it.p99_ms),
            median(|it| it.rss_mib),
            bottleneck(proxy, load),
        );
    }
    text
}

/// CPU time of some cases against others in the same round.
pub(crate) fn ratios(corner: &str, rounds: &Rounds, cases: &[usize], columns: &[Column]) -> String {
    let mut titles = vec![corner];
    titles.extend(columns.iter().map(|column| column.title));
    let mut text = head(&titles);
    for (case, title) in rounds.titles().filter(|(case, _)| cases.contains(case)) {
        let _always_fits = write!(text, "\n| {title} |");
        for column in columns {
            if column.case == case {
                text.push_str(" 1 |");
            } else {
                let _always_fits = write!(text, " {} |", rounds.ratio(case, column.case, cpu));
            }
        }
    }
    text
}

/// Something that must not exceed a limit.
pub(crate) struct Goal {
    /// The name of the goal.
    pub(crate) what: &'static str,
    /// The limit for its median.
    pub(crate) limit: f64,
    /// The measured value.
    pub(crate) measured: Spread,
}

/// Returns a table that says of each goal whether it is reached.
pub(crate) fn goals(goals: &[Goal]) -> String {
    let mut text = head(&["goal", "at most", "measured", "reached"]);
    for Goal { what, limit, measured } in goals {
        let reached = if measured.median <= *limit { "yes" } else { "no" };
        let _always_fits = write!(text, "\n| {what} | {limit} | {measured} | {reached} |");
    }
    text
}

/// Returns the growth of each case against the one that `baseline` names, in CPU time and p99.
pub(crate) fn growth(rounds: &Rounds, baseline: impl Fn(usize) -> usize) -> String {
    let mut text =
        head(&["", "CPU µs/request", "×", "p99 ms", "×", "RSS MiB", "requests/s", "busy: proxy, load"]);
    for (case, title) in rounds.titles() {
        let median = |value: Value| rounds.of(case, value).median;
        let against = |value: Value| match baseline(case) {
            same if same == case => "1".to_owned(),
            other => rounds.ratio(case, other, value).to_string(),
        };
        let _always_fits = write!(
            text,
            "\n| {title} | {} | {} | {} | {} | {:.1} | {:.0} | {:.2}, {:.2} |",
            rounds.of(case, cpu),
            against(cpu),
            rounds.of(case, p99),
            against(p99),
            median(|it| it.rss_mib),
            median(|it| it.rate),
            median(|it| it.proxy_cores),
            median(|it| it.load_cores),
        );
    }
    text
}

/// The first lines of a table.
pub(crate) fn head(titles: &[&str]) -> String {
    format!("| {} |\n|{}", titles.join(" | "), "---|".repeat(titles.len()))
}

/// [`Measurement::cpu_us`].
pub(crate) const fn cpu(measurement: &Measurement) -> f64 {
    measurement.cpu_us
}

/// [`Measurement::p99_ms`].
pub(crate) const fn p99(measurement: &Measurement) -> f64 {
    measurement.p99_ms
}

/// The load's cores are counted as one, which they are on a machine with two.
const fn bottleneck(proxy: f64, load: f64) -> &'static str {
    match (proxy >= BUSY, load >= BUSY) {
        (true, true) => "both",
        (true, false) => "proxy",
        (false, true) => "load and app",
        (false, false) => "neither",
    }
}
