//! Proxying as apps expect it: connections are kept, bodies are untouched, every kind of response passes.

use std::collections::HashSet;
use std::time::Duration;

use crate::support::client::{raw, receive};
use crate::support::{Reply, Request, World, patiently};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_kept_alive_on_both_sides() {
    let world = World::start().await;
    let mut browser = world.browser();
    for _ in 0..20 {
        browser.get("/open/page").await.assert_status(200);
    }
    assert_eq!(browser.connections, 1);
    let used: HashSet<_> = world.store.seen().iter().map(|seen| seen.connection).collect();
    // One connection for each worker at most: pools may be per thread.
    assert!(used.len() <= 2, "{used:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_connection_that_the_app_closed_meanwhile_fails_no_request() {
    let world = World::start().await;
    world
        .store
        .on("/open/last", Reply::RawThenClose(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()));
    let mut browser = world.browser();
    for _ in 0..5 {
        browser.get("/open/last").await.assert_status(200);
        tokio::time::sleep(Duration::from_millis(50)).await;
        browser.get("/open/page").await.assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn method_target_headers_and_body_arrive_as_sent() {
    let world = World::start().await;
    let request = Request::new("PATCH", "/open/x%20y?a=1&a=2&b=%2F")
        .header("X-Custom", "one")
        .header("X-Custom", "two")
        .header("Accept-Language", "rm")
        .body("application/merge-patch+json", "{\"a\":null}");
    let answer = world.browser().send(request).await;
    answer.assert_status(200);
    let echo = answer.json();
    assert_eq!(echo["method"], "PATCH");
    assert_eq!(echo["target"], "/open/x%20y?a=1&a=2&b=%2F");
    assert_eq!(echo["body"], "{\"a\":null}");
    assert_eq!(echo["headers"]["x-custom"], serde_json::json!(["one", "two"]));
    assert_eq!(answer.seen_by_app("content-type").as_deref(), Some("application/merge-patch+json"));
    assert_eq!(answer.seen_by_app("host").as_deref(), Some("store.localhost"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hop_by_hop_headers_end_here() {
    let world = World::start().await;
    let request = Request::get("/open/page")
        .header("Connection", "X-Hop")
        .header("X-Hop", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Authorization", "Basic eDp5")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "gzip");
    let answer = world.browser().send(request).await;
    answer.assert_status(200);
    for name in ["x-hop", "keep-alive", "proxy-connection", "proxy-authorization"] {
        assert_eq!(answer.seen_by_app(name), None, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_of_every_kind_come_through() {
    let world = World::start().await;
    let mut browser = world.browser();
    let cases: [(&str, &str, u16, &str); 8] = [
        ("/open/204", "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", 204, ""),
        ("/open/304", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", 304, ""),
        ("/open/304-length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", 304, ""),
        ("/open/empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, ""),
        (
            "/open/chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n",
            200,
            "abcdefg",
        ),
        ("/open/no-reason", "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
        (
            "/open/redirect",
            "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
            302,
            "",
        ),
        ("/open/500", "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", 500, "oops"),
    ];
    for (path, response, status, body) in cases {
        world.store.on(path, Reply::Raw(response.as_bytes().to_vec()));
        for _ in 0..2 {
            let answer = browser.get(path).await;
            assert_eq!((answer.status(), answer.text().as_str()), (status, body), "{path}");
        }
    }
    assert_eq!(browser.connections, 1);
    world.store.on(
        "/open/old",
        Reply::RawThenClose(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end".to_vec()),
    );
    world.store.on(
        "/open/until-close",
        Reply::RawThenClose(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end".to_vec()),
    );
    for path in ["/open/old", "/open/until-close"] {
        assert_eq!(browser.get(path).await.text(), "until the end", "{path}");
    }
    browser.get("/open/page").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_requests_keep_the_length_and_have_no_body() {
    let world = World::start().await;
    world.store.on("/open/head", Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n".to_vec()));
    let mut browser = world.browser();
    for _ in 0..3 {
        let answer = browser.send(Request::new("HEAD", "/open/head")).await;
        answer.assert_status(200);
        assert_eq!(answer.header("content-length"), Some("12345"));
    }
    browser.get("/open/page").await.assert_status(200);
    assert_eq!(browser.connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_trailers_are_dropped_and_not_announced() {
    let world = World::start().await;
    let head = "POST /open/upload HTTP/1.1\r\nHost: store.localhost\r\nTE: trailers\r\nTrailer: X-Checksum\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (answer, _) =
        raw(world.gateway.address, format!("{head}5\r\nhello\r\n0\r\nX-Checksum: abc\r\n\r\n")).await;
    let answer = answer.expect("an answer");
    answer.assert_status(200);
    assert_eq!(answer.json()["body"], "hello");
    assert_eq!(answer.json()["trailers"], serde_json::json!([]));
    assert!(!answer.text().to_ascii_lowercase().contains("x-checksum"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn response_trailers_are_dropped_and_not_announced() {
    let world = World::start().await;
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 9\r\n\r\n";
    world.store.on("/open/download", Reply::Raw(response.as_bytes().to_vec()));
    let mut browser = world.browser();
    for _ in 0..2 {
        let downloaded = browser.send(Request::get("/open/download").header("TE", "trailers")).await;
        assert_eq!(downloaded.text(), "ok");
        assert!(downloaded.trailers.is_empty());
        assert_eq!(downloaded.header("trailer"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_hints_come_before_the_response() {
    let world = World::start().await;
    let response = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    world.store.on("/open/hinted", Reply::Raw(response.as_bytes().to_vec()));
    let mut browser = world.browser();
    let answer = browser.get("/open/hinted").await;
    assert_eq!(answer.text(), "ok");
    assert_eq!(answer.interim.len(), 1);
    assert_eq!(answer.interim[0].status(), 103);
    assert_eq!(answer.interim[0].get("link"), Some("</a.css>; rel=preload"));
    browser.get("/open/page").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_with_expect_100_continue_works_and_can_be_refused_by_the_app() {
    let world = World::start().await;
    let mut wire = world.browser().open().await;
    let head = "POST /open/upload HTTP/1.1\r\nHost: store.localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    wire.send(head).await.unwrap();
    let interim = patiently("100 Continue", wire.head()).await.unwrap().expect("a head");
    assert_eq!(interim.status(), 100);
    wire.send("hello").await.unwrap();
    let answer = patiently("the answer", receive(&mut wire, "POST", 1 << 16)).await.expect("an answer");
    assert_eq!(answer.json()["body"], "hello");

    let mut wire = world.browser().open().await;
    wire.send(head.replace("/open/upload", "/api/upload")).await.unwrap();
    let answer = patiently("the refusal", receive(&mut wire, "POST", 1 << 16)).await.expect("an answer");
    answer.assert_problem(401, "not_logged_in");
    assert!(answer.interim.is_empty(), "no body is asked for in vain");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_error_of_the_app_reaches_a_client_that_still_uploads() {
    let world = World::start().await;
    world.store.on("/open/upload", Reply::RefuseUpload);
    let mut wire = world.browser().open().await;
    let head = "POST /open/upload HTTP/1.1\r\nHost: store.localhost\r\nContent-Length: 100000\r\n\r\n";
    wire.send(head.to_owned() + &"x".repeat(1000)).await.unwrap();
    let answer = patiently("the app's 413", receive(&mut wire, "POST", 1 << 16)).await.expect("an answer");
    assert_eq!((answer.status(), answer.text().as_str()), (413, "no!"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_breaks_off_is_not_passed_off_as_complete() {
    let world = World::start().await;
    let cases = [
        ("/open/length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
        ("/open/chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
    ];
    for (path, response) in cases {
        for reply in [Reply::RawThenReset(response.into()), Reply::RawThenClose(response.into())] {
            world.store.on(path, reply);
            let mut wire = world.browser().open().await;
            wire.send(format!("GET {path} HTTP/1.1\r\nHost: store.localhost\r\n\r\n")).await.unwrap();
            let head = patiently("the head", wire.head()).await.unwrap().expect("a head");
            assert_eq!(head.status(), 200);
            let framing = head.response_framing("GET");
            let body = patiently("the broken body", wire.body(framing, 1 << 16)).await;
            assert!(body.is_err(), "{path}: {body:?}");
        }
    }
    world.store.on("/open/nothing", Reply::RawThenReset(Vec::new()));
    let request = Request::post("/open/nothing").form("a=1");
    world.browser().send(request).await.assert_problem(502, "upstream_unavailable");
    let posts = world.store.seen().iter().filter(|seen| seen.target() == "/open/nothing").count();
    assert_eq!(posts, 1, "a POST that may have taken effect is not repeated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_ends_the_upstream_request() {
    let world = World::start().await;
    world.store.on("/open/endless", Reply::Download { length: u64::MAX, chunked: true });
    let mut wire = world.browser().open().await;
    wire.send("GET /open/endless HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
    patiently("the head", wire.head()).await.unwrap().expect("a head");
    drop(wire);
    world.browser().get("/open/page").await.assert_status(200);
}
