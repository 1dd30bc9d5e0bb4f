//! Accepted files with `[shared_state]`, and their warnings.

use std::time::Duration;

use rcgen::generate_simple_self_signed;

use super::accepted;
use crate::config::load::{Loaded, parse_in};
use crate::config::{EngineAddress, EnginePlace, SharedState};

const BASE: &str = "
    server.trusted_proxies = ['10.1.0.0/16']
    [identity_providers.main]
    issuer = 'https://id.example.com'
    client_auth = 'none'
    PROVIDER
    [apps.shop]
    hosts = ['shop.example.com']
    upstreams = ['http://127.0.0.1:3000']
    client_id = 'shop'
    [refresh]
    REFRESH
    ";

fn base() -> String {
    BASE.replace("PROVIDER", "").replace("REFRESH", "")
}

/// Reads `[shared_state]` with these lines. Warnings of the key, which is in the text, are left out.
fn read(lines: &str) -> (SharedState, Vec<String>) {
    let key = "keys = ['MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=']";
    let loaded = accepted(&format!("{}[shared_state]\n{key}\n{lines}", base()));
    let warnings = warnings_of(&loaded).into_iter().filter(|warning| !warning.contains("keys[0]"));
    let warnings = warnings.collect();
    (loaded.config.shared_state.expect("the table"), warnings)
}

fn warnings_of(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(|warning| warning.report("warning", "gateway.toml")).collect()
}

#[test]
fn without_the_table_nothing_is_shared() {
    for text in ["", "[shared_state]\n"] {
        let loaded = accepted(&format!("{}{text}", base()));
        assert!(loaded.config.shared_state.is_none() && loaded.warnings.is_empty(), "{text}");
        assert_eq!(loaded.config.identity_providers[0].refresh_grace, Duration::ZERO);
    }
}

#[test]
fn the_documented_defaults() {
    let (state, warnings) = read("url = 'redis://127.0.0.1'");
    assert_eq!(warnings, [""; 0]);
    assert!(state.username.is_none() && state.password.is_none() && state.ca.is_none());
    assert!(!state.allow_cleartext);
    assert_eq!((state.keys.len(), state.prefix.as_str(), state.wait_replicas), (1, "portcullis", 0));
    assert_eq!(state.command_timeout, Duration::from_millis(250));
    assert_eq!(state.settle, Duration::from_secs(3));
    assert_eq!(state.replay_cache, 64 << 20);
}

#[test]
fn urls_of_one_server() {
    for (url, host, port, tls, database) in [
        ("redis://127.0.0.1", "127.0.0.1", 6379, false, 0),
        ("valkey://localhost:6380", "localhost", 6380, false, 0),
        ("redis://[::1]", "::1", 6379, false, 0),
        ("redis://[0:0:0:0:0:0:0:1]:7000/", "::1", 7000, false, 0),
        ("rediss://Valkey.example.com:6379/0", "valkey.example.com", 6379, true, 0),
        ("valkeys://valkey/15", "valkey", 6379, true, 15),
        ("REDISS://10.0.0.1:1/1", "10.0.0.1", 1, true, 1),
    ] {
        let (state, warnings) = read(&format!("url = '{url}'"));
        let place = EnginePlace::Single { host: host.into(), port };
        assert_eq!(state.engine, EngineAddress { place, tls, database }, "{url}");
        assert_eq!(warnings, [""; 0], "{url}");
    }
}

#[test]
fn urls_of_sentinels() {
    for (url, sentinels, master, tls, database) in [
        ("redis+sentinel://localhost/mymaster", &[("localhost", 26379)][..], "mymaster", false, 0),
        (
            "rediss+sentinel://s1:26379,s2,S3:5000/mymaster",
            &[("s1", 26379), ("s2", 26379), ("s3", 5000)],
            "mymaster",
            true,
            0,
        ),
        (
            "valkey+sentinel://[::1]:1,127.0.0.1/a.b-c_1/",
            &[("::1", 1), ("127.0.0.1", 26379)],
            "a.b-c_1",
            false,
            0,
        ),
        ("valkeys+sentinel://[2001:db8::1]/mymaster/3", &[("2001:db8::1", 26379)], "mymaster", true, 3),
    ] {
        let (state, warnings) = read(&format!("url = '{url}'"));
        let sentinels = sentinels.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect();
        let place = EnginePlace::Sentinel { sentinels, master: master.into() };
        assert_eq!(state.engine, EngineAddress { place, tls, database }, "{url}");
        assert_eq!(warnings, [""; 0], "{url}");
    }
}

