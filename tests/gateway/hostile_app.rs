//! Responses of an app that attack: the session's cookies, other protocols, framing, other people's responses.

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Reply, Request, World};

const OK: &str = "HTTP/1.1 200 OK\r\n";
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON";

/// Asks for what the app answers oddly, then sees that the next ones get their own answers.
async fn assert_nobody_else_is_hit(world: &World, what: &str) {
    for number in 0..3 {
        let target = format!("/open/next?{number}");
        let answer = world.browser().get(&target).await;
        assert_eq!(answer.status(), 200, "{what}: {}", answer.text());
        assert_eq!(answer.json()["target"], target, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_hints_cannot_set_the_session_s_cookies_either() {
    let world = World::start().await;
    let hints = format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nSet-Cookie: {ACCESS}=forged; Secure; Path=/\r\n\
         Set-Cookie: {REFRESH}.1=forged\r\nSet-Cookie: a=1\r\n\r\n{OK}Content-Length: 2\r\n\r\nok"
    );
    world.store.on("/open/hints", Reply::Raw(hints.into_bytes()));
    let answer = world.browser().get("/open/hints").await;
    answer.assert_status(200);
    let interim = answer.interim.first().expect("the hints come through");
    assert_eq!(interim.get("link"), Some("</a>; rel=preload"));
    assert_eq!(interim.all("set-cookie"), ["a=1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_protocol_that_was_asked_for_is_switched_to() {
    let world = World::start().await;
    let handshake = Request::get("/open/switch")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    for upgrade in
        ["Upgrade: h2c\r\n", "", "Upgrade: websocket\r\nUpgrade: h2c\r\n", "Upgrade: websocket, h2c\r\n"]
    {
        let head = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{upgrade}\r\nRAW");
        world.store.on("/open/switch", Reply::Raw(head.into_bytes()));
        for request in [handshake.clone(), Request::get("/open/switch")] {
            let answer = world.browser().send(request).await;
            answer.assert_problem(502, "upstream_unavailable");
        }
    }
    assert_nobody_else_is_hit(&world, "an unasked switch").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn framing_with_two_readings_is_502() {
    let world = World::start().await;
    for (what, headers, body) in [
        ("two lengths", "Content-Length: 2\r\nContent-Length: 3\r\n", "ok!"),
        ("a list of lengths", "Content-Length: 2, 3\r\n", "ok!"),
        ("a signed length", "Content-Length: +2\r\n", "ok"),
        ("a negative length", "Content-Length: -2\r\n", "ok"),
        ("a length beyond 64 bits", "Content-Length: 18446744073709551618\r\n", "ok"),
        ("a length in hex", "Content-Length: 0x2\r\n", "ok"),
        ("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n", "2\r\nok\r\n0\r\n\r\n"),
        (
            "chunked twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "2\r\nok\r\n0\r\n\r\n",
        ),
        ("an unknown coding", "Transfer-Encoding: x\r\n", "ok"),
        ("both", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "3\r\nok!\r\n0\r\n\r\n"),
        ("CR in a value", "Content-Length: 2\r\nX-A: a\rSet-Cookie: b=c\r\n", "ok"),
        ("NUL in a value", "Content-Length: 2\r\nX-A: a\0b\r\n", "ok"),
    ] {
        world.store.on("/open/odd", Reply::RawThenClose(format!("{OK}{headers}\r\n{body}").into_bytes()));
        let answer = world.browser().get("/open/odd").await;
        assert_eq!(answer.status(), 502, "{what}: {} {}", answer.head.first_line, answer.text());
        answer.assert_problem(502, "upstream_unavailable");
        assert_nobody_else_is_hit(&world, what).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_a_response_is_nobody_s() {
    let world = World::start().await;
    for (what, method, response) in [
        ("after a length", "GET", format!("{OK}Content-Length: 2\r\n\r\nok{POISON}")),
        ("after no length", "GET", format!("{OK}Content-Length: 0\r\n\r\n{POISON}")),
        (
            "after chunks",
            "GET",
            format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{POISON}"),
        ),
        ("after 204", "GET", format!("HTTP/1.1 204 No Content\r\n\r\n{POISON}")),
        ("after 304", "GET", format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n{POISON}")),
        ("a body for HEAD", "HEAD", format!("{OK}Content-Length: 2\r\n\r\nok{POISON}")),
    ] {
        world.store.on("/open/odd", Reply::Raw(response.into_bytes()));
        let mut browser = world.browser();
        let answer = browser.send(Request::new(method, "/open/odd")).await;
        assert!(!answer.text().contains("POISON"), "{what}: {}", answer.text());
        let answer = browser.get("/open/same-connection").await;
        assert_eq!(answer.json()["target"], "/open/same-connection", "{what}");
        assert_nobody_else_is_hit(&world, what).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_interim_responses_ends_with_the_response_time_out() {
    let world = World::with("[apps.store.timeouts]\nresponse = \"1s\"").await;
    let flood = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(20_000);
    world.store.on("/open/flood", Reply::Raw(flood.clone().into_bytes()));
    world.browser().get("/open/flood").await.assert_problem(504, "upstream_timeout");
    // One that ends in an answer takes a slow machine longer.
    let world = World::start().await;
    world.store.on("/open/flood", Reply::Raw(format!("{flood}{OK}Content-Length: 2\r\n\r\nok").into_bytes()));
    world.browser().get("/open/flood").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_without_end_are_502() {
    let world = World::start().await;
    let big = format!("X-Big: {}\r\n", "b".repeat(4 << 20));
    let many = (0..5000).map(|number| format!("X-{number}: 1\r\n")).collect::<Vec<_>>().concat();
    for headers in [big, many] {
        world.store.on("/open/head", Reply::RawThenClose(format!("{OK}{headers}\r\n").into_bytes()));
        world.browser().get("/open/head").await.assert_problem(502, "upstream_unavailable");
    }
}
