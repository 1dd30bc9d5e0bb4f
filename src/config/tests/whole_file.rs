//! Complete outputs, values, and arbitrary input.

use std::time::Duration;

use proptest::prelude::*;

use super::accepted;
use crate::config::load::{load, parse};
use crate::config::values::claim::ClaimPath;

fn report_of(text: &str) -> String {
    parse(text).unwrap_err().report("gateway.toml")
}

#[test]
fn many_errors_at_once() {
    insta::assert_snapshot!(report_of(include_str!("fixtures/many_errors.toml")));
}

#[test]
fn a_syntax_error_is_alone_and_quotes_no_line() {
    let text = "[apps.shop]\nhosts = 3\nclient_secret = \"hunter2\nclient_id = 'shop'\n";
    let report = report_of(text);
    assert!(!report.contains("hunter2"));
    insta::assert_snapshot!(report);
}

#[test]
fn no_secret_is_shown_whatever_is_wrong_around_it() {
    let base = "client_id = 'shop'\nhosts = ['shop.example.com']\nupstreams = ['http://127.0.0.1:3000']\n";
    for line in [
        "client_secret = hunter2",
        "client_secret = 'hunter2",
        "client_secret = \"hunter2\\q\"",
        "client_secret = 'a'\nclient_secret = 'hunter2'",
        "client_secret 'hunter2'",
        "client_secret = ['hunter2']",
        "client_secret = { env = 'hunter2!' }",
        "client_secret = { env = ['hunter2'] }",
        "client_secret = { secret = 'hunter2' }",
        "client_secret = 'hunter2\\n'",
        "client_secret = \"hunter2\\n\"",
        "client-secret = 'hunter2'",
        "secret.value = 'hunter2'",
        "upstream = 'http://a:hunter2@b'",
    ] {
        let report =
            report_of(&format!("[identity_providers.main]\nissuer = 3\n[apps.shop]\n{base}{line}\n"));
        assert!(!report.contains("hunter2"), "{report}");
    }
    let loaded = accepted(&format!("{MINIMAL}client_secret = 'hunter2'"));
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn deep_nesting_is_refused_and_not_a_stack_overflow() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let text = format!("a = {}1{}", open.repeat(50_000), close.repeat(50_000));
        assert!(parse(&text).is_err());
    }
    let dotted = vec!["a"; 50_000].join(".");
    assert!(parse(&format!("{dotted} = 1")).is_err());
    assert!(parse(&format!("[{dotted}]")).is_err());
}

#[test]
fn a_file_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let report = load(&directory.path().join("none.toml")).unwrap_err().report("none.toml");
    insta::assert_snapshot!(report);
}

const MINIMAL: &str = "
    [identity_providers.main]
    issuer = 'https://id.example.com'
    [apps.shop]
    hosts = ['shop.example.com']
    upstreams = ['http://127.0.0.1:3000']
    client_id = 'shop'
    ";

/// Somebody says whether a request came by https.
const BEHIND_TLS: &str = "server.trusted_proxies = ['10.1.0.0/16']";

#[test]
fn secret_files_are_relative_to_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.toml");
    std::fs::write(&path, format!("{BEHIND_TLS}{MINIMAL}client_secret = {{ file = 'secrets/shop' }}"))
        .unwrap();
    std::fs::create_dir(directory.path().join("secrets")).unwrap();
    for (content, expected) in
        [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), (" s \n", " s ")]
    {
        std::fs::write(directory.path().join("secrets/shop"), content).unwrap();
        let loaded = load(&path).unwrap();
        assert_eq!(loaded.config.apps[0].client_secret.as_ref().unwrap().expose(), expected);
        assert_eq!(loaded.warnings, []);
    }
    for content in [&b""[..], b"\n", b"a\nb\n", b"\xff", &vec![b'a'; 70_000]] {
        std::fs::write(directory.path().join("secrets/shop"), content).unwrap();
        assert_eq!(load(&path).unwrap_err().problems.len(), 1);
    }
}

#[test]
fn a_minimal_file_has_the_documented_defaults() {
    let config = accepted(&format!("{MINIMAL}client_secret = {{ env = 'CARGO_PKG_NAME' }}")).config;
    assert!(config.server.worker_threads >= 1);
    let text = format!("{config:#?}").replace(
        &format!("worker_threads: {}", config.server.worker_threads),
        "worker_threads: one for each core",
    );
    insta::assert_snapshot!(text);
}

