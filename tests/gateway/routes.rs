//! Routes: public, optional and required ones, roles, and preflights.

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Endpoint, Fault, Request, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_route_names_needs_a_session() {
    let world = World::start().await;
    let mut browser = world.browser();
    for path in
        ["/api/cart", "/index.html", "/unknown", "/openx", "/OPEN/page", "/eitherx/page", "/?", "/open"]
    {
        let answer = browser.get(path).await;
        match path {
            "/?" | "/open" => answer.assert_status(200),
            _ => answer.assert_problem(401, "not_logged_in"),
        }
    }
    assert_eq!(browser.connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_ends_at_a_segment_boundary_and_the_first_match_wins() {
    let world = World::with(
        r#"
        [[apps.store.routes]]
        path = "/assets/private/*"
        access = "required"
        [[apps.store.routes]]
        path = "/assets/*"
        access = "public"
        [[apps.store.routes]]
        path = "/exact"
        access = "public"
        "#,
    )
    .await;
    let mut browser = world.browser();
    for (path, status) in [
        ("/assets/app.js", 200),
        ("/assets/app.js?v=/assets/private/", 200),
        ("/assets/", 200),
        ("/assets", 200),
        ("/assets/%61pp.js", 200),
        ("/assets/private/x", 401),
        ("/assets/private", 401),
        ("/assets/PRIVATE/x", 401),
        ("/assets/%70rivate/x", 401),
        ("/assetsx/app.js", 401),
        ("/exact", 200),
        ("/exact/", 401),
        ("/exact/more", 401),
        ("/", 401),
    ] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status(), status, "{path}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_decide_on_routes_that_ask_for_them() {
    let world = World::start().await;
    world.browser().get("/api/admin/users").await.assert_problem(401, "not_logged_in");
    let mut ada = world.logged_in("ada").await;
    ada.get("/api/admin/users").await.assert_problem(403, "forbidden");
    ada.get("/API/Admin/users").await.assert_problem(403, "forbidden");
    ada.get("/api/%61dmin/users").await.assert_problem(403, "forbidden");
    ada.get("/api/administration").await.assert_status(200);
    assert_eq!(world.store.heads(), 1);
    let mut root = world.logged_in("root").await;
    root.get("/api/admin/users").await.assert_status(200);
    assert!(!root.jar.is_empty() && ada.jar.len() == 2, "403 ends no session");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_route_does_not_look_at_the_session() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.end_all_sessions();
    let answer = browser.get("/open/page").await;
    answer.assert_status(200);
    assert!(answer.set_cookies().is_empty());
    assert_eq!(answer.seen_by_app("x-auth-user"), None);
    assert_eq!(answer.seen_by_app("cookie"), None);
    assert_eq!(world.provider.count(Endpoint::Refresh), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_optional_route_adds_the_identity_where_there_is_a_session() {
    let world = World::start().await;
    let answer = world.browser().get("/either/page").await;
    answer.assert_status(200);
    assert_eq!(answer.seen_by_app("x-auth-user"), None);

    let mut browser = world.logged_in("ada").await;
    assert_eq!(browser.get("/either/page").await.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));

    world.expire_access_tokens();
    let answer = browser.get("/either/page").await;
    assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
    assert_eq!(answer.set_cookies().len(), 2, "refreshed");

    world.expire_access_tokens();
    world.provider.fail(Endpoint::Refresh, Fault::status(500, "{}"));
    browser.get("/either/page").await.assert_problem(503, "identity_provider_unavailable");
    world.provider.recover();

    world.provider.end_all_sessions();
    let answer = browser.get("/either/page").await;
    answer.assert_status(200);
    assert_eq!(answer.seen_by_app("x-auth-user"), None, "anonymous");
    for name in [ACCESS, REFRESH] {
        assert!(answer.set_cookie(name).is_some_and(|cookie| cookie.clears()), "{name} is cleared");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_preflights_pass_without_a_session_and_without_an_identity() {
    let world = World::start().await;
    let preflight = |path: &str| {
        Request::new("OPTIONS", path)
            .header("Origin", "https://elsewhere.example")
            .header("Access-Control-Request-Method", "PUT")
            .header("Access-Control-Request-Headers", "x-custom")
            .header("X-Auth-User", "root")
    };
    let mut browser = world.logged_in("ada").await;
    for path in ["/api/cart", "/api/admin/users", "/open/page"] {
        for tab in [&mut browser, &mut world.browser()] {
            let answer = tab.send(preflight(path)).await;
            answer.assert_status(200);
            assert_eq!(answer.json()["method"], "OPTIONS");
            assert_eq!(answer.seen_by_app("origin").as_deref(), Some("https://elsewhere.example"));
            assert_eq!(answer.seen_by_app("access-control-request-method").as_deref(), Some("PUT"));
            assert_eq!(answer.seen_by_app("x-auth-user"), None);
            assert_eq!(answer.seen_by_app("cookie"), None);
        }
    }
}

/// A preflight has `Origin` and `Access-Control-Request-Method`, and no body (Fetch, "CORS-preflight fetch").
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_that_is_no_preflight_is_as_any_method() {
    let world = World::start().await;
    let origin = ("Origin", "https://elsewhere.example");
    let method = ("Access-Control-Request-Method", "PUT");
    let cases: [&[(&str, &str)]; 8] = [
        &[],
        &[origin],
        &[method],
        &[("Access-Control-Request-Headers", "x"), origin],
        &[origin, ("Access-Control-Request-Method", "")],
        &[("Origin", ""), method],
        &[origin, method, method],
        &[origin, method, ("Content-Length", "1")],
    ];
    let browser = world.logged_in("ada").await;
    for headers in cases {
        let options = |path: &str| {
            let body = if headers.iter().any(|(name, _)| *name == "Content-Length") { "x" } else { "" };
            let request = Request::new("OPTIONS", path);
            let request = if body.is_empty() { request } else { request.body("text/plain", body) };
            let headers = headers.iter().filter(|(name, _)| *name != "Content-Length");
            headers.fold(request, |request, (name, value)| request.header(name, value))
        };
        let before = world.store.heads();
        for path in ["/api/cart", "/api/admin/users"] {
            let answer = world.browser().send(options(path)).await;
            assert_eq!(answer.status(), 401, "{path} {headers:?}");
            answer.assert_problem(401, "not_logged_in");
        }
        assert_eq!(world.store.heads(), before, "{headers:?}");
        for path in ["/open/page", "/either/page"] {
            let answer = world.browser().send(options(path)).await;
            assert_eq!(answer.status(), 200, "{path} {headers:?}");
            assert_eq!(answer.seen_by_app("x-auth-user"), None);
        }
        for path in ["/api/login", "/api/logout", "/api/user"] {
            world.browser().send(options(path)).await.assert_problem(405, "method_not_allowed");
        }
        for path in ["/api/cart", "/either/page"] {
            let answer = browser.clone().send(options(path)).await;
            assert_eq!(answer.status(), 200, "{path} {headers:?}");
            assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"), "{path}");
        }
        browser.clone().send(options("/api/admin/users")).await.assert_problem(403, "forbidden");
    }
    for path in ["/api/cart", "/api/login", "/api/user"] {
        let request = Request::new("OPTIONS", path).header("Origin", "null").header(method.0, "POST");
        world.browser().send(request).await.assert_status(200);
    }
}
