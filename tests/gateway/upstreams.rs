//! Several addresses of one app, and addresses that do not answer.

use std::time::Duration;

use crate::support::client::raw;
use crate::support::{App, Reply, Request, World, patiently};

async fn two_upstreams(more: &str) -> (World, App) {
    let builder = World::builder().await;
    let second = App::start("second").await;
    let toml =
        format!("[apps.store]\nupstreams = [\"{}\", \"{}\"]\n{more}", builder.store.url(), second.url());
    (builder.lay_over(&toml).start().await, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_balanced_over_all_upstreams() {
    let (world, second) = two_upstreams("").await;
    for _ in 0..20 {
        world.browser().get("/open/page").await.assert_status(200);
    }
    assert!(
        world.store.heads() >= 5 && second.heads() >= 5,
        "{} and {}",
        world.store.heads(),
        second.heads()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_over_http_1_0_are_balanced_as_well() {
    let (world, second) = two_upstreams("").await;
    for _ in 0..20 {
        let old = "GET /open/page HTTP/1.0\r\nHost: store.localhost\r\n\r\n";
        raw(world.gateway.address, old).await.0.expect("an answer").assert_status(200);
    }
    let (first, second) = (world.store.heads(), second.heads());
    assert!(first >= 5 && second >= 5, "{first} and {second}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_upstream_down_no_request_fails_not_even_a_post() {
    let (world, second) = two_upstreams("[apps.store.health_check]\ninterval = \"1h\"").await;
    second.listening().down();
    for _ in 0..10 {
        world.browser().get("/open/page").await.assert_status(200);
        let answer = world.browser().send(Request::post("/open/page").form("a=1")).await;
        assert_eq!(answer.json()["body"], "a=1");
    }
    world.store.listening().down();
    world.browser().get("/open/page").await.assert_problem(502, "upstream_unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_checks_take_an_upstream_out_and_back_in() {
    let (world, second) =
        two_upstreams("[apps.store.health_check]\ninterval = \"1s\"\npath = \"/healthy\"").await;
    second.on("/healthy", Reply::Raw(b"HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n".to_vec()));
    let served = |app: &App| app.seen().iter().filter(|seen| seen.target() == "/open/page").count();
    let unserved = async || {
        let before = served(&second);
        for _ in 0..6 {
            world.browser().get("/open/page").await.assert_status(200);
        }
        served(&second) == before
    };
    patiently("the sick one to be left alone", async {
        while !unserved().await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
    second.on("/healthy", Reply::Echo);
    patiently("the healthy one to be used again", async {
        while unserved().await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_is_down_is_502_and_one_that_comes_back_is_used_at_once() {
    let world = World::start().await;
    let mut browser = world.browser();
    world.store.listening().down();
    browser.get("/open/page").await.assert_problem(502, "upstream_unavailable");
    browser.send(Request::post("/open/page").form("a=1")).await.assert_problem(502, "upstream_unavailable");
    world.store.listening().up().await;
    browser.get("/open/page").await.assert_status(200);
    assert_eq!(browser.connections, 1, "the connection stays usable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_swallows_packets_is_502_or_504_after_the_connect_time_out() {
    // TEST-NET-1 (RFC 5737): nobody is there; some networks answer "unreachable" at once.
    let world = World::with(
        "[apps.store]\nupstreams = [\"http://192.0.2.1:80\"]\n[apps.store.timeouts]\nconnect = \"1s\"",
    )
    .await;
    let answer = world.browser().get("/open/page").await;
    match answer.status() {
        504 => answer.assert_problem(504, "upstream_timeout"),
        _ => answer.assert_problem(502, "upstream_unavailable"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_does_not_answer_in_time_is_504() {
    let world = World::with("[apps.store.timeouts]\nresponse = \"1s\"").await;
    world.store.on("/open/slow", Reply::after(8000, Reply::Echo));
    let mut browser = world.browser();
    browser.get("/open/slow").await.assert_problem(504, "upstream_timeout");
    browser.send(Request::post("/open/slow").form("a=1")).await.assert_problem(504, "upstream_timeout");
    browser.get("/open/page").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_from_the_app_is_502() {
    let world = World::start().await;
    let mut browser = world.browser();
    for rubbish in ["this is not HTTP\r\n\r\n", "HTTP/1.1 abc Huh\r\n\r\n", ""] {
        world.store.on("/open/rubbish", Reply::RawThenClose(rubbish.into()));
        let answer = browser.get("/open/rubbish").await;
        assert_eq!(answer.status(), 502, "{rubbish:?}: {}", answer.text());
        answer.assert_problem(502, "upstream_unavailable");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_apps_outage_is_not_the_others() {
    let world = World::start().await;
    world.store.listening().down();
    world.browser().get("/open/page").await.assert_status(502);
    world.forums_browser().get("/open/page").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_wants_to_close_is_let_go_after_a_502() {
    let world = World::start().await;
    world.store.listening().down();
    for request in [
        "GET /open/page HTTP/1.1\r\nHost: store.localhost\r\nConnection: close\r\n\r\n",
        "GET /open/page HTTP/1.0\r\nHost: store.localhost\r\n\r\n",
    ] {
        // Far less than the keep-alive time-out, after which every connection ends.
        let (answer, closed) = raw(world.gateway.address, request).await;
        answer.expect("an answer").assert_problem(502, "upstream_unavailable");
        assert!(closed, "{request:?}");
    }
}
