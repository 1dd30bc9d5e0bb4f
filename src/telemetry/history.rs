//! What was counted in the last minutes, for the status page: the counters of the process, looked at every [`STEP`].
//!
//! Pure: it is given the time and the counters. Bounded: [`STEPS`] values for each series that the metrics have.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Between two looks at the counters.
pub(crate) const STEP: Duration = Duration::from_secs(10);

/// Steps that are kept: a quarter of an hour.
pub(crate) const STEPS: usize = 90;

/// What a counter counts, and what its name is.
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
}

/// The counters of one moment.
pub(crate) type Counters = BTreeMap<Counted, BTreeMap<String, f64>>;

/// The counters of the last steps.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// When they were looked at, since the start of the process; the oldest first.
    times: VecDeque<Duration>,
    /// What they said then, each as many values as there are times.
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

    /// What was added in each step.
    fn steps(&self, counted: Counted, name: Option<&str>) -> Vec<f64> {
        let sums = self.sums(counted, name);
        sums.iter().zip(sums.iter().skip(1)).map(|(before, after)| (after - before).max(0.0)).collect()
    }

    /// How long each step was, in seconds: a process that was stopped has long ones.
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
    /// What was counted since the start; of one name, or of all.
    pub(crate) fn total(&self, counted: Counted, name: Option<&str>) -> f64 {
        let named = self.counters.get(&counted);
        match name {
            Some(name) => named.and_then(|named| named.get(name)).copied().unwrap_or_default(),
            // Not `sum`, which makes -0 of nothing.
            None => named.into_iter().flat_map(BTreeMap::values).fold(0.0, |sum, value| sum + value),
        }
    }

    /// The names that were counted under.
    pub(crate) fn names(&self, counted: Counted) -> impl Iterator<Item = &str> {
        self.counters.get(&counted).into_iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// What was counted in the last `window`, or as far back as is known.
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
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn counters(values: &[(Counted, &str, f64)]) -> Counters {
        let mut counters = Counters::new();
        for (counted, name, value) in values {
            counters.entry(*counted).or_default().insert((*name).to_owned(), *value);
        }
        counters
    }

    fn store(requests: f64) -> Counters {
        counters(&[(Counted::Requests, "store", requests)])
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_counter_becomes_rates_of_its_steps() {
        let mut history = History::default();
        for (at, value) in [(0, 0.0), (10, 50.0), (20, 50.0), (50, 110.0)] {
            history.record(seconds(at), &store(value));
        }
        let now = store(120.0);
        let recent = history.until(seconds(55), &now);
        // The long step is one in which the process was stopped.
        assert_eq!(recent.rates(Counted::Requests, Some("store")), [Some(5.0), Some(0.0), Some(2.0)]);
        assert_eq!(recent.rates(Counted::Requests, None).len(), 3);
        assert_eq!(recent.rates(Counted::Logins, None), [Some(0.0); 3], "never counted");
        let nothing = recent.total(Counted::Logins, None);
        assert!(nothing == 0.0 && nothing.is_sign_positive(), "shown as a number");
        assert_eq!(recent.total(Counted::Requests, None), 120.0);
    }

    #[test]
    fn a_window_begins_with_the_look_before_it_and_ends_now() {
        let mut history = History::default();
        for step in 0..=12_u32 {
            history.record(STEP * step, &store(f64::from(step * 10)));
        }
        let now = store(125.0);
        let recent = history.until(seconds(125), &now);
        // At 60 s: 60.
        assert_eq!(recent.increase(Counted::Requests, None, MINUTE), 65.0);
        assert_eq!(recent.per_second(Counted::Requests, None, MINUTE), Some(1.0));
        assert_eq!(recent.increase(Counted::Requests, None, MINUTE * 15), 125.0, "as far as is known");
        assert_eq!(recent.increase(Counted::Requests, Some("forums"), MINUTE), 0.0);
    }

    #[test]
    fn nothing_is_said_before_anything_is_known() {
        let (history, now) = (History::default(), store(7.0));
        let recent = history.until(seconds(3), &now);
        assert_eq!(recent.per_second(Counted::Requests, None, MINUTE), None);
        assert_eq!(recent.increase(Counted::Requests, None, MINUTE), 0.0);
        assert!(recent.rates(Counted::Requests, None).is_empty());
        let mut history = History::default();
        history.record(seconds(3), &now);
        assert_eq!(history.until(seconds(3), &now).per_second(Counted::Requests, None, MINUTE), None);
    }

    #[test]
    fn series_come_late_and_stay_as_they_were() {
        let mut history = History::default();
        history.record(seconds(0), &store(1.0));
        history.record(seconds(10), &counters(&[(Counted::Requests, "forums", 20.0)]));
        history.record(seconds(20), &counters(&[(Counted::Requests, "forums", 20.0)]));
        let now = Counters::new();
        let recent = history.until(seconds(20), &now);
        assert_eq!(recent.rates(Counted::Requests, Some("forums")), [Some(2.0), Some(0.0)]);
        assert_eq!(recent.rates(Counted::Requests, Some("store")), [Some(0.0), Some(0.0)]);
        assert_eq!(recent.increase(Counted::Requests, None, MINUTE), 0.0, "never below nothing");
    }

    #[test]
    fn it_is_bounded() {
        let mut history = History::default();
        for step in 0..1000_u32 {
            history.record(STEP * step, &store(f64::from(step)));
        }
        let now = store(999.0);
        let recent = history.until(STEP * 999, &now);
        assert_eq!(recent.rates(Counted::Requests, None).len(), STEPS);
        assert_eq!(recent.increase(Counted::Requests, None, MINUTE * 60), 90.0);
        assert_eq!(history.series[&Counted::Requests]["store"].len(), STEPS + 1);
    }

    #[test]
    fn a_mean_needs_something_to_be_the_mean_of() {
        let mut history = History::default();
        let calls = |count, time| {
            counters(&[(Counted::ProviderCalls, "main", count), (Counted::ProviderSeconds, "main", time)])
        };
        let latency = (Counted::ProviderSeconds, Counted::ProviderCalls);
        for (at, now) in [(0, calls(0.0, 0.0)), (10, calls(4.0, 1.0)), (20, calls(4.0, 1.0))] {
            history.record(seconds(at), &now);
        }
        let now = calls(8.0, 5.0);
        let recent = history.until(seconds(21), &now);
        assert_eq!(recent.means(latency, None), [Some(0.25), None]);
        assert_eq!(recent.mean(latency, Some("main"), MINUTE), Some(0.625));
        assert_eq!(recent.mean(latency, Some("other"), MINUTE), None);
    }
}
