//! Apps that speak HTTP/2: what they receive, and how they are chosen and checked.

use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::support::certificates::{Authority, terminator, terminator_for};
use crate::support::client::raw;
use crate::support::http2::{Call, Http2App, echo, read, response};
use crate::support::{App, Reply, Request, World, patiently, store_at};

pub(crate) async fn world(app: &Http2App, more: &str) -> World {
    World::with(&(store_at(&app.url()) + more)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_http_1_1_arrives_as_what_was_decided_about() {
    let app = Http2App::start(echo).await;
    let world = world(&app, "").await;
    let mut browser = world.logged_in("ada").await;
    browser.jar.insert("theme".into(), "dark".into());
    let target = "/api/a%20b/~x?page=2&to=https://a/../b;c=%2F%zz&d='!*";
    let request = Request::get(target)
        .header("Host", "Store.localhost:8080")
        .header("Connection", "X-Once, keep-alive")
        .header("X-Once", "1")
        .header("Keep-Alive", "timeout=5")
        .header("TE", "trailers, deflate")
        .header("X-Auth-User", "mallory")
        .header("X_Auth_User", "mallory")
        .header("X-Mixed-Case", "Kept");
    let answer = browser.send(request).await;
    answer.assert_status(200);
    let echo = answer.json();
    assert_eq!(
        (echo["target"].as_str(), echo["authority"].as_str()),
        (Some(target), Some("Store.localhost:8080"))
    );
    let seen = app.last();
    assert_eq!(seen.get("x-auth-user"), Some("id-of-ada"));
    assert_eq!((seen.get("cookie"), seen.get("x-mixed-case")), (Some("theme=dark"), Some("Kept")));
    assert_eq!(seen.get("x-forwarded-host"), Some("Store.localhost:8080"));
    for gone in ["host", "connection", "x-once", "keep-alive", "te", "x_auth_user", "transfer-encoding"] {
        assert_eq!(seen.get(gone), None, "{gone}");
    }
    assert!(seen.uri.starts_with("http://"), "the scheme is that of the connection: {}", seen.uri);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_framed_anew() {
    let app = Http2App::start(async |mut call: Call| match call.head.uri.path() {
        "/open/204" => drop(call.respond.send_response(response(204), true)),
        "/open/304" => {
            let mut response = response(304);
            response.headers_mut().insert("content-length", 12.into());
            drop(call.respond.send_response(response, true));
        }
        "/open/unsized" => {
            let mut stream = call.respond.send_response(response(200), false).unwrap();
            stream.send_data(Bytes::from_static(b"one "), false).unwrap();
            stream.send_data(Bytes::from_static(b"two"), true).unwrap();
        }
        "/open/trailers" => {
            let mut stream = call.respond.send_response(response(200), false).unwrap();
            stream.send_data(Bytes::from_static(b"body"), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-sum", "1".parse().unwrap());
            stream.send_trailers(trailers).unwrap();
        }
        _ => echo(call).await,
    })
    .await;
    let world = world(&app, "").await;
    let mut browser = world.browser();
    let with_trailers = browser.get("/open/trailers").await;
    assert_eq!((with_trailers.text().as_str(), with_trailers.trailers), ("body", Vec::new()));
    browser.get("/open/204").await.assert_status(204);
    browser.get("/open/304").await.assert_status(304);
    let head = browser.send(Request::new("HEAD", "/open/page")).await;
    assert_eq!((head.status(), head.body.len()), (200, 0));
    let unsized_answer = browser.get("/open/unsized").await;
    assert_eq!(unsized_answer.text(), "one two");
    assert_eq!(unsized_answer.header("transfer-encoding"), Some("chunked"));
    let upload = "x".repeat(300_000);
    let answer = browser.send(Request::post("/open/page").body("text/plain", &upload)).await;
    assert_eq!(answer.json()["length"], 300_000);
    assert_eq!(app.last().get("content-length"), Some("300000"));
    assert_eq!(browser.connections, 1, "all on one connection");
    let old = "GET /open/unsized HTTP/1.0\r\nHost: store.localhost\r\nConnection: keep-alive, X-Once\r\nX-Once: 1\r\n\r\n";
    let (answer, closed) = raw(world.gateway.address, old).await;
    let answer = answer.expect("an answer");
    assert_eq!((answer.text().as_str(), answer.header("transfer-encoding"), closed), ("one two", None, true));
    assert_eq!((app.last().get("x-once"), app.last().get("connection")), (None, None));
    let old = "POST /open/page HTTP/1.0\r\nHost: store.localhost\r\nContent-Length: 3\r\n\r\nabc";
    let (answer, _) = raw(world.gateway.address, old).await;
    assert_eq!(answer.expect("an answer").json()["body"], "abc");
    let chunked = "POST /open/page HTTP/1.1\r\nHost: store.localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Auth-User\r\n\r\n\
                   3\r\nabc\r\n0\r\nX-Auth-User: mallory\r\n\r\n";
    let (answer, _) = raw(world.gateway.address, chunked).await;
    assert_eq!(answer.expect("an answer").json()["body"], "abc");
    let seen = app.last();
    assert_eq!(
        (seen.get("transfer-encoding"), seen.get("trailer"), seen.get("x-auth-user")),
        (None, None, None)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_waits_for_100_is_told_to_go_on() {
    let app = Http2App::start(echo).await;
    let world = world(&app, "").await;
    let mut wire = world.browser().open().await;
    wire.send("POST /open/page HTTP/1.1\r\nHost: store.localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await
        .unwrap();
    let interim = patiently("100", wire.head()).await.unwrap().expect("a head");
    assert_eq!(interim.status(), 100);
    wire.send("hello").await.unwrap();
    let answer =
        patiently("an answer", crate::support::client::receive(&mut wire, "POST", 4096)).await.unwrap();
    assert_eq!((answer.status(), answer.interim.len()), (200, 0));
    assert_eq!(answer.json()["body"], "hello");
    assert_eq!(app.last().get("expect"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_goes_over_http_1_1_whatever_else_does() {
    let app = App::start("store").await;
    app.on("/open/socket", Reply::WebSocket);
    let url = app.url().replace("http://", "h2c://");
    let world = World::with(&format!("[apps.store]\nupstreams = ['{url}']\n")).await;
    let mut wire = world.browser().open().await;
    wire.send(
        "GET /open/socket HTTP/1.1\r\nHost: store.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await
    .unwrap();
    assert_eq!(patiently("101", wire.head()).await.unwrap().expect("a head").status(), 101);
    // This app speaks nothing else.
    world.browser().get("/open/page").await.assert_problem(502, "upstream_unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_the_app_chooses_and_is_verified_either_way() {
    let authority = Authority::new();
    authority.certify("app", &["store.internal"]);
    let (old, new) = (App::start("store").await, Http2App::start(echo).await);
    let (to_old, to_new) = (old.listening().address(), new.listening().address());
    let only_new = terminator_for(&authority, "app", &[b"h2"], to_new).await;
    let prefers_new = terminator_for(&authority, "app", &[b"h2", b"http/1.1"], to_new).await;
    let knows_both = terminator_for(&authority, "app", &[b"h2", b"http/1.1"], to_old).await;
    let only_old = terminator_for(&authority, "app", &[b"http/1.1"], to_old).await;
    let knows_no_alpn = terminator(&authority, "app", to_old).await;
    let ca = authority.ca();
    for (address, more, expected) in [
        (only_new, "", Some("http2")),
        (prefers_new, "", Some("http2")),
        (knows_both, "http2 = false", Some("store")),
        (only_old, "", Some("store")),
        (knows_no_alpn, "", Some("store")),
        (only_new, "http2 = false", None),
        (prefers_new, "server_name = 'forums.internal'", None),
    ] {
        let name = if more.contains("server_name") { "" } else { "server_name = 'store.internal'\n" };
        let toml = format!(
            "[apps.store]\nupstreams = ['https://{address}']\n[apps.store.upstream_tls]\nca = '{ca}'\n{name}{more}\n"
        );
        let world = World::with(&toml).await;
        let answer = world.browser().get("/open/page").await;
        match expected {
            Some(app) => assert_eq!(answer.json()["app"], app, "{more}"),
            None => answer.assert_problem(502, "upstream_unavailable"),
        }
    }
    // An app that has only just chosen HTTP/1.1 is held to its rules from the first answer on.
    let toml = format!(
        "[apps.store]\nupstreams = ['https://{only_old}']\n[apps.store.upstream_tls]\nca = '{ca}'\n\
         server_name = 'store.internal'\n"
    );
    let two_framings =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    old.on("/open/odd", Reply::Raw(two_framings.into()));
    let world = World::with(&toml).await;
    world.browser().get("/open/odd").await.assert_problem(502, "upstream_unavailable");
    let world = World::with(&toml).await;
    let upload = Request::post("/open/page").form("a=1");
    assert_eq!(world.browser().send(upload).await.json()["body"], "a=1", "it goes once, whole");
    let secure = new.seen().iter().all(|seen| seen.uri.starts_with("https://"));
    assert!(secure && new.seen().len() == 2, "{:?}", new.seen());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_checks_are_made_over_http_2_too() {
    let sick = Http2App::start(async |mut call: Call| {
        let is_check = call.head.uri.path() == "/healthy";
        let _body = read(&mut call.body).await;
        let _ = call.respond.send_response(response(if is_check { 500 } else { 200 }), true);
    })
    .await;
    let well = Http2App::start(echo).await;
    let toml = format!(
        "[apps.store]\nupstreams = ['{}', '{}']\n[apps.store.health_check]\ninterval = '200ms'\npath = '/healthy'",
        well.url(),
        sick.url()
    );
    let world = World::with(&toml).await;
    let served = |app: &Http2App| app.seen().iter().filter(|seen| seen.uri.ends_with("/open/page")).count();
    patiently("the sick one to be left alone", async {
        loop {
            let before = served(&sick);
            for _ in 0..6 {
                world.browser().get("/open/page").await.assert_status(200);
            }
            if served(&sick) == before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let checks = well.seen().into_iter().filter(|seen| seen.uri.ends_with("/healthy"));
    assert!(checks.map(|seen| seen.method).all(|method| method == Method::GET.as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_over_http_1_0_may_be_larger_than_what_the_app_takes_at_once() {
    let app = Http2App::start(async |call: Call| {
        if call.head.uri.path() == "/open/refused" {
            let mut respond = call.respond;
            let mut stream = respond.send_response(response(413), false).unwrap();
            stream.send_data(Bytes::from_static(b"no!"), true).unwrap();
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        echo(call).await;
    })
    .await;
    let world = world(&app, "").await;
    let upload = "x".repeat(3_000_000);
    for (path, status) in [("page", 200), ("refused", 413), ("refused", 413), ("refused", 413)] {
        let length = upload.len();
        let old = format!(
            "POST /open/{path} HTTP/1.0\r\nHost: store.localhost\r\nContent-Length: {length}\r\n\r\n{upload}"
        );
        let (answer, _) = raw(world.gateway.address, old).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), status, "{}", answer.text());
        if status == 200 {
            assert_eq!(answer.json()["length"], length);
        }
    }
}
