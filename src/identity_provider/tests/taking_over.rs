//! The knowledge that a provider goes on with when its settings change: every key of its section.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, ClientAuthentication, LogoutMethod, ProviderKind, RefreshApi, Secret};
use crate::identity_provider::IdentityProvider;
use crate::identity_provider::testing;
use crate::identity_provider::testing::server::{JWK, Server, provider};

const CONFIGURATION: &str = include_str!("../../../docs/configuration.md");
const BEHAVIOUR: &str = include_str!("../../../docs/behaviour.md");

type Change = fn(&mut config::IdentityProvider, &str);

/// Each key with another value than before, and whether the endpoints and the keys of before are used on.
const KEYS: [(&str, Change, bool, bool); 25] = [
    (
        "kind",
        |config, _| config.kind = ProviderKind::FusionAuth { refresh_api: RefreshApi::OAuth2 },
        false,
        false,
    ),
    ("issuer", |config, base| config.issuer = format!("{base}/other"), false, false),
    ("scope", |config, _| config.scope = None, true, true),
    ("client_auth", |config, _| config.client_auth = ClientAuthentication::Post, true, true),
    (
        "revocation_client_auth",
        |config, _| config.revocation_client_auth = ClientAuthentication::Post,
        true,
        true,
    ),
    ("algorithms", |config, _| config.algorithms = vec![jsonwebtoken::Algorithm::ES256], true, false),
    ("hmac_secret", |config, _| config.hmac_secret = Some(Secret::new("a secret of the tests")), true, false),
    ("leeway", |config, _| config.leeway = Duration::from_secs(9), true, true),
    ("token_endpoint", |config, base| config.token_endpoint = Some(url(base, "t")), true, true),
    ("revocation_endpoint", |config, base| config.revocation_endpoint = Some(url(base, "r")), true, true),
    ("logout", |config, _| config.logout = LogoutMethod::EndSession, true, true),
    ("end_session_endpoint", |config, base| config.end_session_endpoint = Some(url(base, "e")), true, true),
    ("access_token_is_id_token", |config, _| config.access_token_is_id_token = true, true, true),
    (
        "token_parameters",
        |config, _| {
            let value = config::ParameterValue { text: Secret::new("a"), is_secret: false };
            config.token_parameters =
                vec![config::TokenParameter { name: String::from("audience"), values: vec![value] }];
        },
        true,
        true,
    ),
    ("proxy", |config, _| config.proxy = Some(a_proxy()), true, true),
    (
        "proxy_credentials",
        |config, _| {
            let credentials =
                config::ProxyCredentials { username: String::from("a"), password: Secret::new("b") };
            config.proxy = Some(config::OutgoingProxy { credentials: Some(credentials), ..a_proxy() });
        },
        true,
        true,
    ),
    ("jwks_uri", |config, base| config.jwks_uri = Some(url(base, "k")), true, false),
    ("connect_timeout", |config, _| config.connect_timeout = Duration::from_secs(9), true, true),
    ("request_timeout", |config, _| config.request_timeout = Duration::from_secs(9), true, true),
    ("refresh_grace", |config, _| config.refresh_grace = Duration::from_secs(9), true, true),
    ("jwks_refresh", |config, _| config.jwks_refresh = Duration::from_secs(9), true, true),
    ("jwks_cooldown", |config, _| config.jwks_cooldown = Duration::from_secs(9), true, true),
    ("allow_insecure_http", |config, _| config.allow_insecure_http = true, true, true),
    ("ca", |config, _| config.ca = Some(config::Authorities(Vec::new())), true, true),
    // Of FusionAuth only, where nothing is discovered.
    (
        "refresh_api",
        |config, _| config.kind = ProviderKind::FusionAuth { refresh_api: RefreshApi::Jwt },
        true,
        true,
    ),
];

fn a_proxy() -> config::OutgoingProxy {
    config::OutgoingProxy { url: "http://127.0.0.1:1".parse().unwrap(), credentials: None }
}

fn url(base: &str, path: &str) -> url::Url {
    format!("{base}/{path}").parse().unwrap()
}

