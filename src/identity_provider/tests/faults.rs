//! A provider that is slow, lost, hostile or not up yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;
use futures_util::stream;
use tokio::net::{TcpListener, TcpSocket};

use crate::identity_provider::testing::server::{Server, client, credentials, json, provider};
use crate::identity_provider::{LoginError, NotReady, RefreshError, testing};

const TOKENS: &str = r#"{"access_token":"a","refresh_token":"r2","token_type":"Bearer"}"#;

fn is_unavailable(result: &Result<crate::identity_provider::TokenSet, LoginError>) -> bool {
    matches!(result, Err(LoginError::Unavailable(..) | LoginError::TooMany(..)))
}

/// One space at a time, for ever: valid JSON so far.
fn drip() -> Response<Body> {
    let drops = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
    });
    json(200, Body::from_stream(drops))
}

/// 100 MiB of spaces in front of a good answer, without a length.
fn flood() -> Response<Body> {
    let chunk = Bytes::from(vec![b' '; 64 * 1024]);
    let chunks = (0..1600).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
    let end = std::iter::once(Ok(Bytes::from_static(TOKENS.as_bytes())));
    json(200, Body::from_stream(stream::iter(chunks.chain(end))))
}

#[tokio::test]
async fn faulty_answers_are_an_outage_and_end_nothing() {
    type Fault = fn() -> Response<Body>;
    let (server, provider) = Server::with_provider().await;
    let faults: [(&str, Fault); 7] = [
        ("garbage", || json(200, "\u{0}garbage")),
        ("sign-in page", || json(200, "<html>Sign in</html>")),
        ("flood", flood),
        ("announced flood", || json(200, vec![b' '; 2 * 1024 * 1024])),
        ("redirect", || {
            Response::builder().status(307).header("location", "/trap").body(Body::empty()).unwrap()
        }),
        ("gzip", || {
            let builder = Response::builder().header("content-encoding", "gzip");
            builder.body(Body::from(TOKENS)).unwrap()
        }),
        ("429", || Response::builder().status(429).header("retry-after", "1").body(Body::empty()).unwrap()),
    ];
    for (name, fault) in faults {
        server.script("/token", fault);
        assert!(
            is_unavailable(&provider.password_grant(&client(), &credentials("ann", "pw")).await),
            "{name}"
        );
        let refresh = provider.refresh_grant(&client(), "r1", None).await;
        assert!(matches!(refresh, Err(RefreshError::Unavailable(..))), "{name}: {refresh:?}");
    }
    assert!(server.seen("/trap").is_empty(), "a redirect was followed");
    server.answer("/token", 200, TOKENS);
    assert!(provider.password_grant(&client(), &credentials("ann", "pw")).await.is_ok());
}

#[tokio::test]
async fn a_dripping_answer_ends_with_the_total_time_out() {
    let server = Server::start().await;
    server.publish_metadata();
    server.script("/token", drip);
    let mut config = testing::config(&server.base);
    config.request_timeout = Duration::from_millis(300);
    let login = provider(&config).password_grant(&client(), &credentials("ann", "pw")).await;
    assert_eq!(
        login.unwrap_err(),
        LoginError::Unavailable("no complete answer within 300ms (`request_timeout`)".into(), None)
    );
}

#[tokio::test]
async fn a_refresh_is_read_longer_than_a_request_waits() {
    let server = Server::start().await;
    server.publish_metadata();
    server.script("/token", || {
        let slow = stream::once(async {
            tokio::time::sleep(Duration::from_millis(600)).await;
            Ok::<_, std::io::Error>(Bytes::from_static(TOKENS.as_bytes()))
        });
        json(200, Body::from_stream(slow))
    });
    let mut config = testing::config(&server.base);
    config.request_timeout = Duration::from_millis(200);
    let provider = provider(&config);
    let tokens = provider.refresh_grant(&client(), "r1", None).await;
    assert_eq!(tokens.map(|tokens| tokens.access_token.to_string()), Ok(String::from("a")));
}

