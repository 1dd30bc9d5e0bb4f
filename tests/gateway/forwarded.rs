//! `X-Forwarded-*` and `Forwarded`: regenerated, and believed from trusted proxies only.

use crate::support::client::raw;
use crate::support::{Browser, Request, World};

fn dressed_up(path: &str) -> Request {
    Request::get(path)
        .header("X-Forwarded-For", "203.0.113.9")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "evil.example")
        .header("X-Forwarded-Port", "444")
        .header("X-Forwarded-Prefix", "/evil")
        .header("X_Forwarded_For", "203.0.113.10")
        .header("X-Real-IP", "203.0.113.11")
        .header("Forwarded", "for=203.0.113.12;host=evil.example;proto=https")
        .header("X-Original-URL", "/api/admin/users")
        .header("X-Forwarded-Uri", "/open/page")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_say_where_the_request_came_from() {
    let world = World::start().await;
    let mut browser = world.browser();
    browser.host = "Store.LOCALHOST:8080".into();
    let answer = browser.get("/open/page").await;
    answer.assert_status(200);
    assert_eq!(answer.seen_by_app("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(answer.seen_by_app("x-forwarded-proto").as_deref(), Some("http"));
    assert!(answer.seen_by_app("x-forwarded-host").unwrap().eq_ignore_ascii_case("store.localhost:8080"));
    let forwarded = answer.seen_by_app("forwarded").expect("RFC 7239").to_ascii_lowercase();
    assert!(forwarded.contains("for=127.0.0.1") && forwarded.contains("proto=http"), "{forwarded}");
    assert!(forwarded.contains("host=\"store.localhost:8080\""), "{forwarded}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_untrusted_peers_are_replaced_never_merged() {
    let world = World::start().await;
    let answer = world.browser().send(dressed_up("/open/page")).await;
    answer.assert_status(200);
    assert_eq!(answer.seen_by_app("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(answer.seen_by_app("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(answer.seen_by_app("x-forwarded-host").as_deref(), Some("store.localhost"));
    assert!(!answer.seen_by_app("forwarded").unwrap().contains("203.0.113"));
    for name in ["x_forwarded_for", "x-forwarded-port", "x-forwarded-prefix", "x-real-ip"] {
        let value = answer.seen_by_app(name).unwrap_or_default();
        assert!(!value.contains("203.0.113") && !value.contains("evil") && value != "444", "{name}: {value}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_untrusted_peers_never_decide_on_app_or_route() {
    let world = World::start().await;
    let mut browser = world.browser();
    let answer = browser.send(dressed_up("/api/cart")).await;
    answer.assert_problem(401, "not_logged_in");
    let mut other = Browser::new(world.gateway.address, "unknown.localhost");
    let request = Request::get("/").header("X-Forwarded-Host", "store.localhost");
    other.send(request).await.assert_problem(404, "unknown_host");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxys_are_believed_and_the_client_is_the_rightmost_untrusted_hop() {
    let world = World::with("[server]\ntrusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]").await;
    let request = Request::get("/open/page")
        .header("X-Forwarded-For", "198.51.100.66, 203.0.113.9, 10.1.2.3")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "store.localhost");
    let answer = world.browser().send(request).await;
    answer.assert_status(200);
    let chain = answer.seen_by_app("x-forwarded-for").expect("a chain");
    let trusted = |hop: &str| hop.starts_with("10.") || hop.starts_with("127.");
    let client = chain.split(',').map(str::trim).rev().find(|hop| !trusted(hop));
    assert_eq!(client, Some("203.0.113.9"), "{chain}");
    assert_eq!(answer.seen_by_app("x-forwarded-proto").as_deref(), Some("https"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stranger_wrote_left_of_it_does_not_change_what_the_proxy_says() {
    let world = World::with("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]").await;
    for junk in [&b"\xff"[..], b"\x80\xc3(", b"", b"\"", b"<script>", b"203.0.113.5 203.0.113.6", b"[::1"] {
        for (name, said, other) in [
            ("X-Forwarded-For", "203.0.113.5", ("x-forwarded-for", "203.0.113.5, 127.0.0.1")),
            ("X-Forwarded-For", "203.0.113.5:4711", ("x-forwarded-for", "203.0.113.5, 127.0.0.1")),
            ("X-Forwarded-For", "[2001:db8::5]:4711", ("x-forwarded-for", "2001:db8::5, 127.0.0.1")),
            ("X-Forwarded-For", "fe80::5%eth0", ("x-forwarded-for", "fe80::5, 127.0.0.1")),
            ("X-Forwarded-For", "[fe80::5%25eth0]:4711", ("x-forwarded-for", "fe80::5, 127.0.0.1")),
            ("Forwarded", "for=203.0.113.5", ("x-forwarded-for", "203.0.113.5, 127.0.0.1")),
            ("Forwarded", "for=\"[fe80::5%2]:_x\"", ("x-forwarded-for", "fe80::5, 127.0.0.1")),
            ("X-Forwarded-Proto", "https", ("x-forwarded-proto", "https")),
        ] {
            for separator in [&b", "[..], b",,", b"\r\n"] {
                let again = if separator == b"\r\n" { format!("{name}: ") } else { String::new() };
                let head = format!("GET /open/page HTTP/1.1\r\nHost: store.localhost\r\n{name}: ");
                let end = format!("{again}{said}\r\n\r\n");
                let bytes = [head.as_bytes(), junk, separator, end.as_bytes()].concat();
                let (answer, _) = raw(world.gateway.address, bytes).await;
                let seen = answer.expect("an answer").seen_by_app(other.0);
                assert_eq!(seen.as_deref(), Some(other.1), "{name}: {}", junk.escape_ascii());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_names_a_host_of_the_app_or_none() {
    let extra = "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n[apps.store]\nhosts = [\"store.localhost\", \"shop.localhost\"]";
    let world = World::with(extra).await;
    for (claimed, expected) in [
        ("shop.localhost", "shop.localhost"),
        ("SHOP.localhost:8443", "SHOP.localhost:8443"),
        ("evil.example, shop.localhost", "shop.localhost"),
        ("evil.example", "store.localhost"),
        ("shop.localhost, evil.example", "store.localhost"),
        // Of another app.
        ("forums.localhost", "store.localhost"),
        ("shop.localhost@evil.example", "store.localhost"),
        ("shop.localhost:80@evil.example", "store.localhost"),
        ("", "store.localhost"),
    ] {
        let answer =
            world.browser().send(Request::get("/open/page").header("X-Forwarded-Host", claimed)).await;
        answer.assert_status(200);
        assert_eq!(answer.seen_by_app("x-forwarded-host").as_deref(), Some(expected), "{claimed}");
        let forwarded = answer.seen_by_app("forwarded").expect("RFC 7239");
        assert!(forwarded.contains(&format!("host=\"{expected}\"")), "{forwarded}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_from_a_trusted_proxy_does_no_harm() {
    let world = World::with("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]").await;
    for (name, value) in [
        ("X-Forwarded-For", ""),
        ("X-Forwarded-For", ",,,"),
        ("X-Forwarded-For", "unknown, _hidden, \"[::1"),
        ("X-Forwarded-For", "203.0.113.9:4711"),
        ("X-Forwarded-Proto", "javascript"),
        ("Forwarded", "for=\"_x;proto=,,;"),
        ("Forwarded", "for=\"[2001:db8::1]:443\""),
    ] {
        let answer = world.browser().send(Request::get("/open/page").header(name, value)).await;
        assert!(matches!(answer.status(), 200 | 400), "{name}: {value}: {}", answer.text());
        if answer.status() == 200 {
            let proto = answer.seen_by_app("x-forwarded-proto");
            assert!(matches!(proto.as_deref(), Some("http" | "https")), "{proto:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_proxy_may_say_is_taken_from_a_trusted_one_only() {
    let strangers = World::start().await;
    let trusting = World::with("[server]\ntrusted_proxies = [\"127.0.0.1/32\"]").await;
    for (name, from_a_proxy) in [
        ("Forwarded-For", false),
        ("Proxy", false),
        ("X_Forwarded", false),
        ("X-Host", false),
        ("X-HTTP-Host-Override", false),
        ("X-Original-Host", false),
        ("X_Original_Method", false),
        ("X-Original-URI", false),
        ("X-Original-URL", false),
        ("X-Real-IP", false),
        ("X-Rewrite-URL", false),
        ("Content_Length", false),
        ("Transfer.Encoding", false),
        ("CF-Connecting-IP", true),
        ("Client_IP", true),
        ("True-Client-IP", true),
        ("X-Client-IP", true),
        ("X-Url-Scheme", true),
    ] {
        for (world, may_pass) in [(&strangers, false), (&trusting, from_a_proxy)] {
            world.browser().send(Request::get("/open/page").header(name, "7")).await.assert_status(200);
            assert_eq!(world.store.last("/open/page").head.get(name).is_some(), may_pass, "{name}");
        }
    }
}
