//! Refused configurations, with the complete message of each rule.

use super::accepted;
use crate::config::load::parse;

/// Stands for `PROVIDER` in a case.
const PROVIDER: &str = "\
[identity_providers.main]
issuer = 'https://id.example.com'
client_auth = 'none'
";
/// Stands for `APP` in a case.
const APP: &str = "\
[apps.shop]
hosts = ['shop.example.com']
upstreams = ['http://127.0.0.1:3000']
client_id = 'shop'
";

/// Stands for `KEYS` in a case of the shared state.
const KEYS: &str = "\
[shared_state]
keys = ['aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ=']";

/// Every case with its problems; a case that is accepted fails.
fn refused(base: &str, cases: &[(&str, &str)]) -> String {
    let mut shown = String::new();
    for (title, text) in cases {
        let text = text.replace("PROVIDER", PROVIDER).replace("APP", APP);
        let Err(error) = parse(&format!("{base}{text}")) else { panic!("accepted: {title}") };
        let problems: Vec<String> =
            error.problems.iter().map(|problem| problem.report("error", "gateway.toml")).collect();
        assert!(!problems.is_empty(), "no reason: {title}");
        shown.extend(["=== ", title, "\n", &problems.join(""), "\n"]);
    }
    assert!(!shown.contains("hunter2"), "a secret is shown");
    assert!(!shown.contains("aHVudGVyM"), "a secret in base64 is shown");
    shown
}

/// Cases of a fixture, each a line `=== title` and the lines of a configuration.
fn cases(fixture: &str) -> Vec<(&str, &str)> {
    fixture
        .split("=== ")
        .filter(|case| !case.is_empty())
        .map(|case| case.split_once('\n').unwrap())
        .map(|(title, text)| (title, text.trim_end()))
        .collect()
}

#[test]
fn the_base_of_the_cases_is_accepted() {
    let behind_tls = "server.trusted_proxies = ['10.1.0.0/16']\n";
    assert_eq!(accepted(&format!("{behind_tls}{PROVIDER}{APP}")).warnings, []);
}

#[test]
fn no_problem_carries_a_control_character_from_the_file_to_the_terminal() {
    let files = [
        "client_secret = { file = \"no\\u001b[2J\\r\\nfile\" }",
        "\"a\\u001b]0;x\\u0007b\" = 1",
        "hosts = [\"a\\u001b\"]",
    ];
    for line in files {
        let Err(error) = parse(&format!("{PROVIDER}{APP}{line}\n")) else { panic!("accepted: {line}") };
        for problem in error.problems {
            let texts = [&problem.key, &problem.message, &problem.hint];
            assert!(!texts.iter().any(|text| text.chars().any(char::is_control)), "{problem:?}");
        }
    }
}

#[test]
fn cookies() {
    let cases = cases(include_str!("fixtures/cookies.txt"));
    insta::assert_snapshot!(refused(&format!("{PROVIDER}{APP}"), &cases));
}

#[test]
fn listeners() {
    let cases = cases(include_str!("fixtures/listeners.txt"));
    insta::assert_snapshot!(refused(&format!("{PROVIDER}{APP}[server]\n"), &cases));
}

#[test]
fn tracing() {
    let cases = cases(include_str!("fixtures/tracing.txt"));
    insta::assert_snapshot!(refused(&format!("{PROVIDER}{APP}"), &cases));
}

#[test]
fn limits() {
    let cases = cases(include_str!("fixtures/limits.txt"));
    insta::assert_snapshot!(refused(&format!("{PROVIDER}{APP}[server]\n"), &cases));
}

#[test]
fn identity_providers() {
    let cases = cases(include_str!("fixtures/identity_providers.txt"));
    insta::assert_snapshot!(refused(
        &format!("{APP}identity_provider = 'main'\n[identity_providers.main]\n"),
        &cases
    ));
}

#[test]
fn identity_headers() {
    let cases = cases(include_str!("fixtures/identity_headers.txt"));
    insta::assert_snapshot!(refused(&format!("{PROVIDER}{APP}"), &cases));
}