/// Those of before are known, and usable with other settings, before anybody has been asked.
#[tokio::test]
async fn each_setting_keeps_what_does_not_follow_from_it() {
    let server = Server::start().await;
    server.publish_metadata();
    server.publish_keys(&[JWK]);
    let before_config = testing::config(&server.base);
    let before = provider(&before_config);
    let mut fusionauth_config = before_config.clone();
    fusionauth_config.kind = ProviderKind::FusionAuth { refresh_api: RefreshApi::OAuth2 };
    let fusionauth = provider(&fusionauth_config);
    server.answer("/.well-known/jwks.json", 200, &format!(r#"{{"keys":[{JWK}]}}"#));
    assert!(before.prepare().await && fusionauth.prepare().await);
    let asked = server.seen("/jwks").len();
    for (key, change, keeps_endpoints, keeps_keys) in KEYS {
        let (before, mut config) = match key {
            "refresh_api" => (&fusionauth, fusionauth_config.clone()),
            _ => (&before, before_config.clone()),
        };
        change(&mut config, &server.base);
        config.name = String::from("another");
        let next = IdentityProvider::following(&config, Some(before)).unwrap();
        let revocation = |provider: &IdentityProvider| provider.discovery.endpoints().revocation.clone();
        let kept = revocation(&next) == revocation(before) || key == "revocation_endpoint";
        assert_eq!(kept, keeps_endpoints, "{key}");
        assert_eq!(Arc::ptr_eq(&next.key_set(), &before.key_set()), keeps_keys, "{key}");
        assert_eq!(next.readiness().is_ok(), keeps_keys || key == "hmac_secret", "{key}");
        assert_eq!(next.jwks_age().is_some(), keeps_keys, "{key}");
    }
    assert_eq!(server.seen("/jwks").len(), asked);
}

#[test]
fn the_pages_have_every_key_and_what_it_keeps() {
    let row = |line: &str| Some(line.strip_prefix("| `identity_providers.*.")?.split_once('`')?.0.to_owned());
    let mut documented: Vec<String> = CONFIGURATION.lines().filter_map(row).collect();
    documented.sort_unstable();
    let mut tried = KEYS.map(|(key, ..)| key.to_owned());
    tried.sort_unstable();
    assert_eq!(documented, tried);

    let section = BEHAVIOUR.split("| Changed setting of a provider |").nth(1).unwrap();
    let mut told = BTreeMap::new();
    for line in section.lines().skip(2).take_while(|line| line.starts_with("  | ")) {
        let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        for key in cells[0].split(", ") {
            told.insert(key.trim_matches('`').to_owned(), (cells[1] == "kept", cells[2] == "kept"));
        }
    }
    for (key, _, endpoints, keys) in KEYS {
        let others = told.get("every other").copied().unwrap();
        assert_eq!(told.get(key).copied().unwrap_or(others), (endpoints, keys), "{key}");
    }
}

#[tokio::test]
async fn what_was_kept_is_replaced_by_what_the_provider_says_now() {
    let server = Server::start().await;
    server.publish_metadata();
    server.publish_keys(&[JWK]);
    let before_config = testing::config(&server.base);
    let before = provider(&before_config);
    assert!(before.prepare().await);
    let mut config = before_config;
    config.scope = None;
    let next = Arc::new(IdentityProvider::following(&config, Some(&before)).unwrap());
    // While it is down, what is known serves.
    server.answer("/.well-known/openid-configuration", 503, "");
    server.answer("/jwks", 503, "");
    assert!(next.prepare().await);
    assert_eq!(next.key_set().len(), 1);
    let renamed = JWK.replace('{', r#"{"kid":"2","#);
    server.publish_keys(&[JWK, &renamed]);
    server.answer(
        "/.well-known/openid-configuration",
        200,
        &serde_json::json!({
            "issuer": server.base, "jwks_uri": format!("{}/jwks", server.base),
            "token_endpoint": format!("{}/elsewhere", server.base),
        })
        .to_string(),
    );
    assert!(next.prepare().await);
    assert_eq!(next.key_set().len(), 2);
    let token = next.discovery.endpoints().token.clone().unwrap();
    assert_eq!(token.path(), "/elsewhere");
}

#[tokio::test]
async fn endpoints_that_became_unsafe_are_not_taken_over() {
    let server = Server::start().await;
    let base = &server.base;
    let metadata = serde_json::json!({
        "issuer": base, "token_endpoint": "http://idp.example.com/token", "jwks_uri": format!("{base}/jwks"),
    });
    server.answer("/.well-known/openid-configuration", 200, &metadata.to_string());
    server.publish_keys(&[JWK]);
    let mut config = testing::config(base);
    config.allow_insecure_http = true;
    let before = provider(&config);
    assert!(before.prepare().await);
    config.allow_insecure_http = false;
    let next = IdentityProvider::following(&config, Some(&before)).unwrap();
    assert_eq!(next.discovery.endpoints().token, None);
    assert!(next.readiness().is_err());
}