#[test]
fn values_arrive() {
    let (state, _) = read(
        "url = 'rediss://valkey'\nusername = 'gateway'\npassword = { env = 'CARGO_PKG_NAME' }\nprefix = 'shop-1_a.b'\n\
         command_timeout = '5s'\nwait_replicas = 16\nsettle = '1s'\nreplay_cache = '16GiB'",
    );
    assert_eq!(state.username.as_deref(), Some("gateway"));
    assert_eq!(state.password.unwrap().expose(), "portcullis");
    assert_eq!((state.prefix.as_str(), state.wait_replicas), ("shop-1_a.b", 16));
    assert_eq!((state.command_timeout, state.settle), (Duration::from_secs(5), Duration::from_secs(1)));
    assert_eq!(state.replay_cache, 16 << 30);
}

/// The first key names and seals, so the order counts.
#[test]
fn keys_keep_their_order() {
    let keys = "keys = ['MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=', 'ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA']";
    let text = format!("{}[shared_state]\nurl = 'redis://127.0.0.1'\n{keys}", base());
    let state = accepted(&text).config.shared_state.unwrap();
    let keys: Vec<_> = state.keys.iter().map(|key| key.expose().to_vec()).collect();
    assert_eq!(keys, [b"0123456789abcdef0123456789abcdef", b"fedcba9876543210fedcba9876543210"]);
    assert!(!format!("{state:?}").contains("0123456789"), "a key is shown: {state:?}");
}

#[test]
fn cleartext_that_is_allowed_is_warned_about_where_it_is_used() {
    for (url, is_warned) in [
        ("redis://valkey.example.com", true),
        ("redis+sentinel://127.0.0.1,s2/mymaster", true),
        ("redis://127.0.0.1", false),
        ("redis+sentinel://localhost/mymaster", false),
        ("rediss://valkey.example.com", false),
    ] {
        let (state, warnings) = read(&format!("url = '{url}'\nallow_cleartext = true"));
        assert!(state.allow_cleartext);
        assert_eq!(warnings.len(), usize::from(is_warned), "{url}: {warnings:?}");
        assert!(
            warnings.iter().all(|warning| warning.contains("`shared_state.allow_cleartext`")),
            "{warnings:?}"
        );
    }
}

#[test]
fn authorities_need_tls() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = generate_simple_self_signed(vec!["valkey".into()]).unwrap().cert.pem();
    std::fs::write(directory.path().join("ca.pem"), certificate).unwrap();
    let parsed = |url: &str| {
        let key = "keys = ['MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=']";
        parse_in(&format!("{}[shared_state]\n{key}\nurl = '{url}'\nca = 'ca.pem'", base()), directory.path())
    };
    let state = parsed("rediss://valkey").unwrap().config.shared_state.unwrap();
    assert_eq!(state.ca.map(|authorities| authorities.0.len()), Some(1));
    let report = parsed("redis://127.0.0.1").unwrap_err().report("gateway.toml");
    assert!(report.contains("`shared_state.ca`: the engine is reached without TLS"), "{report}");
}

/// The longest times that fit into a claim together. `refused.rs` has those that are one millisecond too long.
#[test]
fn a_claim_may_be_used_up() {
    for (provider, refresh, settle) in [
        ("", "replay_window = '37s'", "3s"),
        ("", "", "10s"),
        ("", "replay_window = '10s'", "30s"),
        ("request_timeout = '27s'", "", "3s"),
    ] {
        let base = BASE.replace("PROVIDER", provider).replace("REFRESH", refresh);
        let text = format!(
            "{base}[shared_state]\nkeys = ['MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=']\n\
             url = 'redis://127.0.0.1'\nsettle = '{settle}'"
        );
        assert!(accepted(&text).config.shared_state.is_some(), "{provider} {refresh} {settle}");
    }
}

/// A replica is alone without `[shared_state]`. Then no claim limits the times.
#[test]
fn without_the_table_no_claim_limits_the_times() {
    accepted(&BASE.replace("PROVIDER", "request_timeout = '1m'").replace("REFRESH", "replay_window = '10m'"));
}

#[test]
fn a_grace_period_that_changes_nothing_is_warned_about() {
    for (grace, is_warned) in
        [("0s", false), ("1ms", true), ("1s", true), ("2s", true), ("2001ms", false), ("10m", false)]
    {
        let text = BASE.replace("PROVIDER", &format!("refresh_grace = '{grace}'")).replace("REFRESH", "");
        let loaded = accepted(&text);
        let warnings = warnings_of(&loaded);
        assert_eq!(warnings.len(), usize::from(is_warned), "{grace}: {warnings:?}");
        assert!(
            warnings.iter().all(|warning| warning.contains("`identity_providers.main.refresh_grace`")
                && warning.contains("changes nothing")),
            "{warnings:?}"
        );
    }
}
