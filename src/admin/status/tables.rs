//! The tables of the page.

use crate::admin::status::cells::{mark, now};
use crate::admin::status::counts::Count;
use crate::admin::status::facts::{AppStatus, CertificateStatus, Health, ProviderStatus, Status};
use crate::admin::status::finding::Standing;
use crate::admin::status::html::Html;
use crate::admin::status::sparkline::draw;
use crate::admin::status::units::{count, days, duration, list, moment, whole};

/// The number of lines in a table of counts. The metrics have the rest.
const MAX_COUNTS: usize = 14;

/// Writes the apps with their upstreams.
pub(super) fn apps(html: &mut Html, status: &Status) {
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

/// Writes the identity providers with their keys and calls.
pub(super) fn providers(html: &mut Html, status: &Status) {
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

/// Writes counts, the most frequent of the last quarter of an hour first.
pub(super) fn counts(html: &mut Html, title: &'static str, column: &'static str, counts: &[Count]) {
    html.raw("<h2>").raw(title).raw("</h2>\n");
    if counts.is_empty() {
        html.raw("<p>Nothing since the start.</p>\n");
        return;
    }
    html.open_table(title, &[column, "15 min", "Since start"]);
    for one in counts.iter().take(MAX_COUNTS) {
        html.row(
            |html| {
                if let Some(what) = one.what {
                    html.raw(what).raw(": ");
                }
                html.raw("<code>").text(&one.name).raw("</code>");
            },
            |html| {
                html.number("15 min", count(one.lately)).number("Since start", count(one.since_start));
            },
        );
    }
    html.close_table();
    if counts.len() > MAX_COUNTS {
        html.raw("<p class=\"small\">More of them in /metrics.</p>\n");
    }
}

/// Writes the present values of the process, and its certificates.
pub(super) fn process(html: &mut Html, status: &Status) {
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
