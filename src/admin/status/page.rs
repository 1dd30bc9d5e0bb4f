//! The page: one file without a script, a request of its own or anything from elsewhere.
//!
//! What it looks like is never the only thing that says something: every colour and every picture has its words.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use super::findings::{Severity, Standing};
use super::html::Html;
use super::sparkline::draw;
use super::words::{ago, count, days, duration, list, measure, moment, whole};
use super::{AppStatus, CertificateStatus, Count, Health, ProviderStatus, Rate, Status};

/// The query of a page that stays as it is, for those whom a page that changes by itself disturbs.
pub(in crate::admin) const WITHOUT_REFRESH: &str = "refresh=off";

const STYLE: &str = include_str!("page.css");

/// Lines of a table of counts: the rest is for the metrics.
const MAX_COUNTS: usize = 14;

/// What the page may do: show itself, with this very style.
pub(in crate::admin) static CONTENT_SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The whole page. `refreshes`: it asks for itself again every ten seconds.
pub(in crate::admin) fn write(status: &Status, refreshes: bool) -> String {
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
    apps(&mut html, status);
    providers(&mut html, status);
    html.raw("<div class=\"pair\">\n<section>\n");
    counts(&mut html, "Why requests did not pass", "Reason", &status.reasons);
    html.raw("</section>\n<section>\n");
    counts(&mut html, "Sessions", "Event", &status.sessions);
    html.raw("</section>\n</div>\n");
    process(&mut html, status);
    html.raw("</main>\n<footer><p>The same for scripts: <a href=\"/status.json\">/status.json</a>, ");
    html.raw("<a href=\"/metrics\">/metrics</a>, <a href=\"/readyz\">/readyz</a>. ");
    html.raw("Reason codes and metrics are explained in <code>docs/operations.md</code>.</p></footer>\n");
    html.raw("</body>\n</html>\n");
    html.into_string()
}

/// A class and words for the whole.
fn state_of(status: &Status) -> (&'static str, &'static str) {
    let is_bad = status.findings.iter().any(|finding| finding.severity == Severity::Problem);
    match (status.not_ready.is_empty(), is_bad) {
        (false, _) => ("bad", "Not ready"),
        (true, true) => ("warn", "Ready, with problems"),
        (true, false) => ("good", "Ready"),
    }
}

