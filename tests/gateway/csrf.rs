//! State-changing and WebSocket requests from other origins are refused.

use serde_json::json;

use crate::support::{Answer, Browser, Endpoint, Request, World};

fn login() -> Request {
    Request::post("/api/login").json(&json!({"username": "ada", "password": "correct horse"}))
}

async fn post(browser: &Browser, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = if path == "/api/login" { login() } else { Request::post(path).form("a=1") };
    for (name, value) in headers {
        request = request.header(name, value);
    }
    browser.clone().send(request).await
}

const FOREIGN: [&[(&str, &str)]; 18] = [
    &[("Origin", "https://evil.example")],
    &[("Origin", "http://evil.store.localhost")],
    &[("Origin", "http://store.localhost.evil.example")],
    &[("Origin", "http://store.localhost:81")],
    &[("Origin", "null")],
    &[("Origin", "")],
    &[("Origin", "store.localhost")],
    &[("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "same-site")],
    &[("Origin", "http://store.localhost"), ("Origin", "https://evil.example")],
    &[("Origin", "http://store.localhost, https://evil.example")],
    &[("Origin", "http://store.localhost/")],
    &[("Origin", "http://x@store.localhost")],
    &[("Origin", "ftp://store.localhost")],
    &[("Origin", "http://store.localhost"), ("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "")],
    &[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "none"), ("Origin", "null")],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cross_site_logins_logouts_and_writes_are_403() {
    let world = World::start().await;
    let browser = world.logged_in("ada").await;
    let logins = world.provider.count(Endpoint::Login);
    for headers in FOREIGN {
        for path in ["/api/login", "/api/logout", "/api/cart", "/either/cart"] {
            let answer = post(&browser, path, headers).await;
            assert!(matches!(answer.status(), 400 | 403), "{path} {headers:?}: {}", answer.text());
            if answer.status() == 403 {
                answer.assert_problem(403, "cross_site_request");
            }
            assert!(answer.set_cookies().is_empty(), "{path} {headers:?}");
        }
        let answer = post(&world.browser(), "/api/login", headers).await;
        assert!(
            matches!(answer.status(), 400 | 403),
            "a login without a session, {headers:?}: {}",
            answer.text()
        );
    }
    assert_eq!(world.provider.count(Endpoint::Login), logins);
    assert_eq!(world.provider.count(Endpoint::Revoke), 0);
    assert_eq!(world.store.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_unsafe_method_counts() {
    let world = World::start().await;
    let browser = world.logged_in("ada").await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "PURGE"] {
        let request = Request::new(method, "/api/cart").header("Origin", "https://evil.example");
        browser.clone().send(request).await.assert_problem(403, "cross_site_request");
    }
    for method in ["GET", "HEAD"] {
        let request = Request::new(method, "/api/cart").header("Origin", "https://evil.example");
        browser.clone().send(request).await.assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_in_a_header_counts_as_any_method() {
    let world = World::start().await;
    let browser = world.logged_in("ada").await;
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let foreign = |method: &str| {
            Request::new(method, "/api/cart").header(name, "DELETE").header("Origin", "https://evil.example")
        };
        for method in ["GET", "HEAD", "OPTIONS"] {
            let answer = browser.clone().send(foreign(method)).await;
            assert_eq!(answer.status(), 403, "{method} {name}");
        }
        // Nor does a method that is always let through open a way for another one.
        let preflight = Request::new("OPTIONS", "/api/cart").header(name, "GET");
        world.browser().send(preflight).await.assert_problem(401, "not_logged_in");
        assert_eq!(world.store.heads(), 0);
    }
    let own = Request::get("/api/cart").header("X-HTTP-Method-Override", "GET");
    browser.clone().send(own.header("Origin", "http://store.localhost")).await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_apps_own_pages_and_clients_without_these_headers_pass() {
    let world = World::start().await;
    let browser = world.logged_in("ada").await;
    let own: [&[(&str, &str)]; 4] = [
        &[],
        &[("Origin", "http://store.localhost")],
        &[("Origin", "https://store.localhost"), ("Sec-Fetch-Site", "same-origin")],
        &[("Sec-Fetch-Site", "none")],
    ];
    for headers in own {
        assert_eq!(post(&browser, "/api/cart", headers).await.status(), 200, "{headers:?}");
        assert_eq!(post(&world.browser(), "/api/login", headers).await.status(), 200, "{headers:?}");
    }
    let mut with_port = browser.clone();
    with_port.host = "store.localhost:8080".into();
    assert_eq!(
        post(&with_port, "/api/cart", &[("Origin", "http://store.localhost:8080")]).await.status(),
        200
    );
    assert_eq!(
        post(&with_port, "/api/cart", &[("Origin", "http://store.localhost:9090")]).await.status(),
        403
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_origins_can_be_allowed() {
    let world = World::with("[apps.store]\nallowed_origins = [\"https://admin.example.com\"]").await;
    let browser = world.logged_in("ada").await;
    let allowed = [("Origin", "https://admin.example.com"), ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(post(&browser, "/api/cart", &allowed).await.status(), 200);
    for origin in [
        "http://admin.example.com",
        "https://admin.example.com:444",
        "https://admin.example.com.evil.example",
    ] {
        assert_eq!(post(&browser, "/api/cart", &[("Origin", origin)]).await.status(), 403, "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_session_or_on_a_public_route_writes_are_the_apps_matter() {
    let world = World::start().await;
    let foreign = [("Origin", "https://evil.example")];
    assert_eq!(post(&world.browser(), "/open/webhook", &foreign).await.status(), 200);
    assert_eq!(post(&world.browser(), "/either/webhook", &foreign).await.status(), 200);
    let browser = world.logged_in("ada").await;
    let answer = post(&browser, "/open/webhook", &foreign).await;
    answer.assert_status(200);
    assert_eq!(answer.seen_by_app("cookie"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cross_site_request_triggers_no_refresh() {
    let world = World::start().await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    post(&browser, "/api/cart", &[("Origin", "https://evil.example")])
        .await
        .assert_problem(403, "cross_site_request");
    assert_eq!(world.provider.count(Endpoint::Refresh), 0);
}

/// A page with `Referrer-Policy: no-referrer` has no `Origin` to tell, but Fetch Metadata (W3C) does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_null_origin_is_the_app_s_own_only_where_fetch_metadata_says_so() {
    let world = World::with("[apps.store]\nallowed_origins = [\"https://admin.example.com\"]").await;
    let browser = world.logged_in("ada").await;
    let sites: [&[&str]; 10] = [
        &["same-origin"],
        &[],
        &["none"],
        &["same-site"],
        &["cross-site"],
        &[""],
        &["Same-Origin"],
        &["same-origin, same-origin"],
        &["same-origin", "same-origin"],
        &["same-origin", "cross-site"],
    ];
    for (origin, own) in [
        ("null", 0..1),
        ("NULL", 0..0),
        ("https://evil.example", 0..0),
        ("http://store.localhost", 0..3),
        ("https://admin.example.com", 0..10),
    ] {
        for (index, site) in sites.iter().enumerate() {
            let mut headers = vec![("Origin", origin)];
            headers.extend(site.iter().map(|site| ("Sec-Fetch-Site", *site)));
            let expected = if own.contains(&index) { 200 } else { 403 };
            for path in ["/api/login", "/api/cart", "/either/cart"] {
                // A login with the session's cookies would end it.
                let tab = if path == "/api/login" { world.browser() } else { browser.clone() };
                let answer = post(&tab, path, &headers).await;
                assert_eq!(answer.status(), expected, "{path} {headers:?}: {}", answer.text());
            }
            for method in ["PUT", "PATCH", "DELETE"] {
                let request = Request::new(method, "/api/cart").header("Origin", origin);
                let request =
                    site.iter().fold(request, |request, site| request.header("Sec-Fetch-Site", site));
                assert_eq!(browser.clone().send(request).await.status(), expected, "{method} {headers:?}");
            }
            let socket = crate::streaming::upgrade("/api/cart").header("Origin", origin);
            let socket = site.iter().fold(socket, |request, site| request.header("Sec-Fetch-Site", site));
            assert_eq!(browser.clone().send(socket).await.status(), expected, "a WebSocket, {headers:?}");
        }
    }
    for (site, expected) in [("cross-site", 403), ("same-origin", 204)] {
        let headers = [("Origin", "null"), ("Sec-Fetch-Site", site)];
        assert_eq!(post(&browser, "/api/logout", &headers).await.status(), expected, "a logout, {site}");
    }
}