#[test]
fn traces_are_off_unless_a_collector_is_named() {
    let tracing = |text: &str| {
        let text = format!(
            "{BEHIND_TLS}{MINIMAL}client_secret = {{ env = 'CARGO_PKG_NAME' }}\n[server.tracing]\n{text}"
        );
        let loaded = accepted(&text);
        (loaded.config.server.tracing, loaded.warnings)
    };
    assert!(tracing("sample_ratio = 0.5\nservice_name = 'edge'").0.is_none());
    for (endpoint, posted) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://otlp.example.com/tenant/", "https://otlp.example.com/tenant/v1/traces"),
    ] {
        let (tracing, warnings) = tracing(&format!("otlp_endpoint = '{endpoint}'"));
        let tracing = tracing.unwrap();
        assert_eq!((tracing.endpoint.as_str(), tracing.service_name.as_str()), (posted, "portcullis"));
        assert!((tracing.sample_ratio - 1.0).abs() < f64::EPSILON && warnings.is_empty());
    }
    for (ratio, expected) in [("0", 0.0), ("1", 1.0), ("0.0", 0.0), ("0.25", 0.25), ("1e-3", 0.001)] {
        let (tracing, _) = tracing(&format!("otlp_endpoint = 'http://a'\nsample_ratio = {ratio}"));
        assert!((tracing.unwrap().sample_ratio - expected).abs() < f64::EPSILON, "{ratio}");
    }
    let headers = "headers = { Authorization = { env = 'CARGO_PKG_NAME' } }";
    let (_, warnings) = tracing(&format!("otlp_endpoint = 'https://a'\n{headers}"));
    assert_eq!(warnings, []);
    let (_, warnings) = tracing(&format!("otlp_endpoint = 'http://collector'\n{headers}"));
    assert_eq!(warnings[0].key, "server.tracing.headers");
}

#[test]
fn values_arrive() {
    let loaded = accepted(include_str!("fixtures/contract.toml"));
    let app = &loaded.config.apps[0];
    assert_eq!(app.audience, ["store"]);
    assert_eq!(app.authorized_parties, ["store"]);
    assert_eq!(app.timeouts.idle, Duration::from_secs(300));
    assert_eq!(app.user.claims.last(), Some(&ClaimPath::Roles));
    assert_eq!(app.roles_claim, ClaimPath::Segments(vec!["roles".into()]));
    assert_eq!(loaded.config.server.limits.max_header_size, 32 * 1024);
    assert_eq!(app.client_secret.as_ref().unwrap().expose(), "portcullis");
}

#[test]
fn permitted_with_a_warning() {
    let text = "
        [identity_providers.main]
        issuer = 'acme'
        token_endpoint = 'http://id.internal/token'
        jwks_uri = 'http://id.internal/jwks'
        allow_insecure_http = true
        [identity_providers.unused]
        issuer = 'https://id.example.com'
        [apps.shop]
        hosts = ['shop.internal']
        upstreams = ['http://127.0.0.1:3000']
        identity_provider = 'main'
        client_id = 'shop'
        client_secret = 'hunter2'
        cookies = { secure = false, access_token = 'a', refresh_token = 'r' }
        ";
    let warnings: Vec<String> =
        accepted(text).warnings.iter().map(|warning| warning.report("warning", "gateway.toml")).collect();
    insta::assert_snapshot!(warnings.join("\n"));
}

#[test]
fn a_logout_that_will_revoke_nothing_is_warned_of() {
    let app = "client_auth = 'none'\n[apps.shop]\nhosts = ['a.localhost']\nupstreams = ['http://127.0.0.1:3000']\nclient_id = 'a'";
    for (provider, why) in [
        ("issuer = 'http://adfs.example.com/trust'", Some("the issuer is not asked over `http`")),
        ("issuer = 'acme.com'", Some("the issuer is no URL")),
        ("issuer = 'https://id.example.com?tenant=a'", Some("the issuer is no URL")),
        ("issuer = 'http://acme.com'\nkind = 'fusionauth'", Some("the issuer is not asked over `http`")),
        ("issuer = 'https://id.example.com'", None),
        ("issuer = 'http://127.0.0.1:9000'", None),
        ("issuer = 'http://adfs.example.com/trust'\nrevocation_endpoint = 'https://i/r'", None),
    ] {
        let text = format!(
            "[identity_providers.main]\n{provider}\ntoken_endpoint = 'https://i/t'\njwks_uri = 'https://i/j'\n{app}"
        );
        let warnings = accepted(&text).warnings;
        match why {
            None => assert_eq!(warnings, [], "{provider}"),
            Some(why) => {
                assert_eq!(warnings.len(), 1, "{provider}: {warnings:?}");
                assert_eq!(warnings[0].key, "identity_providers.main.revocation_endpoint");
                assert!(
                    warnings[0].message.contains(why) && warnings[0].message.contains("revoke nothing"),
                    "{warnings:?}"
                );
            }
        }
    }
}

