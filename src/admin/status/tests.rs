//! The page of a made-up gateway, as it is sent.

mod shared_state;

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::counts::Count;
use super::facts::*;
use super::finding::Severity;
use super::findings::find;
use super::*;
use crate::admin::process::Listening;
use crate::admin::readiness::NotReady;
use crate::telemetry::history::STEPS;

const NOW: u64 = 1_800_000_000;
const DAY: i64 = 86_400;

/// A course that looks like one.
fn steps(around: f64, swing: f64) -> Vec<Option<f64>> {
    let wave = |step: usize| {
        let step = u32::try_from(step).map_or(0.0, f64::from);
        around + swing * ((step / 9.0).sin() + (step * 1.7).sin() / 3.0)
    };
    (0..STEPS).map(|step| Some(wave(step).max(0.0))).collect()
}

fn rate(name: &'static str, around: f64, swing: f64) -> Rate {
    let steps = steps(around, swing);
    Rate {
        name,
        unit: "/s",
        last_minute: steps.last().copied().flatten(),
        count: Some(around * 900.0),
        steps,
    }
}

fn latency(seconds: f64) -> Rate {
    let mut steps = steps(seconds, seconds / 4.0);
    steps[20..26].fill(None);
    Rate { name: "Provider time per call", unit: "s", last_minute: Some(seconds), count: None, steps }
}

fn upstream(address: &str, health: Health) -> Upstream {
    Upstream { address: address.into(), health }
}

fn app(name: &str, host: &str, upstreams: Vec<Upstream>) -> AppStatus {
    AppStatus {
        name: name.into(),
        hosts: vec![host.into()],
        routes: 4,
        identity_provider: "main".into(),
        upstreams,
        requests: rate("Requests", 210.0, 60.0),
        refused: 318.0,
        server_errors: 0.0,
        upstream_errors: 0.0,
        upstream_errors_last_minute: 0.0,
    }
}

fn provider() -> ProviderStatus {
    ProviderStatus {
        name: "main".into(),
        issuer: "https://login.example.com/realms/shop".into(),
        is_ready: true,
        last_error: None,
        keys: 2,
        jwks_age_seconds: Some(312),
        algorithms: vec!["RS256".into(), "ES256".into()],
        latency: latency(0.021),
        calls_last_minute: 240.0,
        errors_last_minute: 0.0,
        calls: 3612.0,
        errors: 0.0,
    }
}

fn counted(what: &'static str, name: &str, lately: f64) -> Count {
    let what = (!what.is_empty()).then_some(what);
    Count { what, name: name.into(), lately, since_start: lately * 300.0 }
}

fn certificate(name: &str, days_left: i64) -> CertificateStatus {
    let now = i64::try_from(NOW).unwrap();
    CertificateStatus {
        names: vec![name.into()],
        not_before: now + (days_left - 90) * DAY,
        not_after: now + days_left * DAY,
        seconds_left: days_left * DAY,
    }
}

