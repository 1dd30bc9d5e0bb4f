//! Draws the values of a quarter of an hour as a small picture. The picture also has a text that says what it shows.

use std::fmt::Write;

use crate::telemetry::history::STEPS;

use crate::admin::status::facts::Rate;
use crate::admin::status::html::Html;
use crate::admin::status::units::measure;

/// The picture's height in its own units. A step is two units wide.
const HEIGHT: f64 = 32.0;

/// The space above the highest point and below zero, so that the line is not cut.
const MARGIN: f64 = 2.0;

impl Rate {
    /// Returns the highest of the steps.
    pub(super) fn peak(&self) -> Option<f64> {
        self.steps.iter().flatten().copied().reduce(f64::max)
    }
}

/// Draws a rate. `whose` is the name of its subject, for readers who do not see the picture's place on the page.
pub(super) fn draw(html: &mut Html, rate: &Rate, whose: &str) {
    html.raw("<svg class=\"sparkline\" viewBox=\"0 0 180 32\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"");
    describe(html, rate, whose);
    html.raw("\"><title>");
    describe(html, rate, whose);
    html.raw("</title><path class=\"base\" d=\"M0 30H180\"/>");
    let (area, line) = paths(rate);
    html.raw("<path class=\"area\" d=\"")
        .text(area)
        .raw("\"/><path class=\"line\" d=\"")
        .text(line)
        .raw("\"/></svg>");
}

fn describe(html: &mut Html, rate: &Rate, whose: &str) {
    html.text(whose).text(rate.name).raw(" over the last 15 minutes: ");
    let lowest = rate.steps.iter().flatten().copied().reduce(f64::min);
    match (lowest, rate.peak()) {
        (Some(lowest), Some(peak)) => {
            html.raw("lowest ").text(measure(lowest, rate.unit));
            html.raw(", highest ").text(measure(peak, rate.unit));
        }
        _ => {
            html.raw("nothing yet");
        }
    }
}

/// Returns the area below each run of known steps, and the line above it. The newest step is at the right edge.
fn paths(rate: &Rate) -> (String, String) {
    let peak = rate.peak().filter(|peak| *peak > 0.0).unwrap_or(1.0);
    let y = |value: f64| HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * value / peak;
    let (mut area, mut line) = (String::new(), String::new());
    let mut left = 2 * STEPS.saturating_sub(rate.steps.len());
    for run in rate.steps.split(Option::is_none) {
        let right = left + 2 * run.len();
        let heights: Vec<_> = run.iter().flatten().map(|value| y(*value)).collect();
        if let Some(first) = heights.first() {
            let mut path = String::new();
            for (step, height) in heights.iter().enumerate() {
                // Writing into a string does not fail.
                let _ = write!(path, "L{} {height:.1}", left + 2 * step + 1);
            }
            let _ = write!(line, "M{left} {first:.1}{path}H{right}");
            let _ = write!(area, "M{left} 30V{first:.1}{path}H{right}V30Z");
        }
        left = right + 2;
    }
    (area, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(steps: Vec<Option<f64>>) -> (String, String) {
        let rate = Rate { name: "Requests", unit: "/s", last_minute: None, count: None, steps };
        let mut html = Html::default();
        draw(&mut html, &rate, "App <store>: ");
        (html.into_string(), paths(&rate).1)
    }

    #[test]
    fn the_newest_step_is_at_the_right_and_a_gap_stays_one() {
        let (picture, line) = drawn(vec![Some(1.0), Some(2.0), None, Some(0.0)]);
        assert_eq!(line, "M172 16.0L173 16.0L175 2.0H176M178 30.0L179 30.0H180");
        let words = "App &lt;store&gt;: Requests over the last 15 minutes: lowest 0/s, highest 2.00/s";
        assert!(picture.contains(&format!("aria-label=\"{words}\"")), "{picture}");
        assert!(picture.contains(&format!("<title>{words}</title>")), "{picture}");
    }

    #[test]
    fn nothing_and_zero_can_be_drawn() {
        let (picture, line) = drawn(Vec::new());
        assert!(picture.contains("nothing yet") && line.is_empty(), "{picture}");
        let (_, line) = drawn(vec![Some(0.0); STEPS]);
        assert!(line.starts_with("M0 30.0L1 30.0") && line.ends_with("H180"), "{line}");
    }
}
