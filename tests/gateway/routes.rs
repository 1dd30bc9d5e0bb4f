//! Who may go where: public, optional and required routes, roles, and paths that must not be taken for others.

use crate::support::client::raw;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_that_could_mean_another_are_400_and_never_reach_the_app() {
    let world = World::with("[[apps.store.routes]]\npath = \"/*\"\naccess = \"public\"").await;
    let odd = [
        "/open/../api/admin",
        "/open/..",
        "/open/.",
        "/./api",
        "/open/%2e%2e/api",
        "/open/%2E./api",
        "/open/.%2e/api",
        "/..",
        "//api/admin",
        "/open//x",
        "/open/x//",
        "/open%2fx",
        "/open%2Fx",
        "/open/%5cx",
        "/open\\x",
        "/open/;x",
        "/open/x;v=1",
        "/open/..;/api",
        "/open/%3bx",
        "/open/%252e",
        "/open/%25%32%65",
        "/open/%252%65",
        "/open/%2500",
        "/open/%00",
        "/open/%0a",
        "/open/%0d%0aX-Auth-User:%20root",
        "/open/%7f",
        "/open/%c0%ae%c0%ae/x",
        "/open/%e0%80%af",
        "/open/%",
        "/open/%4",
        "/open/%zz",
        "/open/#x",
        "/open#/../api",
    ];
    let mut browser = world.browser();
    for path in odd {
        let answer = browser.get(path).await;
        assert_eq!(answer.status(), 400, "{path}: {}", answer.text());
        answer.assert_problem(400, "bad_request");
    }
    assert_eq!(world.store.heads(), 0);
    for path in [
        "/open/a.b..c/...",
        "/open/%20x%C3%A9",
        "/open/caf\u{e9}%41",
        "/open/x?a=../..//;%00&b=%2f%zz",
        "/open/:@!$&'()*+,=",
    ] {
        let answer = browser.get(path).await;
        if answer.status() != 400 || path.is_ascii() {
            assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
            assert_eq!(answer.json()["target"], path, "forwarded as it came");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_in_other_forms() {
    let world = World::start().await;
    let send = |line: &str, host: &str| raw(world.gateway.address, format!("{line}\r\nHost: {host}\r\n\r\n"));
    let (answer, _) = send("GET http://store.localhost/open/page?q=1 HTTP/1.1", "store.localhost").await;
    let answer = answer.expect("absolute form is fine (RFC 9112 section 3.2.2)");
    answer.assert_status(200);
    assert_eq!(answer.json()["target"], "/open/page?q=1");
    for (line, host) in [
        ("GET http://forums.localhost/open/page HTTP/1.1", "store.localhost"),
        ("GET http://user@store.localhost/open/page HTTP/1.1", "store.localhost"),
        ("GET * HTTP/1.1", "store.localhost"),
        ("GET open/page HTTP/1.1", "store.localhost"),
        ("GET ?x HTTP/1.1", "store.localhost"),
        ("GET ftp://store.localhost/open/page HTTP/1.1", "store.localhost"),
    ] {
        let (answer, _) = send(line, host).await;
        answer.unwrap_or_else(|| panic!("{line}: no answer")).assert_problem(400, "bad_request");
    }
    assert_eq!(world.store.heads(), 1);
    assert_eq!(world.forums.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_compare_without_port_and_case() {
    let world = World::start().await;
    for (host, status) in [
        ("store.localhost", 200),
        ("STORE.localhost", 200),
        ("store.localhost:8080", 200),
        ("xstore.localhost", 404),
        ("store.localhost.evil.example", 404),
        ("127.0.0.1", 404),
        ("localhost", 404),
    ] {
        let mut browser = world.browser();
        browser.host = host.into();
        assert_eq!(browser.get("/").await.status(), status, "{host}");
    }
}

/// Targets of bytes that mean something to somebody, over and over: what the rules saw is what the app gets, byte by byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_let_through_arrives_as_it_came() {
    const PIECES: [&str; 40] = [
        "/",
        "/",
        "/",
        "open",
        "open/",
        "OPEN",
        "api",
        "admin",
        "either",
        ".",
        "..",
        "%2e",
        "%2E",
        "%2f",
        "%5c",
        "\\",
        ";",
        "%3b",
        "%25",
        "%",
        "%4",
        "%41",
        "%61",
        "%70",
        "//",
        "?",
        "?x=/../",
        "#",
        "%00",
        "%c0%af",
        "%e2%80%8b",
        "~",
        "!",
        "*",
        "+",
        "%20",
        ":",
        "@",
        "%7f",
        "x",
    ];
    let world = World::start().await;
    let mut browser = world.browser();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut passed = 0;
    for _ in 0..3000 {
        let start = ["/open/", "/either/", "/", "/open"][random(4)];
        let target: String = (0..=random(5)).map(|_| PIECES[random(PIECES.len())]).collect();
        let target = format!("{start}{target}");
        let before = world.store.heads();
        let answer = browser.get(&target).await;
        let path = target.split('?').next().unwrap();
        if answer.status() == 200 {
            passed += 1;
            assert_eq!(answer.json()["target"], target);
            let decoded: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
            let is_open = path == "/"
                || [&b"/open"[..], b"/either"].iter().any(|prefix| {
                    decoded
                        .strip_prefix(*prefix)
                        .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
                });
            assert!(is_open, "{target} was let through without a session");
            let segments = || decoded.split(|&byte| byte == b'/');
            assert!(!segments().any(|segment| matches!(segment, b"." | b"..")), "{target}");
            assert!(!decoded.iter().any(|byte| b"\\;".contains(byte) || byte.is_ascii_control()), "{target}");
        } else {
            assert!(matches!(answer.status(), 400 | 401), "{target}: {}", answer.head.first_line);
            assert_eq!(world.store.heads(), before, "{target}");
        }
    }
    assert!(passed > 300, "only {passed} paths were let through");
}
