//! A refresh without an outcome: only some failures prove that the provider has not processed the refresh token.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use crate::config::{IdentityProvider, OutgoingProxy};
use crate::identity_provider::testing::server::{Server, client, provider};
use crate::identity_provider::{RefreshError, TokenFate, testing};

/// The fate of a refresh token at a provider.
async fn fate(config: &IdentityProvider) -> TokenFate {
    match provider(config).refresh_grant(&client(), "r1", None).await {
        Err(RefreshError::Unavailable(_, _, fate) | RefreshError::Misconfigured(_, fate)) => fate,
        other => panic!("{other:?}"),
    }
}

/// A provider whose endpoints are all known.
fn at(base: &str) -> IdentityProvider {
    let mut config = testing::config(base);
    config.token_endpoint = Some(format!("{base}/token").parse().unwrap());
    config.jwks_uri = Some(format!("{base}/jwks").parse().unwrap());
    config.allow_insecure_http = true;
    config.connect_timeout = Duration::from_millis(500);
    config
}

/// The same through a proxy.
fn through(proxy: SocketAddr, base: &str) -> IdentityProvider {
    let url = format!("http://{proxy}").parse().unwrap();
    IdentityProvider { proxy: Some(OutgoingProxy { url, credentials: None }), ..at(base) }
}

/// A port where connections are refused for as long as the socket lives.
fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A server that reads something on each connection, says this, and closes.
async fn saying(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            if socket.read(&mut buffer).await.is_ok() {
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        }
    });
    address
}

#[tokio::test]
async fn without_a_connection_nothing_was_processed() {
    let (_socket, refused) = refusing();
    assert_eq!(fate(&at(&format!("http://{refused}"))).await, TokenFate::NotProcessed, "refused");
    assert_eq!(fate(&at("http://provider.invalid")).await, TokenFate::NotProcessed, "no such name");
    let plain = saying("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(fate(&at(&format!("https://{plain}"))).await, TokenFate::NotProcessed, "no TLS");
    // The system accepts connections for it, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://{}", silent.local_addr().unwrap());
    assert_eq!(fate(&at(&base)).await, TokenFate::NotProcessed, "no handshake in time");
}

#[tokio::test]
async fn without_an_endpoint_nothing_was_processed() {
    let (_socket, refused) = refusing();
    assert_eq!(fate(&testing::config(&format!("http://{refused}"))).await, TokenFate::NotProcessed);
}

#[tokio::test]
async fn a_proxy_that_does_not_let_us_through_has_kept_the_token_from_the_provider() {
    for said in [
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
        "",
    ] {
        let config = through(saying(said).await, "https://provider.example.com");
        assert_eq!(fate(&config).await, TokenFate::NotProcessed, "{said}");
    }
    let (_socket, refused) = refusing();
    for base in ["https://provider.example.com", "http://provider.example.com"] {
        assert_eq!(fate(&through(refused, base)).await, TokenFate::NotProcessed, "{base}");
    }
    // For plain http, the proxy answers in the provider's place.
    for (said, expected) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n", TokenFate::NotProcessed),
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", TokenFate::NotProcessed),
        ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", TokenFate::Unknown),
        ("HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\n\r\n", TokenFate::Unknown),
    ] {
        let config = through(saying(said).await, "http://provider.example.com");
        assert_eq!(fate(&config).await, expected, "{said}");
    }
}

#[tokio::test]
async fn a_token_that_was_sent_may_have_been_processed() {
    for said in [
        "",
        "this is not HTTP\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"access_token\":",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-encoding: gzip\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n{}",
    ] {
        let base = format!("http://{}", saying(said).await);
        assert_eq!(fate(&at(&base)).await, TokenFate::Unknown, "{said}");
    }
}

#[tokio::test]
async fn few_answers_say_that_the_token_was_not_processed() {
    let (server, _) = Server::with_provider().await;
    for (status, body, expected) in [
        (429, "", TokenFate::NotProcessed),
        (429, r#"{"error":"slow_down"}"#, TokenFate::NotProcessed),
        (503, "<html>maintenance</html>", TokenFate::NotProcessed),
        (401, r#"{"error":"invalid_client"}"#, TokenFate::NotProcessed),
        (400, r#"{"error":"unauthorized_client"}"#, TokenFate::NotProcessed),
        (400, r#"{"error":"unsupported_grant_type"}"#, TokenFate::NotProcessed),
        (200, r#"{"error":"incorrect_client_credentials"}"#, TokenFate::NotProcessed),
        (400, r#"{"error":"invalid_scope"}"#, TokenFate::Unknown),
        (403, r#"{"error":"access_denied"}"#, TokenFate::Unknown),
        (404, "not here", TokenFate::Unknown),
        (400, r#"{"error":"server_error"}"#, TokenFate::Unknown),
        (401, "", TokenFate::Unknown),
        (403, "<html>blocked</html>", TokenFate::Unknown),
        (200, "<html>sign in</html>", TokenFate::Unknown),
        (302, "", TokenFate::Unknown),
        (408, "", TokenFate::Unknown),
        (500, r#"{"error":"invalid_client"}"#, TokenFate::Unknown),
        (502, "", TokenFate::Unknown),
        (504, "", TokenFate::Unknown),
    ] {
        server.answer("/token", status, body);
        assert_eq!(fate(&testing::config(&server.base)).await, expected, "{status} {body}");
    }
}