#[tokio::test]
async fn a_refresh_whose_answer_is_lost_is_not_repeated() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let counter = counter.clone();
            tokio::spawn(async move {
                // The first answer is good and leaves a connection to reuse; then the answer is lost on it.
                let mut buffer = [0; 4096];
                while socket.read(&mut buffer).await.unwrap() > 0 {
                    if counter.fetch_add(1, Ordering::SeqCst) > 0 {
                        return;
                    }
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{TOKENS}", TOKENS.len());
                    socket.write_all(head.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let mut config = testing::config(&base);
    config.token_endpoint = Some(format!("{base}/token").parse().unwrap());
    config.jwks_uri = Some(format!("{base}/jwks").parse().unwrap());
    let provider = provider(&config);
    assert!(provider.refresh_grant(&client(), "r1", None).await.is_ok());
    let lost = provider.refresh_grant(&client(), "r2", None).await;
    assert!(matches!(lost, Err(RefreshError::Unavailable(..))), "{lost:?}");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_empty_reason_phrase_is_fine() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut socket, _) = listener.accept().await.unwrap();
        assert!(socket.read(&mut [0; 4096]).await.unwrap() > 0);
        let head = format!("HTTP/1.1 200 \r\ncontent-length: {}\r\n\r\n{TOKENS}", TOKENS.len());
        socket.write_all(head.as_bytes()).await.unwrap();
    });
    let mut config = testing::config(&base);
    config.token_endpoint = Some(format!("{base}/token").parse().unwrap());
    config.jwks_uri = Some(format!("{base}/jwks").parse().unwrap());
    assert!(provider(&config).password_grant(&client(), &credentials("ann", "pw")).await.is_ok());
}

#[tokio::test]
async fn discovery_that_comes_up_late_is_tried_inline_and_in_the_background() {
    // Bound but not listening: the port is ours, and connections to it are refused.
    let reserved = TcpSocket::new_v4().unwrap();
    reserved.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = reserved.local_addr().unwrap();
    let base = format!("http://{address}");
    let provider = provider(&testing::config(&base));
    assert!(is_unavailable(&provider.password_grant(&client(), &credentials("ann", "pw")).await));
    assert!(matches!(provider.readiness(), Err(NotReady::NoEndpoints(_))));

    let server = Server::on(reserved.listen(128).unwrap());
    server.publish_metadata();
    server.publish_keys(&[crate::identity_provider::testing::server::JWK]);
    server.answer("/token", 200, TOKENS);
    assert!(provider.password_grant(&client(), &credentials("ann", "pw")).await.is_ok());
    assert!(matches!(provider.readiness(), Err(NotReady::NoKeys(_))));
    let (stop, shutdown) = tokio::sync::watch::channel(false);
    let task = tokio::spawn(provider.clone().run(shutdown));
    crate::identity_provider::testing::server::eventually("ready", || provider.readiness().is_ok()).await;
    stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(10), task).await.expect("stops").unwrap();
}

#[tokio::test]
async fn many_logins_during_an_outage_share_one_attempt() {
    let server = Server::start().await;
    server.answer("/.well-known/openid-configuration", 503, "");
    let provider = provider(&testing::config(&server.base));
    let logins = (0..50).map(|_| {
        let provider = provider.clone();
        async move { provider.password_grant(&client(), &credentials("ann", "pw")).await }
    });
    let outcomes = futures_util::future::join_all(logins).await;
    assert!(outcomes.iter().all(is_unavailable));
    assert_eq!(server.seen("/.well-known/openid-configuration").len(), 1);
}

/// A provider whose needed endpoints are all configured: only where logouts go is to be found out.
fn without_revocation_endpoint(base: &str) -> crate::config::IdentityProvider {
    let mut config = testing::config(base);
    config.token_endpoint = Some(format!("{base}/token").parse().unwrap());
    config.jwks_uri = Some(format!("{base}/jwks").parse().unwrap());
    config
}

