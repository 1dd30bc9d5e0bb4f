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