#[test]
fn what_must_not_be_refused() {
    for (provider, app) in [
        ("issuer = 'http://127.0.0.1:9000'", ""),
        ("issuer = 'http://[::1]:9000/realms/a'", ""),
        ("issuer = 'http://idp.localhost:9000/'", ""),
        ("issuer = 'http://id.internal'\nallow_insecure_http = true", ""),
        ("issuer = 'acme.com'\nkind = 'fusionauth'\ntoken_endpoint = 'https://f/oauth2/token'", ""),
        ("issuer = 'http://acme.com'\nkind = 'fusionauth'\ntoken_endpoint = 'https://f/oauth2/token'", ""),
        (
            "issuer = 'acme.com'\nkind = 'fusionauth'\ntoken_endpoint = 'https://f/oauth2/token'\njwks_uri = 'https://f/jwks'",
            "",
        ),
        (
            "issuer = 'http://id.internal'\ntoken_endpoint = 'https://i/t'\njwks_uri = 'https://i/j'\nrevocation_endpoint = 'https://i/r'",
            "",
        ),
        // Names of issuers, with all that is needed.
        (
            "issuer = 'http://adfs.example.com/adfs/services/trust'\ntoken_endpoint = 'https://i/t'\njwks_uri = 'https://i/j'",
            "",
        ),
        ("issuer = 'urn:example:adfs'\ntoken_endpoint = 'https://i/t'\njwks_uri = 'https://i/j'", ""),
        (
            "issuer = 'http://acme.com'\nkind = 'fusionauth'\ntoken_endpoint = 'https://f/t'\njwks_uri = 'https://f/j'",
            "",
        ),
        (
            "issuer = 'http://i'\ntoken_endpoint = 'https://i/t'\nalgorithms = ['HS256']\nhmac_secret = '0123456789012345678901234567890123456789'",
            "",
        ),
        ("issuer = 'https://i'\nkind = 'fusionauth'\nrefresh_api = 'jwt'", ""),
        (
            "issuer = 'https://i'",
            "cookies = { domain = 'example.com', access_token = '__Secure-a', refresh_token = '__Secure-r' }",
        ),
        ("issuer = 'https://i'", "cookies = { same_site = 'none' }"),
        ("issuer = 'https://i'", "roles_claim = ['https://example.com/roles', 'shop']"),
        ("issuer = 'https://i'", "user = { claims = [], anonymous_status = 401 }"),
        ("issuer = 'https://i'", "identity_headers = {}"),
        (
            "issuer = 'https://i'",
            "identity_headers = { Remote-User = ['a.b', 'c'], remote-groups = 'roles' }",
        ),
        (
            "issuer = 'https://i'",
            "routes = [{ path = '/a/b', access = 'public' }, { path = '/a/*' }, { path = '/*', access = 'optional' }]",
        ),
        ("issuer = 'https://i'", "routes = [{ path = '/api/user/*', access = 'public' }]"),
        (
            "issuer = 'https://i'\n[server]\nlisten = ['127.0.0.1:0', '127.0.0.1:0']\nadmin_listen = '127.0.0.1:0'",
            "",
        ),
        (
            "issuer = 'https://i'\n[server]\nlisten = ['0.0.0.0:8080', '[::1]:8080']\nlog = { level = 'info,portcullis=debug' }",
            "",
        ),
    ] {
        let app = format!(
            "hosts = ['shop.example.com']\nupstreams = ['http://10.0.0.1:8080']\nclient_id = 'a'\nclient_secret = 'b'\n{app}"
        );
        accepted(&format!("[apps.shop]\n{app}\n[identity_providers.main]\n{provider}"));
    }
}

/// Any TOML value, of which some fit.
fn value() -> impl Strategy<Value = toml::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(toml::Value::from),
        any::<i64>().prop_map(toml::Value::from),
        any::<f64>().prop_map(toml::Value::from),
        any::<String>().prop_map(toml::Value::from),
        "(http|https)://[a-z0-9.:/@*%-]{0,20}".prop_map(toml::Value::from),
        "[0-9]{0,22}(ms|s|m|h|d|B|KiB|GiB)".prop_map(toml::Value::from),
        "/[a-z/.;%*]{0,8}".prop_map(toml::Value::from),
        "[0-9a-f:./]{0,20}".prop_map(toml::Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(toml::Value::from),
            prop::collection::btree_map(key(), inner, 0..4)
                .prop_map(|map| toml::Value::Table(map.into_iter().collect())),
        ]
    })
}

