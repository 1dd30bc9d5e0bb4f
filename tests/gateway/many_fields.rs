//! The number of header fields that an app's answer and a client's request may have, over both protocols.

use http::{HeaderName, HeaderValue};

use crate::support::client::receive;
use crate::support::http2::{Call, Http2App, response};
use crate::support::http2_client::answer;
use crate::support::program::Program;
use crate::support::wire::Wire;
use crate::support::{Browser, Http2Client, Reply, Request, World, patiently, store_at, wait_for};

/// So many lines.
fn lines(count: usize) -> String {
    let lines: Vec<_> = (0..count).map(|number| format!("X-Field-{number}: {number}\r\n")).collect();
    lines.concat()
}

/// An answer with so many fields in all.
fn head_of(count: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{}\r\n", lines(count - 1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_http_1_1_may_have_256_and_the_log_names_the_limit() {
    let (program, builder) = Program::start_quietly(World::builder().await).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    for count in [1, 100, 200, 255, 256] {
        builder.store.on("/open/x", Reply::Raw(format!("{}ok", head_of(count)).into_bytes()));
        let answer = browser.get("/open/x").await;
        answer.assert_status(200);
        let arrived =
            answer.head.headers.iter().filter(|(name, _)| name.to_lowercase().starts_with("x-field-"));
        assert_eq!(arrived.count(), count - 1);
    }
    assert!(!std::fs::read_to_string(program.file("log")).unwrap().contains("256 header fields"));
    for count in [257, 300, 5000] {
        builder.store.on("/open/x", Reply::Raw(format!("{}ok", head_of(count)).into_bytes()));
        browser.get("/open/x").await.assert_problem(502, "upstream_unavailable");
    }
    // Before an answer that would do.
    let interim = format!("HTTP/1.1 103 Early Hints\r\n{}\r\n{}ok", lines(257), head_of(2));
    builder.store.on("/open/x", Reply::Raw(interim.into_bytes()));
    browser.get("/open/x").await.assert_problem(502, "upstream_unavailable");
    // In small pieces, so that the count goes over several reads, and without an end.
    builder.store.on("/open/x", Reply::Raw(format!("HTTP/1.1 200 OK\r\n{}", lines(1000)).into_bytes()));
    browser.get("/open/x").await.assert_problem(502, "upstream_unavailable");
    wait_for("each in the log", || {
        let log = std::fs::read_to_string(program.file("log")).unwrap();
        let is_named =
            |line: &&str| line.contains("request failed") && line.contains("more than 256 header fields");
        log.lines().filter(is_named).count() == 5
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_http_2_may_have_more() {
    let app = Http2App::start(async |mut call: Call| {
        let count: usize = call.head.uri.path().rsplit('/').next().unwrap().parse().unwrap();
        let mut head = response(200);
        for number in 0..count {
            let name = HeaderName::from_bytes(format!("x-field-{number}").as_bytes()).unwrap();
            head.headers_mut().insert(name, HeaderValue::from(number));
        }
        drop(call.respond.send_response(head, true));
    })
    .await;
    let (authority, world) = World::over_tls(&store_at(&app.url())).await;
    let mut client = Http2Client::start(&authority, &world).await;
    for count in [256, 257, 300, 1000, 4000] {
        let path = format!("/open/{count}");
        let mut browser = world.browser();
        let seen = browser.get(&path).await;
        seen.assert_status(200);
        let arrived =
            seen.head.headers.iter().filter(|(name, _)| name.to_lowercase().starts_with("x-field-"));
        assert_eq!(arrived.count(), count);
        let request = client.request("GET", &path).body(()).unwrap();
        let (response, _) = client.requests.send_request(request, true).unwrap();
        let seen = answer(response).await.unwrap();
        let arrived = seen.head.headers.keys().filter(|name| name.as_str().starts_with("x-field-"));
        assert_eq!((seen.status(), arrived.count()), (200, count));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_may_have_100_and_more_are_told_so() {
    let (authority, world) = World::over_tls("").await;
    // With `Host`.
    for (count, status) in [(99, 200), (100, 431), (300, 431)] {
        let mut wire = Wire::new(tokio::net::TcpStream::connect(world.gateway.address).await.unwrap());
        let head = format!("GET /open/x HTTP/1.1\r\nHost: store.localhost\r\n{}\r\n", lines(count));
        wire.send(head).await.unwrap();
        let seen = patiently("an answer", receive(&mut wire, "GET", 1 << 20)).await.unwrap();
        seen.assert_status(status);
        if status == 431 {
            assert!(seen.text().contains("100 header fields"), "{}", seen.text());
        }
        let mut client = Http2Client::start(&authority, &world).await;
        let mut request = client.request("GET", "/open/x");
        for number in 0..count {
            request = request.header(format!("x-field-{number}"), number);
        }
        let (response, _) = client.requests.send_request(request.body(()).unwrap(), true).unwrap();
        let seen = answer(response).await.unwrap();
        assert_eq!(seen.status(), status);
        if status == 431 {
            let text = String::from_utf8(seen.body.unwrap()).unwrap();
            assert!(text.contains("100 header fields"), "{text}");
        }
    }
    // Over the size, the other limit is named.
    let large = Request::get("/open/x").header("X-Large", &"x".repeat(40_000));
    let seen = world.browser().send(large).await;
    seen.assert_problem(431, "header_too_large");
    assert!(seen.text().contains("max_header_size"), "{}", seen.text());
}
