//! The gateway answers 508 to requests that come back to it, from an app or from an upstream that is no app.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::streaming::upgrade;
use crate::support::client::raw;
use crate::support::program::Program;
use crate::support::{Browser, Http2Client, Request, World};

const LOOP: &str = "CDN-Loop";

/// Makes the gateway its own store.
async fn bite_its_tail(world: &World) {
    let address = world.gateway.address;
    world.reload(&format!("[apps.store]\nupstreams = ['http://{address}']")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_is_the_gateway_s_own_listener_is_508() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    bite_its_tail(&world).await;
    for request in [
        Request::get("/open/x?y=1"),
        Request::get("/api/cart"),
        Request::post("/open/x").body("text/plain", "hello"),
        Request::new("OPTIONS", "/open/x"),
        upgrade("/open/socket"),
    ] {
        let answer = browser.send(request).await;
        answer.assert_problem(508, "loop_detected");
        assert!(answer.header("x-request-id").is_some());
    }
    let chunked = "POST /open/x HTTP/1.1\r\nHost: store.localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for request in [chunked, "GET /open/x HTTP/1.0\r\nHost: store.localhost\r\n\r\n"] {
        raw(world.gateway.address, request).await.0.expect("an answer").assert_problem(508, "loop_detected");
    }
    // What is answered here goes nowhere, and other apps are not concerned.
    browser.get("/api/user").await.assert_status(200);
    world.forums_browser().get("/open/x").await.assert_status(200);
    let metrics = world.gateway.metrics().await;
    let counted = "portcullis_decisions_total{app=\"store\",reason=\"loop_detected\"} ";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_over_tls_and_http_2() {
    let (authority, world) = World::over_tls("").await;
    let tls = world.gateway.tls.expect("TLS");
    for http2 in [true, false] {
        let upstream = format!(
            "[apps.store]\nupstreams = ['https://{tls}']\n\
             upstream_tls = {{ ca = '{}', server_name = 'store.localhost', http2 = {http2} }}",
            authority.ca()
        );
        world.reload(&upstream).await;
        world.browser().get("/open/x").await.assert_problem(508, "loop_detected");
        let mut client = Http2Client::start(&authority, &world).await;
        client.get("/open/x").await.assert_problem(508, "loop_detected");
        let upload = client.request("POST", "/open/x");
        let answer = client.send(upload, Some("hello")).await.expect("an answer");
        answer.assert_problem(508, "loop_detected");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_of_several_gateways_ends_after_one_round() {
    let (first, second, third) = (World::start().await, World::start().await, World::start().await);
    for (one, next) in [(&first, &second), (&second, &third), (&third, &first)] {
        let next = next.gateway.address;
        one.reload(&format!("[apps.store]\nupstreams = ['http://{next}']")).await;
    }
    for world in [&first, &second, &third] {
        let answer = world.browser().get("/open/x").await;
        answer.assert_status(508);
        // The body is that of the gateway which noticed it, and has its request id.
        assert_eq!(answer.json()["code"], "loop_detected", "{}", answer.text());
    }
    // A gateway behind a gateway is none.
    let store = third.store.url();
    third.reload(&format!("[apps.store]\nupstreams = ['{store}']")).await;
    let answer = first.browser().get("/open/x").await;
    answer.assert_status(200);
    let marks = answer.seen_by_app(LOOP).expect("marks");
    assert_eq!(marks.matches("portcullis; id=").count(), 3, "{marks}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_is_told_who_the_request_came_through() {
    let world = World::start().await;
    let mut browser = world.browser();
    let ours = browser.get("/open/x").await.seen_by_app(LOOP).expect("a mark");
    let id = ours.strip_prefix("portcullis; id=").expect("RFC 8586");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{ours}");
    let request = Request::get("/open/x")
        .header(LOOP, "cloudflare; loops=1")
        .header("cdn-loop", "fastly, portcullis; id=00000000000000000000000000000000")
        .header("CDN_Loop", "forged")
        .header("Connection", "cdn-loop");
    let answer = browser.send(request).await;
    let expected =
        format!("cloudflare; loops=1, fastly, portcullis; id=00000000000000000000000000000000, {ours}");
    assert_eq!(answer.seen_by_app(LOOP), Some(expected));
    assert_eq!(answer.seen_by_app("cdn_loop"), None);
    // Who has learned it has requests of their own refused.
    browser
        .send(Request::get("/open/x").header("CDN-loop", &ours))
        .await
        .assert_problem(508, "loop_detected");
    browser.get("/open/x").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_that_the_client_is_told_finds_the_reason() {
    let quiet = World::builder().await.lay_over("[server.log]\nformat = 'json'");
    let (program, builder) = Program::start_quietly(quiet).await;
    // Over something else: a configuration with its own address is refused.
    let relay = relay(program.address).await;
    let builder = builder.lay_over(&format!("[apps.store]\nupstreams = ['http://{relay}']"));
    std::fs::write(program.file("gateway.toml"), builder.text()).expect("a writable directory");
    program.signal("HUP").await;
    let mut browser = Browser::new(program.address, "store.localhost");
    program.logged(&["configuration reloaded"]).await;
    let answer = browser.get("/open/x").await;
    answer.assert_problem(508, "loop_detected");
    let id = answer.header("x-request-id").expect("an id").to_owned();
    program.logged(&["\"target\":\"access\"", &id]).await;
    let log = program.end().await;
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| line["target"] == "access" && line["request_id"] == *id);
    let line = line.unwrap_or_else(|| panic!("{id}: {log}"));
    let found = (&line["app"], &line["status"], &line["reason"]);
    assert_eq!(found, (&json!("store"), &json!(508), &json!("loop_detected")));
}

/// Passes every connection on.
async fn relay(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.expect("the gateway listens");
                // Whoever ends it.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}
