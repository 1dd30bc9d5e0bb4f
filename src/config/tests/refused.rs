//! What is refused at start, with the complete message of each rule.

use super::{accepted, parse};

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
    assert_eq!(accepted(&format!("{PROVIDER}{APP}")).warnings, []);
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