/// A key, often one that there is.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "server",
            "listen",
            "admin_listen",
            "limits",
            "apps",
            "hosts",
            "upstreams",
            "cookies",
            "domain",
            "routes",
            "path",
            "roles",
            "identity_providers",
            "issuer",
            "algorithms",
            "client_secret",
            "env",
            "file",
            "identity_headers",
            "login",
            "user",
            "claims",
            "audience",
            "allowed_origins",
            "trusted_proxies",
            "main",
        ])
        .prop_map(String::from),
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = parse(&text).map_err(|error| error.report("gateway.toml"));
    }

    #[test]
    fn no_toml_panics_and_what_is_refused_has_a_reason(
        root in prop::collection::btree_map(key(), value(), 0..5),
        app in prop::collection::btree_map(key(), value(), 0..6),
        provider in prop::collection::btree_map(key(), value(), 0..6),
    ) {
        let mut root: toml::Table = root.into_iter().collect();
        for (name, table) in [("apps", app), ("identity_providers", provider)] {
            let table: toml::Table = table.into_iter().collect();
            let named: toml::Table = std::iter::once((String::from("main"), toml::Value::Table(table))).collect();
            root.insert(name.to_owned(), toml::Value::Table(named));
        }
        if let Err(error) = parse(&root.to_string()) {
            prop_assert!(!error.problems.is_empty());
            prop_assert!(error.problems.iter().all(|problem| !problem.message.is_empty() && !problem.hint.is_empty()));
        }
    }

    #[test]
    fn a_value_in_the_place_of_any_key_of_the_reference_is_refused_or_understood(index in 0_usize..60, value in value()) {
        let reference: toml::Table = include_str!("../../../gateway.toml").parse().unwrap();
        let mut root = toml::Value::Table(reference);
        let mut left = index;
        replace(&mut root, &mut left, &value);
        if let Err(error) = parse(&root.to_string()) {
            prop_assert!(!error.problems.is_empty());
        }
    }
}

/// Puts a value in the place of the leaf of that number.
fn replace(tree: &mut toml::Value, left: &mut usize, value: &toml::Value) {
    match tree {
        toml::Value::Table(table) => table.iter_mut().for_each(|(_, inner)| replace(inner, left, value)),
        toml::Value::Array(list) => list.iter_mut().for_each(|inner| replace(inner, left, value)),
        leaf => {
            if *left == 0 {
                *leaf = value.clone();
            }
            *left = left.wrapping_sub(1);
        }
    }
}

/// Where browsers keep the cookies of a login, and where that cannot be known.
#[test]
fn plain_http_is_warned_about_where_browsers_drop_the_cookies() {
    let warnings = |server: &str, hosts: &str, cookies: &str| {
        let text = format!(
            "[server]\n{server}\n[identity_providers.main]\nissuer = 'https://id.example.com'\nclient_auth = 'none'\n\
             [apps.shop]\nhosts = [{hosts}]\nupstreams = ['http://127.0.0.1:3000']\nclient_id = 'shop'\n\
             [apps.shop.cookies]\n{cookies}"
        );
        let warnings = accepted(&text).warnings;
        let found = warnings.into_iter().find(|warning| warning.key == "server.listen");
        found.map(|warning| format!("{} {}", warning.message, warning.hint))
    };
    let plain = "listen = ['0.0.0.0:80']";
    for host in [
        "shop.example.com",
        "shop",
        "shop.local",
        "localhost.example.com",
        "notlocalhost",
        "192.168.1.7",
        "10.0.0.1",
        "0.0.0.0",
        "::",
        "fe80::1",
        "128.0.0.1",
        "localhost.localdomain",
    ] {
        let warning =
            warnings(plain, &format!("'{host}'"), "").unwrap_or_else(|| panic!("no word of {host}"));
        assert!(warning.contains(&format!("`{host}`")) && warning.contains("trusted_proxies"), "{warning}");
        assert!(warnings("", &format!("'{host}'"), "").is_some(), "{host} at the default listener");
    }
    for host in
        ["localhost", "shop.localhost", "a.b.localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "::1"]
    {
        assert_eq!(warnings(plain, &format!("'{host}'"), ""), None, "{host}");
    }
    let names = "access_token = 'a'\nrefresh_token = 'r'\n";
    for (server, cookies, is_warned) in [
        (plain, names, true),
        (plain, "access_token = '__Secure-a'", true),
        (plain, "secure = false\naccess_token = 'a'\nrefresh_token = 'r'\n", false),
        ("listen = ['0.0.0.0:80']\ntrusted_proxies = ['10.1.0.0/16']", "", false),
        ("listen = ['127.0.0.1:80']", "", true),
    ] {
        assert_eq!(
            warnings(server, "'shop.example.com'", cookies).is_some(),
            is_warned,
            "{server} {cookies}"
        );
    }
    let several = warnings(plain, "'shop.localhost', 'a.example.com', 'b.example.com', 'c.example.com'", "");
    assert!(
        several.as_ref().is_some_and(|text| text.starts_with("`a.example.com` (and 2 more)")),
        "{several:?}"
    );
}
