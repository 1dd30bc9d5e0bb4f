//! Measures cases in turn, and sums up the rounds.

use crate::cases::Case;
use crate::issuer::Error;
use crate::measurement::{Measurement, Window, median};
use crate::world::World;

/// The measurements of every case, one of each round.
pub(crate) struct Rounds {
    titles: Vec<String>,
    /// By case, then by round.
    measured: Vec<Vec<Measurement>>,
}

/// Of several rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    /// The middle.
    pub(crate) median: f64,
    /// The least.
    pub(crate) low: f64,
    /// The most.
    pub(crate) high: f64,
}

/// One of the things that are measured.
pub(crate) type Value = fn(&Measurement) -> f64;

impl Rounds {
    /// Measures: each round all cases one after the other, every other round in the reversed order.
    pub(crate) fn measure(
        world: &World,
        cases: &[Case],
        rounds: usize,
        window: Window,
    ) -> Result<Self, Error> {
        let titles = cases.iter().map(|case| case.title.clone()).collect();
        let mut measured: Vec<Vec<Measurement>> = cases.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            let mut order: Vec<(&Case, &mut Vec<Measurement>)> = cases.iter().zip(&mut measured).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for (case, of_case) in order {
                let measurement = case.measure(world, window)?;
                // A sign of life.
                eprintln!("round {}: {:48} {:7.2} µs", round + 1, case.title, measurement.cpu_us);
                of_case.push(measurement);
            }
        }
        Ok(Self { titles, measured })
    }

    /// The titles, in the order of the cases.
    pub(crate) fn titles(&self) -> impl Iterator<Item = (usize, &str)> {
        self.titles.iter().map(String::as_str).enumerate()
    }

    /// A value of a case over the rounds.
    pub(crate) fn of(&self, case: usize, value: Value) -> Spread {
        Spread::of(self.rounds(case).iter().map(value))
    }

    /// A value of a case against that of another one in the same round.
    pub(crate) fn ratio(&self, case: usize, baseline: usize, value: Value) -> Spread {
        let pairs = self.rounds(case).iter().zip(self.rounds(baseline));
        Spread::of(pairs.map(|(case, baseline)| value(case) / value(baseline)))
    }

    fn rounds(&self, case: usize) -> &[Measurement] {
        self.measured.get(case).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        Self {
            median: median(values.iter().copied()),
            low: values.iter().copied().fold(f64::INFINITY, f64::min),
            high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.2} ({:.2}–{:.2})", self.median, self.low, self.high)
    }
}
