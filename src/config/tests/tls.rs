//! `[server.tls]`, with files of its own.

use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::config::load::{Loaded, parse_in};
use crate::config::problem::ConfigError;

const REST: &str = "\
[identity_providers.main]
issuer = 'https://id.example.com'
client_auth = 'none'
[apps.shop]
hosts = ['shop.example.com', '127.0.0.1']
upstreams = ['http://127.0.0.1:3000']
client_id = 'shop'
";

fn write(directory: &Path, file: &str, names: &[&str], last_year: i32) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_after = date_time_ymd(last_year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(directory.join(format!("{file}.pem")), certificate.pem()).unwrap();
    std::fs::write(directory.join(format!("{file}.key")), key.serialize_pem()).unwrap();
}

fn read(directory: &Path, tls: &str) -> Result<Loaded, ConfigError> {
    parse_in(&format!("[server]\nlisten = []\nlisten_tls = ['0.0.0.0:443']\n{tls}\n{REST}"), directory)
}

/// The keys, messages and hints of all problems.
fn refused(directory: &Path, tls: &str) -> String {
    let error = read(directory, tls).expect_err("refused");
    let shown = error.problems.iter().map(|problem| problem.report("error", "gateway.toml"));
    shown.collect::<String>().replace(&format!("{}/", directory.display()), "")
}

#[test]
fn a_good_certificate_is_accepted_without_a_word() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "shop", &["*.example.com", "127.0.0.1"], 2100);
    for key in ["'shop.key'", "{ file = 'shop.key' }"] {
        let tls = format!("tls = {{ certificates = [{{ certificate = 'shop.pem', key = {key} }}] }}");
        let loaded = read(directory.path(), &tls).unwrap();
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.config.server.tls.unwrap().certificates[0].key, directory.path().join("shop.key"));
    }
}

/// Plain http beside TLS: browsers that are not sent on lose the cookies of their logins.
#[test]
fn plain_http_beside_tls_is_warned_about_unless_it_redirects() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "shop", &["*.example.com", "127.0.0.1"], 2100);
    let certificates = "certificates = [{ certificate = 'shop.pem', key = 'shop.key' }]";
    for (listen, redirect, is_warned) in [
        ("'0.0.0.0:80'", "", true),
        ("'0.0.0.0:80'", ", redirect_port = 443", false),
        ("'127.0.0.1:80', '[::1]:80'", "", false),
        ("'127.0.0.1:80', '[::]:81'", "", true),
        ("", "", false),
    ] {
        let text = format!(
            "[server]\nlisten = [{listen}]\nlisten_tls = ['0.0.0.0:443']\ntls = {{ {certificates}{redirect} }}\n{REST}"
        );
        let warnings = parse_in(&text, directory.path()).unwrap().warnings;
        let keys: Vec<_> = warnings.iter().map(|warning| warning.key.as_str()).collect();
        assert_eq!(keys, if is_warned { vec!["server.listen"] } else { vec![] }, "{listen}{redirect}");
        assert!(warnings.iter().all(|warning| warning.hint.contains("redirect_port")), "{warnings:?}");
    }
}

#[test]
fn what_browsers_would_refuse_is_warned_about() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "old", &["shop.example.com"], 2001);
    let loaded =
        read(directory.path(), "tls = { certificates = [{ certificate = 'old.pem', key = 'old.key' }] }");
    let warnings: Vec<_> =
        loaded.unwrap().warnings.into_iter().map(|problem| (problem.key, problem.message)).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(warnings[0].0, "server.tls.certificates[0].certificate");
    assert!(warnings[0].1.contains("has expired"), "{warnings:?}");
    assert_eq!(warnings[1].0, "apps.shop.hosts");
    assert!(
        warnings[1].1.contains("is for `127.0.0.1`") || warnings[1].1.contains("127.0.0.1"),
        "{warnings:?}"
    );
}

#[test]
fn what_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "a", &["shop.example.com"], 2100);
    write(directory.path(), "b", &["shop.example.com"], 2100);
    let cases = [
        ("", "needs a certificate"),
        (
            "tls = { certificates = [{ certificate = 'a.pem', key = 'b.key' }] }",
            "does not belong to the certificate",
        ),
        (
            "tls = { certificates = [{ certificate = 'none.pem', key = 'a.key' }] }",
            "`none.pem` cannot be read",
        ),
        (
            "tls = { certificates = [{ certificate = 'a.pem', key = 'none.key' }] }",
            "`none.key` cannot be read",
        ),
        ("tls = { certificates = [{ certificate = 'a.key', key = 'a.key' }] }", "and no certificate"),
        ("tls = { certificates = [{ certificate = 'a.pem', key = 'a.pem' }] }", "and no private key"),
        ("tls = { certificates = [{ certificate = 'a.pem' }] }", "this key is missing"),
        (
            "tls = { certificates = [{ certificate = 'a.pem', key = '-----BEGIN hunter2' }] }",
            "content of a PEM file",
        ),
        (
            "tls = { certificates = [{ certificate = 'a.pem', key = 'a.key' }], min_version = '1.1' }",
            "min_version",
        ),
    ];
    for (tls, expected) in cases {
        let shown = refused(directory.path(), tls);
        assert!(shown.contains(expected) && shown.contains("server.tls."), "{tls}\n{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
