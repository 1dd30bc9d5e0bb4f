//! The explanation as it is printed, step by step.

use std::fmt::Write as _;

/// The steps so far, a line for each.
pub(super) struct Steps(pub(super) String);

impl Steps {
    /// Adds a step.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "  {name:<10} {value}");
    }

    /// Adds the last step: the answer with its reason code.
    pub(super) fn answer(&mut self, answer: &str, reason: &str) {
        self.add("answer", answer);
        self.add("reason", reason);
    }
}
