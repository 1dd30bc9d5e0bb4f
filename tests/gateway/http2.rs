//! HTTP/2 over TLS: the rules of HTTP/1.1 hold for it, and it has bounds of its own.

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use serde_json::json;

use crate::support::collector::Collector;
use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Endpoint, HOST, Http2Client, Reply, World, patiently, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_workflow_over_http_2() {
    let (authority, world) = World::over_tls("").await;
    let mut client = Http2Client::start(&authority, &world).await;
    assert_eq!(client.get("/").await.json()["app"], "store");
    client.get("/api/user").await.assert_problem(404, "not_logged_in");
    client.get("/api/cart").await.assert_problem(401, "not_logged_in");
    let wrong = client.post("/api/login", &json!({"username": "ada", "password": "wrong"})).await;
    wrong.assert_problem(401, "invalid_credentials");
    let login = client.log_in().await;
    assert_eq!((login.status(), login.json()["sub"].as_str()), (200, Some("id-of-ada")));
    assert!(client.jar.contains_key(ACCESS) && client.jar.contains_key(REFRESH));
    client.jar.insert("theme".into(), "dark".into());
    client.jar.insert("size".into(), "1".into());

    assert_eq!(client.get("/api/user").await.json()["sub"], "id-of-ada");
    assert_eq!(client.get("/api/cart?page=2").await.status(), 200);
    let seen = world.store.last("/api/cart");
    assert_eq!(seen.head.get("x-auth-user"), Some("id-of-ada"));
    assert_eq!(seen.head.get("host"), Some(HOST));
    assert_eq!(seen.head.get("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.head.get("cookie"), Some("size=1; theme=dark"));
    assert_eq!(seen.target(), "/api/cart?page=2");

    world.expire_access_tokens();
    let old = client.jar[ACCESS].clone();
    assert_eq!(client.get("/api/cart").await.status(), 200);
    assert_ne!(client.jar[ACCESS], old, "a new JWT");
    assert_eq!(world.provider.count(Endpoint::Refresh), 1);

    let upload = client.post("/api/cart", &json!({"item": "x".repeat(100_000)})).await;
    assert_eq!(upload.status(), 200);
    assert_eq!(world.store.last("/api/cart").method(), "POST");
    let head = client.send(client.request("HEAD", "/api/cart"), None).await.unwrap();
    assert_eq!((head.status(), head.body.unwrap()), (200, Vec::new()));
    assert_eq!(client.post("/api/logout", &json!({})).await.status(), 204);
    assert!(!client.jar.contains_key(ACCESS) && !client.jar.contains_key(REFRESH));
    assert!(!client.connection.is_finished(), "all on one connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_two_readings_is_refused_and_leaves_the_connection_alone() {
    let (authority, world) = World::over_tls("[server.limits]\nmax_header_size = '4KiB'\n").await;
    let mut client = Http2Client::start(&authority, &world).await;
    let heads = world.store.heads();
    for target in ["/%2e%2e/admin", "/a//b", "/a%2fb", "/a;b", "/a%00"] {
        client.get(target).await.assert_problem(400, "bad_request");
    }
    let uri = |method: &str, uri: &str| Request::builder().method(method).version(Version::HTTP_2).uri(uri);
    for (request, status, code) in [
        (uri("TRACE", "https://store.localhost/"), 405, "method_not_allowed"),
        (uri("CONNECT", "store.localhost:443"), 405, "method_not_allowed"),
        (uri("GET", "https://nobody.localhost/"), 404, "unknown_host"),
        (uri("GET", "http://store.localhost/"), 400, "bad_request"),
    ] {
        let answer = client.send(request, None).await.unwrap();
        answer.assert_problem(status, code);
        assert!(answer.head.headers.contains_key("x-request-id"));
    }
    let mut many = client.request("GET", "/");
    for number in 0..110 {
        many = many.header(format!("x{number}"), "1");
    }
    client.send(many, None).await.unwrap().assert_problem(431, "header_too_large");
    let large = client.request("GET", "/").header("x-large", "x".repeat(5000));
    client.send(large, None).await.unwrap().assert_problem(431, "header_too_large");
    for number in 0..90 {
        client.jar.insert(format!("c{number}"), "x".repeat(100));
    }
    // Cookies count however they are split.
    client.get("/").await.assert_problem(431, "header_too_large");
    client.jar.clear();
    assert_eq!(world.store.heads(), heads, "the app saw none of it");
    assert_eq!(client.get("/").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_app_and_a_slow_body_end_their_own_stream_only() {
    let (authority, world) = World::over_tls(
        "[server.limits]\nlogin_body_timeout = '300ms'\n[apps.store.timeouts]\nresponse = '400ms'\n",
    )
    .await;
    world.store.on("/open/late", Reply::after(60_000, Reply::Echo));
    let mut client = Http2Client::start(&authority, &world).await;
    client.get("/open/late").await.assert_problem(504, "upstream_timeout");
    let request = client.request("POST", "/api/login").header("content-type", "application/json");
    let (response, mut sending) = client.requests.send_request(request.body(()).unwrap(), false).unwrap();
    sending.send_data(Bytes::from_static(b"{"), false).unwrap();
    let response = patiently("408", response).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(client.get("/").await.status(), 200);
    assert!(!client.connection.is_finished());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stream_ends_with_its_session_and_the_connection_does_not() {
    let (authority, world) = World::over_tls("").await;
    let events =
        Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n".to_vec());
    world.store.on("/api/events", events);
    let mut client = Http2Client::start(&authority, &world).await;
    client.log_in().await;
    let request = client.request("GET", "/api/events").body(()).unwrap();
    let (response, _) = client.requests.send_request(request, true).unwrap();
    let mut stream = patiently("the stream", response).await.unwrap().into_body();
    assert_eq!(patiently("an event", stream.data()).await.unwrap().unwrap(), "data: 1\n\n");
    assert_eq!(client.post("/api/logout", &json!({})).await.status(), 204);
    let end = patiently("the stream's end", stream.data()).await;
    assert!(matches!(end, Some(Err(_))), "cut, not finished: {end:?}");
    assert_eq!(client.get("/").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_finishes_what_is_under_way_and_says_goodbye() {
    let (authority, world) = World::over_tls("").await;
    world.store.on("/open/slow", Reply::after(700, Reply::Echo));
    let mut busy = Http2Client::start(&authority, &world).await;
    let idle = Http2Client::start(&authority, &world).await;
    let request = busy.request("GET", "/open/slow").body(()).unwrap();
    let (response, _) = busy.requests.send_request(request, true).unwrap();
    wait_for("the request at the app", || world.store.heads() > 0).await;
    let World { gateway, provider: _provider, store: _store, .. } = world;
    gateway.stop().await;
    let mut response = patiently("the answer", response).await.expect("an answer in spite of the stop");
    assert_eq!(response.status(), 200);
    assert!(patiently("its body", response.body_mut().data()).await.is_some_and(|chunk| chunk.is_ok()));
    for client in [busy, idle] {
        drop(client.requests);
        let _closed_either_way = patiently("the connection's end", client.connection).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_has_its_own_span() {
    let collector = Collector::start().await;
    let (authority, world) = World::over_tls(&collector.toml()).await;
    let mut client = Http2Client::start(&authority, &world).await;
    for path in ["/open/a", "/open/b"] {
        assert_eq!(client.get(path).await.status(), 200);
    }
    wait_for("both spans", || collector.named("GET /open/*").len() == 2).await;
    // In whichever order they ended.
    for span in &collector.named("GET /open/*") {
        let path = span.attribute("url.path").expect("a path");
        let expected = [("network.protocol.version", "2"), ("url.scheme", "https"), ("server.address", HOST)];
        for (name, value) in expected {
            assert_eq!(span.attribute(name), Some(value), "{span:?}");
        }
        let told = world.store.last(path).head.get("traceparent").map(str::to_owned);
        assert_eq!(told, Some(collector.child(span, "client").traceparent()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_closed() {
    let (authority, world) =
        World::over_tls("[server.limits]\nkeep_alive_timeout = '300ms'\nheader_timeout = '300ms'\n").await;
    let mut used = Http2Client::start(&authority, &world).await;
    assert_eq!(used.get("/").await.status(), 200);
    let unused = Http2Client::start(&authority, &world).await;
    for client in [used, unused] {
        let Http2Client { connection, requests: _requests, .. } = client;
        let _closed_either_way = patiently("the connection's end", connection).await.unwrap();
    }
}