/// One in which all is well.
fn healthy() -> Status {
    let both = vec![upstream("10.0.0.11:3001", Health::Up), upstream("10.0.0.12:3001", Health::Up)];
    Status {
        version: "0.1.0",
        now: NOW,
        uptime_seconds: 273_840,
        not_ready: Vec::new(),
        findings: Vec::new(),
        configuration: Configuration {
            generation: 7,
            loaded_at: NOW - 7_500,
            last_error: None,
            refused_reloads: 0,
            needs_restart: Vec::new(),
        },
        rates: vec![
            rate("Requests", 340.0, 90.0),
            rate("Refused requests", 0.8, 0.5),
            rate("Answers with 5xx", 0.0, 0.0),
            rate("App failures", 0.0, 0.0),
            rate("Logins", 0.6, 0.3),
            rate("Refreshes", 3.4, 1.2),
            latency(0.021),
            rate("Provider errors", 0.0, 0.0),
        ],
        apps: vec![
            app("store", "store.example.com", both),
            app("forums", "forums.example.com", vec![upstream("10.0.0.21:3002", Health::NotChecked)]),
        ],
        identity_providers: vec![provider()],
        sessions: vec![
            counted("login", "success", 512.0),
            counted("login", "invalid_credentials", 41.0),
            counted("refresh", "success", 3071.0),
            counted("session ended", "logout", 188.0),
            counted("session ended", "idle_lifetime", 61.0),
            counted("revocation", "backchannel_logout, success", 3.0),
        ],
        reasons: vec![
            counted("", "no_session", 412.0),
            counted("", "role_missing", 97.0),
            counted("", "cross_site", 2.0),
        ],
        revocations: 214,
        open_streams: 1_204,
        refreshes_waiting: 2,
        open_connections: 3_481,
        max_connections: 20_000,
        refused_connections: 0.0,
        lost_log_lines: 0.0,
        listening: vec![
            Listening { key: "server.listen", address: "0.0.0.0:8080".parse().unwrap() },
            Listening { key: "server.listen_tls", address: "0.0.0.0:8443".parse().unwrap() },
            Listening { key: "server.admin_listen", address: "127.0.0.1:9090".parse().unwrap() },
        ],
        certificates: vec![certificate("*.example.com", 61)],
        shared_state: None,
    }
}

/// The same on a bad day, with names that are no names.
fn troubled() -> Status {
    let mut status = healthy();
    status.configuration.last_error =
        Some("the configuration has 1 problem: `apps.<script>alert(1)</script>`: unknown key".into());
    status.configuration.refused_reloads = 1;
    status.configuration.needs_restart = vec!["server.listen".into()];
    status.rates[2] = rate("Answers with 5xx", 4.0, 3.0);
    status.rates[3] = rate("App failures", 4.0, 3.0);
    status.apps[0].upstreams[1].health = Health::Down;
    status.apps[0].server_errors = 3604.0;
    status.apps[1].upstream_errors_last_minute = 12.0;
    status.apps[1].upstream_errors = 3604.0;
    let hostile = app("\"><script>alert(1)</script>", "<img src=x onerror=alert(1)>", Vec::new());
    status.apps.push(hostile);
    let mut second = provider();
    second.name = "partners".into();
    second.issuer = "https://partners.example.net".into();
    (second.is_ready, second.keys, second.jwks_age_seconds) = (false, 0, None);
    second.last_error = Some("status 503 & \"<b>later</b>\"".into());
    second.latency.last_minute = None;
    status.identity_providers.push(second);
    status.not_ready.push(NotReady {
        identity_provider: Some("partners".into()),
        reason: "no JWKS has been loaded: status 503 & \"<b>later</b>\"".into(),
    });
    status.certificates = vec![certificate("shop.example.com", -2), certificate("<i>.example.com", 9)];
    status.findings = find(&status);
    status
}

#[test]
fn the_page_of_a_bad_day() {
    insta::assert_snapshot!(write(&troubled(), true));
}

#[test]
fn nothing_but_our_own_elements_and_links_is_in_it() {
    let page = write(&troubled(), true);
    let word = |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap().to_owned();
    let elements: BTreeSet<_> =
        page.split('<').skip(1).map(|rest| word(rest.trim_start_matches('/'))).collect();
    let ours = "a b body caption code div footer h1 h2 h3 head header html li main meta p path section span strong style \
                svg table tbody td th thead title tr ul";
    let ours: BTreeSet<_> = ours.split_whitespace().map(str::to_owned).chain([String::new()]).collect();
    assert_eq!(elements, ours, "the empty one is the doctype");
    for link in page.split("href=\"").skip(1) {
        assert!(link.starts_with('/'), "{link:.60}");
    }
}

#[test]
fn what_is_well_is_said_to_be() {
    let mut status = healthy();
    status.findings = find(&status);
    assert!(status.findings.is_empty(), "{:?}", status.findings);
    let page = write(&status, false);
    assert!(page.contains("<title>Ready: Portcullis</title>"), "{page}");
    assert!(!page.contains("http-equiv") && page.contains("<a href=\"/\">Refresh"), "{page}");
}

