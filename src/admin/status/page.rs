//! The page: one file. It has no script, makes no requests, and loads nothing from elsewhere.
//!
//! Every colour and every picture also has words that say the same.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::admin::status::cells::{mark, now};
use crate::admin::status::facts::Status;
use crate::admin::status::finding::Severity;
use crate::admin::status::html::Html;
use crate::admin::status::shared_state_tables;
use crate::admin::status::sparkline::draw;
use crate::admin::status::tables;
use crate::admin::status::units::{ago, count, duration, measure, moment};

/// The query of a page that does not reload itself. Pages that reload themselves disturb some readers.
pub(crate) const WITHOUT_REFRESH: &str = "refresh=off";

const STYLE: &str = include_str!("page.css");

/// The policy lets the page show only itself, with exactly this style.
pub(crate) static CONTENT_SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Writes the whole page. If `refreshes` is true, the page reloads itself every ten seconds.
pub(crate) fn write(status: &Status, refreshes: bool) -> String {
    let mut html = Html::default();
    html.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>");
    html.raw(state_of(status).1).raw(": Portcullis</title>\n");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.raw("<meta name=\"robots\" content=\"noindex\">\n");
    if refreshes {
        html.raw("<meta http-equiv=\"refresh\" content=\"10\">\n");
    }
    html.raw("<style>").raw(STYLE).raw("</style>\n</head>\n<body>\n");
    header(&mut html, status, refreshes);
    html.raw("<main>\n");
    findings(&mut html, status);
    rates(&mut html, status);
    tables::apps(&mut html, status);
    tables::providers(&mut html, status);
    shared_state_tables::section(&mut html, status);
    html.raw("<div class=\"pair\">\n<section>\n");
    tables::counts(&mut html, "Why requests did not pass", "Reason", &status.reasons);
    html.raw("</section>\n<section>\n");
    tables::counts(&mut html, "Sessions", "Event", &status.sessions);
    html.raw("</section>\n</div>\n");
    tables::process(&mut html, status);
    html.raw("</main>\n<footer><p>The same for scripts: <a href=\"/status.json\">/status.json</a>, ");
    html.raw("<a href=\"/metrics\">/metrics</a>, <a href=\"/readyz\">/readyz</a>. ");
    html.raw("Reason codes and metrics are explained in <code>docs/operations.md</code>.</p></footer>\n");
    html.raw("</body>\n</html>\n");
    html.into_string()
}

/// Returns a class and words for the overall state.
fn state_of(status: &Status) -> (&'static str, &'static str) {
    let is_bad = status.findings.iter().any(|finding| finding.severity == Severity::Problem);
    match (status.not_ready.is_empty(), is_bad) {
        (false, _) => ("bad", "Not ready"),
        (true, true) => ("warn", "Ready, with problems"),
        (true, false) => ("good", "Ready"),
    }
}

fn header(html: &mut Html, status: &Status, refreshes: bool) {
    let (class, words) = state_of(status);
    html.raw("<header>\n<h1>Portcullis</h1>\n");
    mark(html, class, words);
    html.raw("\n<p class=\"facts\"><span>Version ").text(status.version);
    html.raw("</span><span>Up for ").text(duration(status.uptime_seconds));
    let configuration = &status.configuration;
    html.raw("</span><span>Configuration ").text(configuration.generation);
    html.raw(", loaded ").text(ago(status.now, configuration.loaded_at));
    html.raw("</span><span>As of ").text(moment(status.now)).raw("</span>");
    html.raw(if refreshes {
        "<a href=\"/?refresh=off\">Stop refreshing every 10 s</a>"
    } else {
        "<a href=\"/\">Refresh every 10 s</a>"
    });
    html.raw("</p>\n</header>\n");
}

fn findings(html: &mut Html, status: &Status) {
    html.raw("<section>\n<h2>To look at</h2>\n");
    if status.findings.is_empty() {
        html.raw("<p>Nothing: every provider, upstream and certificate is as it should be.</p>\n");
    } else {
        html.raw("<ul class=\"findings\">\n");
        for finding in &status.findings {
            html.raw("<li>");
            match finding.severity {
                Severity::Problem => mark(html, "bad", "Problem"),
                Severity::Warning => mark(html, "warn", "Warning"),
            }
            html.raw("<div><strong>").text(&finding.about).raw("</strong>").text(&finding.text);
            html.raw("</div></li>\n");
        }
        html.raw("</ul>\n");
    }
    html.raw("</section>\n");
}

fn rates(html: &mut Html, status: &Status) {
    html.raw("<section>\n<h2>The last 15 minutes</h2>\n");
    html.raw("<p class=\"small\">A number is the mean of the last minute, a point of a line that of ten seconds.</p>\n");
    html.raw("<ul class=\"rates\">\n");
    for rate in &status.rates {
        html.raw("<li><h3>").raw(rate.name).raw("</h3><p class=\"now\">");
        now(html, rate);
        html.raw("</p>");
        draw(html, rate, "");
        html.raw("<p class=\"small\">");
        if let Some(peak) = rate.peak() {
            html.raw("highest ").text(measure(peak, rate.unit));
        }
        if let Some(total) = rate.count {
            html.raw(if rate.peak().is_some() { " · " } else { "" }).text(count(total)).raw(" in all");
        }
        html.raw("</p></li>\n");
    }
    html.raw("</ul>\n</section>\n");
}
