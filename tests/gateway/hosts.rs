//! Which `Host` is whose: default ports and the dot of an absolute name change nothing, on any way in.

use rustls::version::TLS13;

use crate::support::certificates::{ask, connect};
use crate::support::client::raw;
use crate::support::{Http2Client, Request, World};

/// Spellings of the store's host.
const SAME: [&str; 9] = [
    "store.localhost",
    "STORE.Localhost",
    "store.localhost:80",
    "store.localhost:443",
    "store.localhost:8080",
    "store.localhost.",
    "Store.localhost.:443",
    "store.localhost.:80",
    "store.localhost:0443",
];

/// Values that are no host, or another one.
const OTHER: [(&str, u16); 10] = [
    ("store.localhost..", 400),
    ("store.localhost..:443", 400),
    (".store.localhost", 400),
    ("store..localhost", 400),
    (".", 400),
    ("store.localhost:", 400),
    ("store.localhost:65536", 400),
    ("store.localhost:443:443", 400),
    ("x.store.localhost.", 404),
    ("localhost.", 404),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_default_port_and_a_trailing_dot_lead_to_the_same_app() {
    let world = World::with("[apps.forums]\nhosts = ['forums.localhost', '127.0.0.1', '::1']").await;
    let mut browser = world.logged_in("ada").await;
    for host in SAME {
        browser.host = host.into();
        let answer = browser.get("/api/cart").await;
        assert_eq!(answer.status(), 200, "{host}: {}", answer.text());
        assert_eq!(answer.json()["app"], "store", "{host}");
        assert_eq!(answer.seen_by_app("host").as_deref(), Some(host), "`Host` goes on as it came");
        for scheme in ["http", "https"] {
            let target = format!("GET {scheme}://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
            raw(world.gateway.address, target).await.0.expect("an answer").assert_status(200);
        }
    }
    for (host, status) in OTHER {
        let (answer, _) = raw(world.gateway.address, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.expect("an answer").status(), status, "{host}");
    }
    for host in ["127.0.0.1", "127.0.0.1:80", "127.0.0.1.:443", "[::1]", "[::1]:443", "[0:0:0:0:0:0:0:1]:80"]
    {
        let (answer, _) = raw(world.gateway.address, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let answer = answer.expect("an answer");
        assert_eq!((answer.status(), answer.json()["app"].as_str()), (200, Some("forums")), "{host}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_with_a_host_of_its_own_agrees_where_it_names_the_same() {
    let world = World::start().await;
    for (target, host, status) in [
        ("http://store.localhost:80/", "store.localhost", 200),
        ("http://store.localhost/", "store.localhost:80", 200),
        ("https://store.localhost/", "store.localhost:443", 200),
        ("https://STORE.localhost./", "store.localhost", 200),
        ("http://store.localhost:443/", "store.localhost", 400),
        ("https://store.localhost:80/", "store.localhost", 400),
        ("http://store.localhost:8080/", "store.localhost:8081", 400),
        ("http://forums.localhost/", "store.localhost", 400),
        ("http://store.localhost../", "store.localhost", 400),
        ("http:///", "store.localhost", 400),
        ("http://x@store.localhost/", "store.localhost", 400),
    ] {
        let (answer, _) =
            raw(world.gateway.address, format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.expect("an answer").status(), status, "{target} {host}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_app_s_own_origin_is_its_own_however_its_host_is_written() {
    let world = World::start().await;
    let browser = world.logged_in("ada").await;
    for (host, origin, status) in [
        ("store.localhost", "https://store.localhost", 200),
        ("store.localhost:443", "https://store.localhost", 200),
        ("store.localhost.:443", "https://store.localhost.", 200),
        ("store.localhost.", "https://store.localhost", 200),
        ("store.localhost", "https://store.localhost.", 200),
        ("store.localhost:80", "http://store.localhost", 200),
        ("store.localhost", "https://store.localhost:443", 200),
        ("store.localhost:443", "https://store.localhost:8443", 403),
        ("store.localhost:8443", "https://store.localhost", 403),
        ("store.localhost:80", "https://store.localhost", 403),
        ("store.localhost:443", "http://store.localhost", 403),
        ("store.localhost", "https://store.localhost..", 403),
        ("store.localhost", "https://store.localhost:", 403),
        ("store.localhost", "https://forums.localhost.", 403),
    ] {
        let mut tab = browser.clone();
        tab.host = host.into();
        let answer = tab.send(Request::post("/api/cart").form("a=1").header("Origin", origin)).await;
        assert_eq!(answer.status(), status, "{host} {origin}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_that_ends_tls_the_port_of_https_is_the_usual_one() {
    let world = World::with("[server]\ntrusted_proxies = ['127.0.0.0/8']").await;
    let mut browser = world.browser();
    for host in ["store.localhost:443", "store.localhost", "store.localhost.:443"] {
        browser.host = host.into();
        let login = Request::post("/api/login")
            .form("username=ada&password=correct+horse")
            .header("X-Forwarded-Proto", "https")
            .header("Origin", "https://store.localhost");
        browser.send(login).await.assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_and_http2_too() {
    let (authority, world) = World::over_tls("").await;
    for host in SAME {
        let mut client = Http2Client::start(&authority, &world).await;
        let request = client.request("GET", "/").uri(format!("https://{host}/"));
        let answer = client.send(request, None).await.unwrap();
        assert_eq!((answer.status(), answer.json()["app"].as_str()), (200, Some("store")), "{host}");
        let beside = client.request("GET", "/").header("host", host);
        let same_port = !host.ends_with(":80") && !host.ends_with(":8080");
        let status = if same_port { 200 } else { 400 };
        assert_eq!(client.send(beside, None).await.unwrap().status(), status, "beside `:authority`: {host}");
        let config = authority.client(&[&TLS13], &[b"http/1.1"]);
        let mut stream = connect(config, world.gateway.tls.unwrap(), "store.localhost").await.unwrap();
        let answer =
            ask(&mut stream, &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_https_goes_to_the_plain_name() {
    let (_authority, world) = World::over_tls("redirect_port = 8443\n").await;
    for host in SAME {
        let (answer, _) =
            raw(world.gateway.address, format!("GET /a?b HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.header("location"), Some("https://store.localhost:8443/a?b"), "{host}");
    }
}