#[test]
fn what_somebody_should_look_at() {
    let texts: Vec<_> = troubled()
        .findings
        .iter()
        .map(|finding| format!("{:?} {}: {}", finding.severity, finding.about, finding.text))
        .collect();
    insta::assert_snapshot!(texts.join("\n"), @r#"
    Problem identity provider partners: no JWKS has been loaded: status 503 & "<b>later</b>"
    Problem configuration: The last reload was refused, so configuration 7 of 2 h 5 min ago stays: the configuration has 1 problem: `apps.<script>alert(1)</script>`: unknown key
    Problem app "><script>alert(1)</script>: No address of an upstream is known: its names do not resolve.
    Problem certificate of shop.example.com: Expired 2 days ago.
    Warning configuration: These changes need a restart: server.listen.
    Warning app store: 1 of 2 upstreams are down: 10.0.0.12:3001.
    Warning app forums: Requests that it failed in the last minute: 12.
    Warning certificate of <i>.example.com: Expires in 9 days.
    "#);
}

#[test]
fn a_provider_that_fails_is_found_though_it_is_ready() {
    let mut status = healthy();
    status.identity_providers[0].errors_last_minute = 3.0;
    let findings = find(&status);
    assert_eq!(findings[0].text, "3 of 240 calls failed in the last minute.");
    assert_eq!(findings[0].severity, Severity::Problem);
    status.identity_providers[0].errors_last_minute = 0.0;
    status.identity_providers[0].last_error = Some("status 500".into());
    assert_eq!(find(&status)[0].text, "The JWKS could not be renewed, the keys so far stay: status 500");
}

#[test]
fn a_process_that_runs_short_of_something_says_so() {
    let mut status = healthy();
    (status.refused_connections, status.lost_log_lines) = (1234.0, 56.0);
    let found: Vec<_> =
        find(&status).into_iter().map(|finding| (finding.severity, finding.about, finding.text)).collect();
    assert_eq!((found[0].0, found[0].1.as_str()), (Severity::Problem, "connections"));
    assert!(
        found[0].2.starts_with("1,234 were refused in the last 15 minutes: 20,000 lived"),
        "{}",
        found[0].2
    );
    assert_eq!((found[1].0, found[1].1.as_str()), (Severity::Warning, "log"));
    assert!(found[1].2.starts_with("56 lines were lost"), "{}", found[1].2);
}

#[test]
fn a_certificate_is_spoken_of_in_time() {
    let texts = |days_left, lifetime| {
        let mut one = certificate("a.example", days_left);
        one.not_before = one.not_after - lifetime * DAY;
        let mut status = healthy();
        status.certificates = vec![one];
        find(&status).into_iter().map(|finding| finding.text).collect::<Vec<_>>()
    };
    assert_eq!(texts(15, 90), [""; 0]);
    assert_eq!(texts(13, 90), ["Expires in 13 days."]);
    assert_eq!(texts(4, 6), [""; 0], "short by intention");
    assert_eq!(texts(1, 6), ["Expires in 24 hours."]);
    assert_eq!(texts(-3, 90), ["Expired 3 days ago."]);
    assert_eq!(texts(100, 90), ["Becomes valid only in 10 days."]);
}

#[test]
fn the_policy_allows_this_style_and_nothing_else() {
    let policy = CONTENT_SECURITY_POLICY.to_str().unwrap();
    let page = write(&healthy(), true);
    let (before, style) = page.split_once("<style>").unwrap();
    let (style, after) = style.split_once("</style>").unwrap();
    assert!(!before.contains("<style") && !after.contains("<style"), "only one is allowed");
    let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    let styles = format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri");
    assert!(policy.starts_with(&styles) && !policy.contains("unsafe"), "{policy}");
}

#[test]
fn scripts_get_the_same() {
    let json = serde_json::to_value(troubled()).unwrap();
    assert_eq!(json["apps"][0]["upstreams"][1]["health"], "down");
    assert_eq!(json["findings"][0]["severity"], "problem");
    assert_eq!(json["identity_providers"][1]["is_ready"], false);
    assert_eq!(json["rates"][0]["steps"].as_array().unwrap().len(), STEPS);
}