fn mark(html: &mut Html, class: &'static str, words: &'static str) {
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
    html.raw("<section>\n<h2>The last 15 minutes</h2>\n<ul class=\"rates\">\n");
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

fn now(html: &mut Html, rate: &Rate) {
    match rate.last_minute {
        Some(value) => html.text(measure(value, rate.unit)),
        None => html.raw("–"),
    };
}

fn apps(html: &mut Html, status: &Status) {
    html.raw("<section>\n<h2>Apps</h2>\n");
    let columns =
        ["App", "Hosts", "Upstreams", "Requests", "Refused, 15 min", "5xx, 15 min", "App failed, 15 min"];
    html.open_wide_table("Apps, their upstreams and their requests", &columns);
    for app in &status.apps {
        html.row(
            |html| {
                html.raw("<b>").text(&app.name).raw("</b><div class=\"small\">");
                html.text(app.routes).raw(if app.routes == 1 { " route, " } else { " routes, " });
                html.text(&app.identity_provider).raw("</div>");
            },
            |html| app_cells(html, app),
        );
    }
    html.close_table();
    html.raw("</section>\n");
}

fn app_cells(html: &mut Html, app: &AppStatus) {
    html.cell("Hosts", |html| {
        for host in &app.hosts {
            html.raw("<div>").text(host).raw("</div>");
        }
    });
    html.cell("Upstreams", |html| {
        if app.upstreams.is_empty() {
            mark(html, "bad", "no address known");
        }
        for upstream in &app.upstreams {
            html.raw("<div><code>").text(&upstream.address).raw("</code> ");
            match upstream.health {
                Health::Up => mark(html, "good", "up"),
                Health::Down => mark(html, "bad", "down"),
                Health::NotChecked => mark(html, "none", "not checked, the only one"),
            }
            html.raw("</div>");
        }
    });
    html.cell("Requests", |html| {
        now(html, &app.requests);
        draw(html, &app.requests, &format!("App {}: ", app.name));
    });
    html.number("Refused, 15 min", count(app.refused));
    html.number("5xx, 15 min", count(app.server_errors));
    html.number("App failed, 15 min", count(app.upstream_errors));
}

fn providers(html: &mut Html, status: &Status) {
    html.raw("<section>\n<h2>Identity providers</h2>\n");
    let columns = ["Provider", "State", "JWKS", "Algorithms", "Time per call", "Failed calls, 15 min"];
    html.open_wide_table("Identity providers, their keys and their calls", &columns);
    for provider in &status.identity_providers {
        html.row(
            |html| {
                html.raw("<b>")
                    .text(&provider.name)
                    .raw("</b><div class=\"small\">")
                    .text(&provider.issuer)
                    .raw("</div>");
            },
            |html| provider_cells(html, provider),
        );
    }
    html.close_table();
    html.raw("</section>\n");
}

fn provider_cells(html: &mut Html, provider: &ProviderStatus) {
    html.cell("State", |html| {
        match (provider.is_ready, provider.errors_last_minute > 0.0 || provider.last_error.is_some()) {
            (false, _) => mark(html, "bad", "not ready"),
            (true, true) => mark(html, "warn", "ready, calls fail"),
            (true, false) => mark(html, "good", "ready"),
        }
        if let Some(error) = &provider.last_error {
            html.raw("<div class=\"small\">").text(error).raw("</div>");
        }
    });
    html.cell("JWKS", |html| {
        html.text(provider.keys).raw(if provider.keys == 1 { " key" } else { " keys" });
        match provider.jwks_age_seconds {
            Some(age) => html.raw(", fetched ").text(duration(age)).raw(" ago"),
            None if provider.keys > 0 => html.raw(", from the configuration"),
            None => html.raw(", never fetched"),
        };
    });
    html.cell("Algorithms", |html| {
        html.text(list(&provider.algorithms));
    });
    html.cell("Time per call", |html| {
        now(html, &provider.latency);
        draw(html, &provider.latency, &format!("Identity provider {}: ", provider.name));
    });
    html.number(
        "Failed calls, 15 min",
        format_args!("{} of {}", count(provider.errors), count(provider.calls)),
    );
}

fn counts(html: &mut Html, title: &'static str, column: &'static str, counts: &[Count]) {
    html.raw("<h2>").raw(title).raw("</h2>\n");
    if counts.is_empty() {
        html.raw("<p>Nothing since the start.</p>\n");
        return;
    }
    html.open_table(title, &[column, "15 min", "Since the start"]);
    for one in counts.iter().take(MAX_COUNTS) {
        html.row(
            |html| {
                html.raw(one.what).raw(if one.what.is_empty() { "" } else { ": " });
                html.raw("<code>").text(&one.name).raw("</code>");
            },
            |html| {
                html.number("15 min", count(one.lately)).number("Since the start", count(one.since_start));
            },
        );
    }
    html.close_table();
    if counts.len() > MAX_COUNTS {
        html.raw("<p class=\"small\">More of them in /metrics.</p>\n");
    }
}

fn process(html: &mut Html, status: &Status) {
    html.raw("<div class=\"pair\">\n<section>\n<h2>Process</h2>\n");
    html.open_table("The process now", &["What", "Now"]);
    let row = |html: &mut Html, what: &'static str, now: String| {
        html.row(
            |html| {
                html.raw(what);
            },
            |html| {
                html.cell("Now", |html| {
                    html.text(now);
                });
            },
        );
    };
    for listening in &status.listening {
        row(html, listening.key, listening.address.to_string());
    }
    let connections =
        format!("{} of at most {}", whole(status.open_connections), whole(status.max_connections));
    row(html, "Open connections", connections);
    row(html, "WebSockets, event streams", whole(status.open_streams));
    row(html, "Requests that wait for a refresh", whole(status.refreshes_waiting));
    row(html, "Revocations that are kept", whole(status.revocations));
    row(html, "Reloads that were refused", whole(status.configuration.refused_reloads));
    html.close_table();
    html.raw("</section>\n<section>\n");
    certificates(html, &status.certificates);
    html.raw("</section>\n</div>\n");
}

fn certificates(html: &mut Html, certificates: &[CertificateStatus]) {
    html.raw("<h2>Certificates</h2>\n");
    if certificates.is_empty() {
        html.raw("<p>No listener speaks TLS.</p>\n");
        return;
    }
    html.open_wide_table("Certificates of the TLS listeners", &["Names", "State", "Time left"]);
    for certificate in certificates {
        let (class, state) = match certificate.standing() {
            Standing::Good => ("good", "valid"),
            Standing::EndsSoon => ("warn", "ends soon"),
            Standing::Expired => ("bad", "expired"),
            Standing::Early => ("bad", "not valid yet"),
        };
        let until = moment(certificate.not_after.max(0).unsigned_abs());
        html.row(
            |html| {
                html.raw("<b>").text(list(&certificate.names)).raw("</b>");
            },
            |html| {
                html.cell("State", |html| mark(html, class, state));
                html.cell("Time left", |html| {
                    html.text(days(certificate.seconds_left));
                    html.raw("<div class=\"small\">until ").text(until).raw("</div>");
                });
            },
        );
    }
    html.close_table();
}
