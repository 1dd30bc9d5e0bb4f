//! The JWKS: rotation, outages, and how often it is fetched.

use std::time::Duration;

use jsonwebtoken::Algorithm;

use crate::config::Secret;
use crate::identity_provider::testing::server::{JWK, Server, eventually, provider};
use crate::identity_provider::{UnknownKeySource, testing};

fn with_id(id: &str) -> String {
    JWK.replace('{', &format!(r#"{{"kid":"{id}","#))
}

#[tokio::test]
async fn a_flood_of_unknown_keys_makes_one_fetch_per_cool_down() {
    let server = Server::start().await;
    server.publish_metadata();
    server.publish_keys(&[JWK]);
    let mut config = testing::config(&server.base);
    config.jwks_cooldown = Duration::from_hours(1);
    let provider = provider(&config);
    let flood = |source| {
        let provider = provider.clone();
        async move {
            let callers = (0..200).map(|_| provider.fetch_unknown_key(source));
            futures_util::future::join_all(callers).await
        }
    };
    let outcomes = flood(UnknownKeySource::Request).await;
    assert!(outcomes.iter().all(|succeeded| *succeeded), "concurrent callers share the fetch");
    assert!(flood(UnknownKeySource::Request).await.iter().all(|succeeded| !*succeeded));
    assert_eq!(server.seen("/jwks").len(), 1);
    // A token that the provider itself made has a limit of its own.
    assert!(provider.fetch_unknown_key(UnknownKeySource::TokenAnswer).await);
    assert_eq!(server.seen("/jwks").len(), 2);
}

#[tokio::test]
async fn the_cool_down_ends() {
    let server = Server::start().await;
    server.publish_metadata();
    server.publish_keys(&[JWK]);
    let mut config = testing::config(&server.base);
    config.jwks_cooldown = Duration::from_millis(50);
    let provider = provider(&config);
    assert!(provider.fetch_unknown_key(UnknownKeySource::Request).await);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(provider.fetch_unknown_key(UnknownKeySource::Request).await);
}

#[tokio::test]
async fn rotation_changes_the_generation_and_an_unchanged_set_does_not() {
    let server = Server::start().await;
    server.publish_metadata();
    server.publish_keys(&[&with_id("1")]);
    let mut config = testing::config(&server.base);
    config.jwks_cooldown = Duration::ZERO;
    let provider = provider(&config);
    assert_eq!((provider.key_set_generation(), provider.key_set().len()), (0, 0));
    assert!(provider.jwks_age().is_none());
    assert!(provider.fetch_unknown_key(UnknownKeySource::Request).await);
    assert_eq!(provider.key_set_generation(), 1);
    let encryption =
        r#"{"kty":"OKP","use":"enc","crv":"X25519","x":"hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo"}"#;
    server.publish_keys(&[encryption, &with_id("1")]);
    assert!(provider.fetch_unknown_key(UnknownKeySource::Request).await);
    assert_eq!(provider.key_set_generation(), 1);
    server.publish_keys(&[&with_id("2")]);
    assert!(provider.fetch_unknown_key(UnknownKeySource::Request).await);
    assert_eq!(provider.key_set_generation(), 2);
    let keys = provider.key_set();
    assert_eq!(keys.candidates(Some("1"), Algorithm::EdDSA).count(), 0, "keys vanish at once");
    assert_eq!(keys.candidates(Some("2"), Algorithm::EdDSA).count(), 1);
    assert!(provider.jwks_age().is_some());
}

#[tokio::test]
async fn unusable_answers_keep_the_old_keys() {
    let server = Server::start().await;
    server.publish_metadata();
    server.publish_keys(&[JWK]);
    let mut config = testing::config(&server.base);
    config.jwks_cooldown = Duration::ZERO;
    let provider = provider(&config);
    assert!(provider.fetch_unknown_key(UnknownKeySource::Request).await);
    for (status, body) in [
        (503, ""),
        (404, ""),
        (302, ""),
        (200, ""),
        (200, "<html>"),
        (200, "{}"),
        (200, r#"{"keys":[]}"#),
        (200, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#),
        (201, r#"{"keys":[]}"#),
    ] {
        server.answer("/jwks", status, body);
        assert!(!provider.fetch_unknown_key(UnknownKeySource::Request).await, "{status} {body}");
        assert_eq!((provider.key_set().len(), provider.key_set_generation()), (1, 1), "{status} {body}");
        assert!(provider.readiness().is_ok());
    }
}

#[tokio::test]
async fn the_background_task_renews_the_keys() {
    let server = Server::start().await;
    server.publish_metadata();
    server.answer("/jwks", 503, "");
    let mut config = testing::config(&server.base);
    config.jwks_refresh = Duration::from_millis(20);
    let provider = provider(&config);
    let (stop, shutdown) = tokio::sync::watch::channel(false);
    let task = tokio::spawn(provider.clone().run(shutdown));
    eventually("two attempts", || server.seen("/jwks").len() >= 2).await;
    assert!(provider.readiness().unwrap_err().to_string().contains("503"));
    server.publish_keys(&[&with_id("1")]);
    eventually("the first keys", || provider.readiness().is_ok()).await;
    server.publish_keys(&[&with_id("2")]);
    eventually("the next keys", || provider.key_set_generation() == 2).await;
    drop(stop);
    tokio::time::timeout(Duration::from_secs(10), task).await.expect("stops").unwrap();
}

#[tokio::test]
async fn an_hmac_secret_needs_no_jwks() {
    let server = Server::start().await;
    let base = &server.base;
    let metadata = serde_json::json!({ "issuer": base, "token_endpoint": format!("{base}/token") });
    server.answer("/.well-known/openid-configuration", 200, &metadata.to_string());
    let mut config = testing::config(base);
    config.algorithms = vec![Algorithm::HS256];
    config.hmac_secret = Some(Secret::new("0123456789abcdef0123456789abcdef"));
    let provider = provider(&config);
    let (_stop, shutdown) = tokio::sync::watch::channel(false);
    tokio::spawn(provider.clone().run(shutdown));
    eventually("ready", || provider.readiness().is_ok()).await;
    assert_eq!(provider.key_set().candidates(None, Algorithm::HS256).count(), 1);
    assert!(!provider.fetch_unknown_key(UnknownKeySource::Request).await);
    assert!(server.seen("/jwks").is_empty());
}
