//! `docs/configuration.md`, the annotated `gateway.toml` and the code have the same keys with the same defaults.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::gateway_toml::read;
use crate::config::load::parse;
use crate::config::reader::{Key, Report, Section};
use crate::config::toml_tree;

const REFERENCE: &str = include_str!("../../../gateway.toml");
const PAGE: &str = include_str!("../../../docs/configuration.md");

/// Every key that the code reads.
fn keys() -> Vec<Key> {
    let entries = toml_tree::parse(REFERENCE).unwrap();
    let report = Report::new(Path::new(""));
    read(&Section::root(&entries, &report)).unwrap();
    report.keys()
}

/// A default that is TOML, not words.
fn is_value(default: &str) -> bool {
    toml_tree::parse_value(default).is_some()
}

/// The rows `| `key` | type | default | meaning |` of the page.
fn rows() -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    for line in PAGE.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{line}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{line}");
        let earlier = rows.insert(cells[0].replace('`', ""), cells[2].replace('`', ""));
        assert_eq!(earlier, None, "twice: {line}");
    }
    rows
}

/// The first app's and the first provider's keys of the reference, written or shown as `# key = value`.
fn shown() -> BTreeMap<String, (bool, String)> {
    let mut shown = BTreeMap::new();
    let mut table = String::new();
    for line in REFERENCE.lines() {
        if let Some(header) = line.strip_prefix("[[").and_then(|rest| rest.split("]]").next()) {
            table = format!("{header}[]");
        } else if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            table = header.to_owned();
        }
        let (is_comment, line) = match line.strip_prefix("# ") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let Some((key, rest)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim(), rest.split('#').next().unwrap().trim());
        if key.contains(' ') || table.is_empty() || table.starts_with("apps.forums") {
            continue;
        }
        let generic =
            table.replace("apps.store", "apps.*").replace("identity_providers.main", "identity_providers.*");
        shown.entry(format!("{generic}.{key}")).or_insert((is_comment, value.to_owned()));
    }
    shown
}

#[test]
fn every_default_that_is_a_value_is_read_without_error() {
    // Those in words would be parsed as TOML otherwise, and a faulty one would refuse every file.
    let minimal = "
        [identity_providers.main]
        issuer = 'https://id.example.com'
        client_auth = 'none'
        [apps.shop]
        hosts = ['shop.example.com']
        upstreams = ['http://127.0.0.1:3000']
        client_id = 'shop'
        [[apps.shop.routes]]
        path = '/'";
    assert!(parse(minimal).is_ok());
}

#[test]
fn the_page_s_minimal_file_is_short_and_complete() {
    let minimal = PAGE.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(minimal.lines().count() <= 20, "{minimal}");
    assert!(minimal.contains("seal_keys"), "what the documentation recommends first: {minimal}");
    let directory = tempfile::tempdir().unwrap();
    let seal_key = directory.path().join("seal_key");
    std::fs::write(&seal_key, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
    let minimal = minimal.replace("STORE_CLIENT_SECRET", "CARGO_PKG_NAME");
    let minimal = minimal.replace(r#"env = "SEAL_KEY""#, &format!("file = {seal_key:?}"));
    let loaded = parse(&minimal).unwrap();
    assert_eq!(loaded.warnings, []);
}

#[test]
fn the_page_has_every_key_with_its_default() {
    let mut documented = rows();
    for key in keys() {
        let row = documented.remove(&key.path);
        assert_eq!(row.as_deref(), Some(key.default.replace('`', "").as_str()), "`{}`", key.path);
    }
    assert!(documented.is_empty(), "the page has keys that there are not: {documented:?}");
}

#[test]
fn the_reference_shows_every_key_and_comments_show_defaults() {
    let mut shown = shown();
    for key in keys() {
        if key.path == "apps.*.identity_headers" {
            assert!(REFERENCE.contains("[apps.store.identity_headers]"));
            shown.retain(|path, _| !path.starts_with("apps.*.identity_headers."));
            continue;
        }
        let (is_comment, value) =
            shown.remove(&key.path).unwrap_or_else(|| panic!("`{}` is not in gateway.toml", key.path));
        if is_comment && is_value(key.default) {
            let shown_by_example = key.path == "apps.*.audience";
            assert!(shown_by_example || value == key.default, "`{}` is shown as {value}", key.path);
        }
    }
    assert!(shown.is_empty(), "gateway.toml shows keys that there are not: {shown:?}");
}

#[test]
fn the_reference_with_every_commented_key_is_still_understood() {
    let uncommented: String = REFERENCE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| is_key(key)) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let error = parse(&uncommented).unwrap_err();
    // Examples that contradict the demo's settings; everything else is understood as it stands.
    let keys: Vec<&str> = error.problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "server.admin_token",
            "server.tls.certificates[0].certificate",
            "server.tracing.ca",
            "shared_state.keys[0]",
            "shared_state.password",
            "shared_state.ca",
            "identity_providers.main.hmac_secret",
            "identity_providers.main.end_session_endpoint",
            "identity_providers.main.ca",
            "identity_providers.main.proxy_credentials",
            "identity_providers.main.refresh_api",
            "apps.store.fusionauth_webhook.hmac_secret",
            "apps.store.cookies.domain",
            "apps.store.cookies.domain",
            "apps.store.upstream_tls.ca",
        ]
    );
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}
