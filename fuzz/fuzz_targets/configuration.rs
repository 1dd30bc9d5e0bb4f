//! `gateway.toml`.
//!
//! Any text is a configuration or a list of problems, each of them with a text, a hint and a line of the file. A
//! configuration keeps what the rest of the program relies on, and shows no secret.

#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use portcullis::access::decision::AppRules;
use portcullis::config::{App, Config, ConfigError, Loaded, Problem, parse};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // `{ file = ".." }` reads: of a device, an input would not mean the same twice.
    if text.contains("/dev") || text.contains("/proc") {
        return;
    }
    match parse(text) {
        Ok(loaded) => check_loaded(text, &loaded),
        Err(error) => check_refusal(text, &error),
    }
});

fn check_refusal(text: &str, error: &ConfigError) {
    assert!(!error.problems.is_empty());
    error.problems.iter().for_each(|problem| check_problem(text, problem));
    assert!(error.report("gateway.toml").contains(&error.to_string().replace(" in the configuration", "")));
}

fn check_problem(text: &str, problem: &Problem) {
    assert!(!problem.message.is_empty() && !problem.hint.is_empty(), "{problem:?}");
    let lines = text.split('\n').count();
    assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem:?}");
    assert!(
        !problem.report("error", "gateway.toml").chars().any(|c| c.is_control() && c != '\n'),
        "{problem:?}"
    );
}

fn check_loaded(text: &str, loaded: &Loaded) {
    let Loaded { config, warnings } = loaded;
    warnings.iter().for_each(|warning| check_problem(text, warning));
    assert!(!config.server.listen.is_empty());
    assert!(!config.server.trusted_proxies.iter().any(|network| network.prefix_len() == 0));
    assert!(!config.server.limits.header_timeout.is_zero() && config.server.limits.max_connections > 0);
    let mut hosts = HashSet::new();
    for app in &config.apps {
        assert!(!app.hosts.is_empty() && !app.upstreams.is_empty());
        for host in &app.hosts {
            assert!(hosts.insert(host.to_string().to_ascii_lowercase()), "{host:?} has two apps");
        }
        check_app(app, config);
    }
    for provider in &config.identity_providers {
        assert!(!provider.issuer.is_empty() && !provider.algorithms.is_empty());
        let symmetric =
            provider.algorithms.iter().filter(|algorithm| format!("{algorithm:?}").starts_with("HS")).count();
        let expected = if provider.hmac_secret.is_some() { provider.algorithms.len() } else { 0 };
        assert_eq!(symmetric, expected, "HMAC is on purpose, and then alone");
    }
    let _table = portcullis::command::check::report(loaded);
    check_secrets(text, loaded);
}

fn check_app(app: &App, config: &Config) {
    let cookies = &app.cookies;
    assert_ne!(cookies.access_token, cookies.refresh_token);
    for name in [&cookies.access_token, &cookies.refresh_token] {
        assert!(cookies.secure || !name.to_ascii_lowercase().starts_with("__host-"));
    }
    let paths = HashSet::from([&app.login.path, &app.user.path, &app.logout.path]);
    assert_eq!(paths.len(), 3);
    assert!(paths.iter().all(|path| path.starts_with('/')));
    let provider = config.identity_providers.get(app.identity_provider).expect("a provider");
    let _rules = AppRules::new(app, provider, &config.session);
}

/// A secret that stands in the file once is not shown again.
fn check_secrets(text: &str, loaded: &Loaded) {
    let clients = loaded.config.apps.iter().filter_map(|app| app.client_secret.as_ref());
    let providers =
        loaded.config.identity_providers.iter().filter_map(|provider| provider.hmac_secret.as_ref());
    for secret in clients.chain(providers).map(|secret| secret.expose()) {
        if secret.len() >= 12 && text.matches(secret).count() == 1 {
            assert!(!format!("{loaded:?}").contains(secret), "a secret is shown");
        }
    }
}