#[tokio::test]
async fn only_a_provider_that_says_so_has_no_metadata() {
    const DOCUMENTS: [&str; 2] =
        ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];
    type Answer = (u16, &'static str);
    // What each document is answered with, and whether that is the last word.
    let cases: [(Answer, Answer, bool); 8] = [
        ((404, ""), (404, "<html>"), true),
        ((404, ""), (410, ""), true),
        ((403, "<html>blocked</html>"), (404, ""), false),
        ((404, ""), (403, "<html>blocked</html>"), false),
        ((200, "<html>Sign in</html>"), (200, "<html>Sign in</html>"), false),
        ((401, ""), (401, ""), false),
        ((302, ""), (302, ""), false),
        ((503, ""), (404, ""), false),
    ];
    for (first, second, is_final) in cases {
        let server = Server::start().await;
        server.answer("/revoke", 200, "");
        for (document, (status, body)) in DOCUMENTS.into_iter().zip([first, second]) {
            server.answer(document, status, body);
        }
        let provider = provider(&without_revocation_endpoint(&server.base));
        assert!(provider.revoke(&client(), "r1").await.is_ok() == is_final, "{first:?} {second:?}");
        server.publish_metadata();
        assert!(provider.revoke(&client(), "r2").await.is_ok());
        assert_eq!(server.seen("/revoke").len(), usize::from(!is_final), "{first:?} {second:?}");
    }
}

#[tokio::test]
async fn metadata_must_be_the_issuers_own() {
    let server = Server::start().await;
    server.publish_metadata();
    let provider = provider(&testing::config(&format!("{}/", server.base)));
    assert!(is_unavailable(&provider.password_grant(&client(), &credentials("ann", "pw")).await));
    let reason = provider.readiness().unwrap_err().to_string();
    assert!(reason.contains("calls itself") && reason.contains(&server.base), "{reason}");
}

#[tokio::test]
async fn rfc_8414_metadata_serves_where_openid_has_none() {
    let server = Server::start().await;
    let issuer = format!("{}/realms/shop", server.base);
    let base = &server.base;
    let metadata = serde_json::json!({ "issuer": issuer, "token_endpoint": format!("{base}/t/"),
        "jwks_uri": format!("{base}/jwks"), "grant_types_supported": ["authorization_code"] });
    server.answer("/.well-known/oauth-authorization-server/realms/shop", 200, &metadata.to_string());
    server.answer("/t/", 200, TOKENS);
    let provider = provider(&testing::config(&issuer));
    assert!(provider.password_grant(&client(), &credentials("ann", "pw")).await.is_ok());
    assert_eq!(server.seen("/realms/shop/.well-known/openid-configuration").len(), 1);
}

#[tokio::test]
async fn discovered_endpoints_must_be_safe_and_complete() {
    let server = Server::start().await;
    let cases = [
        (serde_json::json!({ "token_endpoint": "http://idp.example.com/token" }), "token_endpoint"),
        (serde_json::json!({ "token_endpoint": "no url" }), "token_endpoint"),
        (serde_json::json!({ "jwks_uri": "http://idp.example.com/jwks" }), "jwks_uri"),
        (serde_json::json!({ "jwks_uri": null }), "jwks_uri"),
        (serde_json::json!({ "token_endpoint": null }), "token_endpoint"),
    ];
    for (change, named) in cases {
        let base = &server.base;
        let mut metadata = serde_json::json!({ "issuer": base, "token_endpoint": format!("{base}/token"),
            "jwks_uri": format!("{base}/jwks") });
        metadata.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        server.answer("/.well-known/openid-configuration", 200, &metadata.to_string());
        let provider = provider(&testing::config(base));
        assert!(is_unavailable(&provider.password_grant(&client(), &credentials("ann", "pw")).await));
        let reason = provider.readiness().unwrap_err().to_string();
        assert!(reason.contains(named), "{change}: {reason}");
    }
}