#[test]
fn routes() {
    let cases = cases(include_str!("fixtures/routes.txt"));
    insta::assert_snapshot!(refused(&format!("{PROVIDER}{APP}"), &cases));
}

#[test]
fn endpoints() {
    let cases = cases(include_str!("fixtures/endpoints.txt"));
    insta::assert_snapshot!(refused(&format!("{PROVIDER}{APP}"), &cases));
}

#[test]
fn apps() {
    let cases = cases(include_str!("fixtures/apps.txt"));
    insta::assert_snapshot!(refused("", &cases));
}

#[test]
fn sessions() {
    let cases = cases(include_str!("fixtures/session.txt"));
    insta::assert_snapshot!(refused(&format!("{PROVIDER}{APP}"), &cases));
}

#[test]
fn shared_state() {
    let fixture = include_str!("fixtures/shared_state.txt").replace("KEYS", KEYS);
    insta::assert_snapshot!(refused(&format!("{APP}{PROVIDER}"), &cases(&fixture)));
}

/// Settings that must be refused at start (docs/security.md), and the case that shows each.
#[test]
fn every_rule_has_its_case() {
    let fixtures = [
        ("cookies", include_str!("fixtures/cookies.txt")),
        ("listeners", include_str!("fixtures/listeners.txt")),
        ("limits", include_str!("fixtures/limits.txt")),
        ("identity_providers", include_str!("fixtures/identity_providers.txt")),
        ("identity_headers", include_str!("fixtures/identity_headers.txt")),
        ("routes", include_str!("fixtures/routes.txt")),
        ("endpoints", include_str!("fixtures/endpoints.txt")),
        ("apps", include_str!("fixtures/apps.txt")),
    ];
    for (fixture, title) in [
        ("cookies", "prefixed names without Secure"),
        ("cookies", "SameSite=None without Secure"),
        ("cookies", "a wildcard domain"),
        ("cookies", "a public suffix"),
        ("cookies", "a longer public suffix"),
        ("identity_providers", "none"),
        ("identity_providers", "HMAC next to asymmetric ones"),
        ("identity_providers", "no issuer"),
        ("identity_providers", "http to another machine"),
        ("identity_providers", "endpoints over http"),
        ("listeners", "everybody as a trusted proxy"),
        ("listeners", "everybody in two halves"),
        ("identity_headers", "invalid"),
        ("identity_headers", "with a meaning of their own"),
        ("identity_headers", "colliding"),
        ("apps", "no hosts, upstreams and client"),
        ("apps", "empty hosts and upstreams"),
        ("apps", "one host of two apps"),
        ("routes", "duplicate"),
        ("routes", "shadowed by a prefix"),
        ("routes", "behind everything"),
        ("routes", "answered by the gateway"),
        ("endpoints", "login and logout collide"),
        ("endpoints", "login and user collide"),
        ("endpoints", "user and logout collide"),
        ("endpoints", "case and trailing slash"),
        ("apps", "unknown keys at every level"),
        ("limits", "limits of 0"),
        ("limits", "absurd limits"),
        ("listeners", "admin equal to a public one"),
        ("listeners", "admin within a public one"),
    ] {
        let text = fixtures.iter().find(|(name, _)| *name == fixture).unwrap().1;
        assert!(cases(text).iter().any(|(known, _)| *known == title), "no case `{title}` in {fixture}.txt");
    }
}

#[test]
fn no_control_character_of_a_file_reaches_the_terminal() {
    let text = r#"
        "\u0007" = 1
        [identity_providers."\u001b"]
        issuer = "https://\u0000"
        [apps.store]
        hosts = ["a\u0000.example.com:80", "a\u001b.example.com."]
        upstreams = ["http://\u0007:1/x"]
        allowed_origins = ["https://a\u0000:443"]
        client_secret = { env = "\u0007" }
        [apps.store.cookies]
        domain = ".a\u001b[2J"
        access_token = "\u0000"
        [[apps.store.routes]]
        path = "/\u001b"
        access = "\u001b"
    "#;
    let report = parse(text).unwrap_err().report("gateway.toml");
    assert!(!report.chars().any(|character| character.is_control() && character != '\n'), "{report:?}");
}
