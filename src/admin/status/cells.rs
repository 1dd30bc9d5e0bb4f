//! The pieces that several parts of the page use.

use crate::admin::status::facts::Rate;
use crate::admin::status::html::Html;
use crate::admin::status::units::measure;

/// Writes a state as a sign, a colour and words.
pub(super) fn mark(html: &mut Html, class: &'static str, words: &'static str) {
    let sign = match class {
        "good" => "✓ ",
        "warn" => "! ",
        "bad" => "✗ ",
        _ => "",
    };
    html.raw("<span class=\"state ")
        .raw(class)
        .raw("\"><span aria-hidden=\"true\">")
        .raw(sign)
        .raw("</span>");
    html.raw(words).raw("</span>");
}

/// Writes the mean of the last minute.
pub(super) fn now(html: &mut Html, rate: &Rate) {
    match rate.last_minute {
        Some(value) => html.text(measure(value, rate.unit)),
        None => html.raw("–"),
    };
}
