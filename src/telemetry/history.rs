//! The counts of the last minutes, for the status page. The counters of the process are read once in every [`STEP`].
//!
//! This file does no I/O: it gets the time and the counters. It keeps [`STEPS`] values for each series of the metrics.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The time between two readings of the counters.
pub(crate) const STEP: Duration = Duration::from_secs(10);

/// The number of steps that are kept. Together they last a quarter of an hour.
pub(crate) const STEPS: usize = 90;

/// The time that the steps last together: the period of the values that are called "lately".
pub(crate) const LATELY: Duration = Duration::from_secs(STEP.as_secs() * STEPS as u64);

/// The things that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Counted {
    /// Requests of an app that are over.
    Requests,
    /// Those of them that were answered with a status of 500 and more.
    ServerErrors,
    /// Requests of an app that were refused here.
    Refused,
    /// Requests that did not pass, by reason.
    Reasons,
    /// Failures of an app's upstreams.
    UpstreamErrors,
    /// Logins, by outcome.
    Logins,
    /// Refreshes, by outcome.
    Refreshes,
    /// Sessions that ended, by reason.
    SessionsEnded,
    /// Revocations, by who asked for them and what came of it.
    Revocations,
    /// Calls to a provider.
    ProviderCalls,
    /// The time that those took, in seconds.
    ProviderSeconds,
    /// Those of them that failed.
    ProviderErrors,
    /// Lines of the log that nobody read in time.
    LostLogLines,
    /// Connections for which there was no room.
    RefusedConnections,
    /// Refresh tokens that a replica has presented, and whose fate is unknown.
    UnknownOutcomes,
}

/// The counters of one moment.
pub(crate) type Counters = BTreeMap<Counted, BTreeMap<String, f64>>;

/// The counters of the last steps.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The times of the readings, since the start of the process. The oldest is the first.
    times: VecDeque<Duration>,
    /// The values at these times: each series has one value for each time.
    series: BTreeMap<Counted, BTreeMap<String, VecDeque<f64>>>,
}

impl History {
    /// Keeps what the counters say at `at`, which is later than all before.
    pub(crate) fn record(&mut self, at: Duration, counters: &Counters) {
        let before = self.times.len();
        for (counted, named) in counters {
            let known = self.series.entry(*counted).or_default();
            for (name, value) in named {
                let values = known.entry(name.clone()).or_default();
                // A series that is new had counted nothing.
                values.resize(before, 0.0);
                values.push_back(*value);
            }
        }
        self.times.push_back(at);
        let kept = self.times.len().min(STEPS + 1);
        for values in self.series.values_mut().flat_map(BTreeMap::values_mut) {
            // What is counted no more stays as it was.
            let last = values.back().copied().unwrap_or_default();
            values.resize(before + 1, last);
            values.drain(..values.len() - kept);
        }
        self.times.drain(..self.times.len() - kept);
    }

    /// The last minutes as seen at `now`, when the counters say this.
    pub(crate) fn until<'a>(&'a self, now: Duration, counters: &'a Counters) -> Recent<'a> {
        Recent { history: self, now, counters }
    }

    /// The sum at each step; of one name, or of all.
    fn sums(&self, counted: Counted, name: Option<&str>) -> Vec<f64> {
        let mut sums = vec![0.0; self.times.len()];
        let named = self.series.get(&counted);
        let chosen: Vec<_> = match name {
            Some(name) => named.and_then(|named| named.get(name)).into_iter().collect(),
            None => named.into_iter().flat_map(BTreeMap::values).collect(),
        };
        for values in chosen {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        }
        sums
    }

    /// Returns the increase in each step.
    fn steps(&self, counted: Counted, name: Option<&str>) -> Vec<f64> {
        let sums = self.sums(counted, name);
        sums.iter().zip(sums.iter().skip(1)).map(|(before, after)| (after - before).max(0.0)).collect()
    }

    /// Returns the length of each step, in seconds. If the process was stopped for a while, a step is longer.
    fn lengths(&self) -> impl Iterator<Item = f64> {
        let times = self.times.iter();
        times.clone().zip(times.skip(1)).map(|(before, after)| after.saturating_sub(*before).as_secs_f64())
    }
}

/// The last minutes, seen at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recent<'a> {
    history: &'a History,
    now: Duration,
    counters: &'a Counters,
}

impl Recent<'_> {
    /// Returns the count since the start, of one name or of all names.
    pub(crate) fn total(&self, counted: Counted, name: Option<&str>) -> f64 {
        let named = self.counters.get(&counted);
        match name {
            Some(name) => named.and_then(|named| named.get(name)).copied().unwrap_or_default(),
            // Not `sum`, which makes -0 of nothing.
            None => named.into_iter().flat_map(BTreeMap::values).fold(0.0, |sum, value| sum + value),
        }
    }

    /// Returns the names that have a count.
    pub(crate) fn names(&self, counted: Counted) -> impl Iterator<Item = &str> {
        self.counters.get(&counted).into_iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// Returns the increase in the last `window`, or in the time that is known if that is shorter.
    pub(crate) fn increase(&self, counted: Counted, name: Option<&str>, window: Duration) -> f64 {
        let Some((index, _)) = self.start_of(window) else { return 0.0 };
        let then = self.history.sums(counted, name).get(index).copied().unwrap_or_default();
        (self.total(counted, name) - then).max(0.0)
    }

    /// The same for each second; `None`: nothing is known yet.
    pub(crate) fn per_second(&self, counted: Counted, name: Option<&str>, window: Duration) -> Option<f64> {
        let (_, start) = self.start_of(window)?;
        let seconds = self.now.saturating_sub(start).as_secs_f64();
        (seconds > 0.0).then(|| self.increase(counted, name, window) / seconds)
    }

    /// `dividend` for each of `divisor` in the last `window`; `None`: there was none.
    pub(crate) fn mean(
        &self,
        (dividend, divisor): (Counted, Counted),
        name: Option<&str>,
        window: Duration,
    ) -> Option<f64> {
        let count = self.increase(divisor, name, window);
        (count > 0.0).then(|| self.increase(dividend, name, window) / count)
    }

    /// For each second of each step, the oldest first.
    pub(crate) fn rates(&self, counted: Counted, name: Option<&str>) -> Vec<Option<f64>> {
        let steps = self.history.steps(counted, name);
        steps.iter().zip(self.history.lengths()).map(|(step, length)| ratio(*step, length)).collect()
    }

    /// [`mean`](Self::mean) for each step, the oldest first.
    pub(crate) fn means(
        &self,
        (dividend, divisor): (Counted, Counted),
        name: Option<&str>,
    ) -> Vec<Option<f64>> {
        let divisors = self.history.steps(divisor, name);
        let dividends = self.history.steps(dividend, name);
        dividends.iter().zip(&divisors).map(|(dividend, divisor)| ratio(*dividend, *divisor)).collect()
    }

    /// The latest look that is at least `window` ago, or else the oldest.
    fn start_of(&self, window: Duration) -> Option<(usize, Duration)> {
        let times = &self.history.times;
        let is_before = |at: &Duration| self.now.saturating_sub(*at) >= window;
        let index = times.iter().rposition(is_before).unwrap_or(0);
        times.get(index).map(|at| (index, *at))
    }
}

fn ratio(dividend: f64, divisor: f64) -> Option<f64> {
    (divisor > 0.0).then(|| dividend / divisor)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers, and halves of them")]
mod tests;
