//! The requests on the wire, for each kind of provider.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::{self, ClientAuthentication, ProviderKind, RefreshApi, Secret};
use crate::identity_provider::testing::server::{JWK, Server, client, credentials, provider};
use crate::identity_provider::{Client, LoginError, RefreshError, RevokeError, testing};

const TOKENS: &str = r#"{"access_token":"a","refresh_token":"r2","token_type":"Bearer","expires_in":300}"#;

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn password_grant_sends_the_fixed_fields_and_the_password_intact() {
    let (server, provider) = Server::with_provider().await;
    server.answer("/token", 200, TOKENS);
    let tokens = provider
        .password_grant(&client(), &credentials("ann@x.org&scope=admin", "Pä ss+w%rd&=✓"))
        .await
        .unwrap();
    assert_eq!((tokens.access_token.as_str(), tokens.refresh_token.unwrap().as_str()), ("a", "r2"));
    let seen = &server.seen("/token")[0];
    assert_eq!(
        seen.form(),
        pairs(&[
            ("grant_type", "password"),
            ("username", "ann@x.org&scope=admin"),
            ("password", "Pä ss+w%rd&=✓"),
            ("scope", "openid offline_access"),
        ])
    );
    let basic = format!("Basic {}", STANDARD.encode("store:p%2Bq%252Fr%3As"));
    assert_eq!(seen.header("authorization"), Some(basic.as_str()));
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(seen.header("user-agent"), Some(concat!("portcullis/", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn clients_authenticate_as_configured_and_differently_at_revocation() {
    let server = Server::start().await;
    server.publish_metadata();
    server.answer("/token", 200, TOKENS);
    server.answer("/revoke", 200, "<html>ok</html>");
    let mut config = testing::config(&server.base);
    config.client_auth = ClientAuthentication::BasicRaw;
    config.revocation_client_auth = ClientAuthentication::Post;
    config.scope = None;
    let provider = provider(&config);
    provider.refresh_grant(&client(), "r1", Some("expired")).await.unwrap();
    provider.revoke(&client(), "r1").await.unwrap();
    let refresh = &server.seen("/token")[0];
    assert_eq!(refresh.form(), pairs(&[("grant_type", "refresh_token"), ("refresh_token", "r1")]));
    let basic = format!("Basic {}", STANDARD.encode("store:p+q%2Fr:s"));
    assert_eq!(refresh.header("authorization"), Some(basic.as_str()));
    let revocation = &server.seen("/revoke")[0];
    assert_eq!(revocation.header("authorization"), None);
    assert_eq!(
        revocation.form(),
        pairs(&[
            ("token", "r1"),
            ("token_type_hint", "refresh_token"),
            ("client_id", "store"),
            ("client_secret", "p+q%2Fr:s"),
        ])
    );
}

#[tokio::test]
async fn refresh_keeps_replaces_or_ends() {
    let (server, provider) = Server::with_provider().await;
    server.answer("/token", 200, r#"{"access_token":"a"}"#);
    let kept = provider.refresh_grant(&client(), "r1", None).await.unwrap();
    assert!(kept.refresh_token.is_none());
    server.answer("/token", 200, TOKENS);
    let replaced = provider.refresh_grant(&client(), "r1", None).await.unwrap();
    assert_eq!(replaced.refresh_token.unwrap().as_str(), "r2");
    server.answer("/token", 400, "");
    let dead = provider.refresh_grant(&client(), "r1", None).await.unwrap_err();
    assert_eq!(dead, RefreshError::Dead(String::from("status 400, application/json, no body")));
    server.answer("/token", 401, r#"{"error":"unauthorized_client"}"#);
    let refused = provider.refresh_grant(&client(), "r1", None).await.unwrap_err();
    assert!(matches!(refused, RefreshError::Misconfigured(..)), "{refused:?}");
    assert_eq!(server.seen("/token").len(), 4, "never repeated");
}

#[tokio::test]
async fn fusionauth_with_its_own_refresh_api_and_logout() {
    let server = Server::start().await;
    server.answer("/oauth2/token", 200, TOKENS);
    server.answer("/api/jwt/refresh", 200, r#"{"token":"j","refreshToken":"r2","refreshTokenId":"i"}"#);
    server.answer("/api/logout", 200, "");
    server.answer("/.well-known/jwks.json", 200, &format!(r#"{{"keys":[{JWK}]}}"#));
    let mut config = testing::config("acme.com");
    config.kind = ProviderKind::FusionAuth { refresh_api: RefreshApi::Jwt };
    config.token_endpoint = Some(format!("{}/oauth2/token", server.base).parse().unwrap());
    let provider = provider(&config);
    provider.password_grant(&client(), &credentials("ann", "pw")).await.unwrap();
    let tokens = provider.refresh_grant(&client(), "r\"1", Some("expired")).await.unwrap();
    assert_eq!(tokens.access_token.as_str(), "j");
    provider.refresh_grant(&client(), "r1", None).await.unwrap();
    let bodies: Vec<serde_json::Value> = server
        .seen("/api/jwt/refresh")
        .iter()
        .map(|seen| serde_json::from_slice(&seen.body).unwrap())
        .collect();
    assert_eq!(
        bodies,
        [
            serde_json::json!({"refreshToken": "r\"1", "token": "expired"}),
            serde_json::json!({"refreshToken": "r1"})
        ]
    );
    server.answer("/api/jwt/refresh", 404, "");
    let dead = provider.refresh_grant(&client(), "r1", None).await.unwrap_err();
    assert!(matches!(dead, RefreshError::Dead(_)), "{dead:?}");
    provider.revoke(&client(), "r+/1&").await.unwrap();
    let logout = &server.seen("/api/logout")[0];
    assert_eq!(
        (logout.method.as_str(), logout.query.as_str()),
        ("POST", "global=false&refreshToken=r%2B%2F1%26")
    );
    assert!(provider.fetch_unknown_key(crate::identity_provider::UnknownKeySource::Request).await);
    assert!(server.seen("/.well-known/openid-configuration").is_empty());
}

#[tokio::test]
async fn fusionauth_with_the_refresh_grant() {
    let server = Server::start().await;
    server.answer("/oauth2/token", 200, r#"{"access_token":"a","token_type":"Bearer","userId":"u"}"#);
    let mut config = testing::config(&server.base);
    config.kind = ProviderKind::FusionAuth { refresh_api: RefreshApi::OAuth2 };
    let tokens = provider(&config).refresh_grant(&client(), "r1", Some("expired")).await.unwrap();
    assert!(tokens.refresh_token.is_none());
    assert_eq!(
        server.seen("/oauth2/token")[0].form(),
        pairs(&[("grant_type", "refresh_token"), ("refresh_token", "r1")])
    );
}

#[tokio::test]
async fn a_challenge_reaches_the_caller_and_no_debug_output() {
    let (server, provider) = Server::with_provider().await;
    server.answer("/token", 400, r#"{"error":"two_factor_required","two_factor_id":"tf-1"}"#);
    let error = provider.password_grant(&client(), &credentials("ann", "pw")).await.unwrap_err();
    assert_eq!(format!("{error:?}"), "Challenge(TwoFactor, ..)");
    let LoginError::Challenge(_, value, _) = error else { panic!("no challenge") };
    assert_eq!(value, serde_json::json!({ "two_factor_id": "tf-1" }));
}

#[tokio::test]
async fn nothing_secret_reaches_the_log_or_an_error() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || Buffer(writer.clone()))
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (server, provider) = Server::with_provider().await;
    let client = Client {
        id: String::from("store"),
        secret: Some(Secret::new("canary-secret")),
        parameters: Vec::new(),
    };
    let echo = r#"{"error":"CODE","error_description":"canary-secret canary-password canary-refresh\r\nx"}"#;
    let mut errors = Vec::new();
    for code in ["invalid_grant", "invalid_client", "server_error", "canary-refresh canary-password"] {
        server.answer("/token", 400, &echo.replace("CODE", code));
        server.answer("/revoke", 400, &echo.replace("CODE", code));
        let login = provider.password_grant(&client, &credentials("ann", "canary-password")).await;
        let refresh = provider.refresh_grant(&client, "canary-refresh", None).await;
        let revocation = provider.revoke(&client, "canary-refresh").await;
        errors.push(format!("{login:?} {refresh:?} {revocation:?}"));
    }
    errors.push(format!("{provider:?} {client:?}"));
    let log = String::from_utf8_lossy(&log.lock().unwrap()).into_owned();
    assert!(log.contains("login refused"), "{log}");
    assert!(!log.contains("canary") && !errors.concat().contains("canary"), "{log}\n{errors:?}");
}

struct Buffer(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn without_a_revocation_endpoint_logout_succeeds() {
    let server = Server::start().await;
    let mut config = testing::config(&server.base);
    config.token_endpoint = Some(format!("{}/token", server.base).parse().unwrap());
    config.jwks_uri = Some(format!("{}/jwks", server.base).parse().unwrap());
    let provider = provider(&config);
    assert_eq!(provider.revoke(&client(), "r1").await, Ok(()));
    let asked = server.seen("/.well-known/openid-configuration").len();
    assert_eq!(provider.revoke(&client(), "r1").await, Ok(()));
    assert_eq!(server.seen("/.well-known/openid-configuration").len(), asked, "asked once only");
}

#[tokio::test]
async fn a_refused_or_failed_revocation_is_told_apart() {
    let (server, provider) = Server::with_provider().await;
    server.answer("/revoke", 503, "");
    assert!(matches!(provider.revoke(&client(), "r1").await, Err(RevokeError::Unavailable(_))));
    server.answer("/revoke", 401, r#"{"error":"invalid_client"}"#);
    assert!(matches!(provider.revoke(&client(), "r1").await, Err(RevokeError::Refused(_))));
    server.answer("/revoke", 200, r#"{"error":"invalid_token"}"#);
    assert_eq!(provider.revoke(&client(), "r1").await, Ok(()));
}

/// A provider whose logouts go to the `end_session_endpoint`.
fn ends_sessions(server: &Server) -> config::IdentityProvider {
    let mut config = testing::config(&server.base);
    config.logout = config::LogoutMethod::EndSession;
    config
}

#[tokio::test]
async fn a_session_ends_at_the_discovered_or_configured_end_session_endpoint() {
    let server = Server::start().await;
    server.publish_metadata();
    server.answer("/logout", 204, "");
    server.answer("/elsewhere", 204, "");
    let mut config = ends_sessions(&server);
    provider(&config).revoke(&client(), "r+1").await.unwrap();
    config.end_session_endpoint = Some(format!("{}/elsewhere", server.base).parse().unwrap());
    config.revocation_client_auth = ClientAuthentication::Post;
    provider(&config).revoke(&client(), "r+1").await.unwrap();
    let sent = |path: &str| String::from_utf8(server.seen(path)[0].body.to_vec()).unwrap();
    assert_eq!(sent("/logout"), "refresh_token=r%2B1");
    assert!(sent("/elsewhere").starts_with("refresh_token=r%2B1&client_id="), "{}", sent("/elsewhere"));
    assert!(server.seen("/revoke").is_empty());
}

#[tokio::test]
async fn the_end_of_a_session_that_may_not_have_been_is_told() {
    let (server, _) = Server::with_provider().await;
    let ending = provider(&ends_sessions(&server));
    server.answer("/logout", 503, "");
    assert!(matches!(ending.revoke(&client(), "r1").await, Err(RevokeError::Unavailable(_))));
    server.answer("/logout", 400, r#"{"error":"invalid_grant"}"#);
    assert!(matches!(ending.revoke(&client(), "r1").await, Err(RevokeError::Refused(_))));
    // Nothing of it where there is no such endpoint; an outage may pass.
    let without = serde_json::json!({
        "issuer": server.base, "token_endpoint": format!("{}/token", server.base), "jwks_uri": format!("{}/jwks", server.base),
    });
    server.answer("/.well-known/openid-configuration", 200, &without.to_string());
    let lacking = provider(&ends_sessions(&server));
    assert!(matches!(lacking.revoke(&client(), "r1").await, Err(RevokeError::Refused(_))));
    server.answer("/.well-known/openid-configuration", 503, "");
    let down = provider(&ends_sessions(&server));
    assert!(matches!(down.revoke(&client(), "r1").await, Err(RevokeError::Unavailable(_))));
}

#[tokio::test]
async fn a_strange_end_session_endpoint_harms_only_who_uses_it() {
    let (server, _) = Server::with_provider().await;
    let strange = serde_json::json!({
        "issuer": server.base, "token_endpoint": format!("{}/token", server.base), "jwks_uri": format!("{}/jwks", server.base),
        "end_session_endpoint": "http://id.example.com/logout",
    });
    server.answer("/.well-known/openid-configuration", 200, &strange.to_string());
    server.answer("/token", 200, TOKENS);
    let revoking = provider(&testing::config(&server.base));
    assert!(revoking.password_grant(&client(), &credentials("ann", "pw")).await.is_ok());
    let ending = provider(&ends_sessions(&server));
    assert!(ending.password_grant(&client(), &credentials("ann", "pw")).await.is_err());
}
