//! Session cookies stay between browser and gateway; the app's own pass through untouched.

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Endpoint, Reply, Request, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_cookies_never_reach_the_app_and_its_own_cookies_do() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    for (name, value) in [("a", "1"), ("__Host-access_tokenx", "2"), ("z", "\"q u\""), ("access_token", "3")]
    {
        browser.jar.insert(name.into(), value.into());
    }
    for path in ["/", "/open/page", "/either/page", "/api/cart"] {
        browser.get(path).await.assert_status(200);
        let cookies = world.store.last(path).head.all("cookie").join("; ");
        for (name, wanted) in
            [(ACCESS, false), (REFRESH, false), ("a", true), ("__Host-access_tokenx", true), ("z", true)]
        {
            let there = cookies.split("; ").any(|pair| pair.split('=').next() == Some(name));
            assert_eq!(there, wanted, "{path}: {name} in {cookies}");
        }
        assert!(cookies.contains("access_token=3") && cookies.contains("z=\"q u\""), "{path}: {cookies}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_cookie_headers_neither_break_the_session_nor_let_a_token_through() {
    let world = World::start().await;
    let browser = world.logged_in("ada").await;
    let (access, refresh) = (&browser.jar[ACCESS], &browser.jar[REFRESH]);
    let session = format!("{ACCESS}={access}; {REFRESH}={refresh}");
    for header in [
        format!("{session};a=1"),
        format!("a=1;{ACCESS}={access};{REFRESH}={refresh}"),
        format!(" ; ;; a=1 ;  {ACCESS}={access} ; {REFRESH}={refresh};"),
        format!("noequals; =novalue; {session}; a=1"),
        format!("a=1; {ACCESS} = {access}; {REFRESH}={refresh}"),
    ] {
        let mut tab = world.browser();
        tab.send(Request::get("/api/cart").header("Cookie", &header)).await.assert_status(200);
        let raw = String::from_utf8_lossy(&world.store.last("/api/cart").head.raw).into_owned();
        assert!(!raw.contains(access.as_str()) && !raw.contains(refresh.as_str()), "{raw}");
        assert!(raw.contains("a=1"), "{raw}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_cookie_headers_are_one() {
    let world = World::start().await;
    let browser = world.logged_in("ada").await;
    let request = Request::get("/api/cart")
        .header("Cookie", &format!("a=1; {ACCESS}={}", browser.jar[ACCESS]))
        .header("cookie", &format!("{REFRESH}={}; b=2", browser.jar[REFRESH]));
    let answer = world.browser().send(request).await;
    answer.assert_status(200);
    let cookies = world.store.last("/api/cart").head.all("cookie").join("; ");
    assert_eq!(cookies, "a=1; b=2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_of_ours_twice_refuses_the_session() {
    let world = World::start().await;
    let (ada, eve) = (world.logged_in("ada").await, world.logged_in("eve").await);
    for name in [ACCESS, REFRESH] {
        for tossed in [&eve.jar[name], &ada.jar[name], &String::from("x")] {
            for header in [
                format!("{}; {name}={tossed}", ada.cookie_header().unwrap()),
                format!("{name}={tossed}; {}", ada.cookie_header().unwrap()),
            ] {
                let mut tab = world.browser();
                let answer = tab.send(Request::get("/api/cart").header("Cookie", &header)).await;
                assert!(matches!(answer.status(), 400 | 401), "{}", answer.text());
            }
        }
    }
    assert_eq!(world.store.heads(), 0);
    assert_eq!(world.provider.count(Endpoint::Refresh), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_of_ours_that_an_app_sets_are_dropped_and_its_others_kept_in_order() {
    let world = World::start().await;
    let lines = format!(
        "Set-Cookie: a=1; Path=/\r\nSet-Cookie: {ACCESS}=forged; Secure; Path=/\r\nset-cookie: {REFRESH}=x; Secure; Path=/; Max-Age=0\r\n\
         Set-Cookie: {ACCESS}.1=part; Secure; Path=/\r\nSet-Cookie:  {ACCESS} =spaced; Secure; Path=/\r\nSet-Cookie: b=2; HttpOnly\r\n"
    );
    for path in ["/open/page", "/api/page"] {
        world.store.on(path, Reply::with_headers(&lines));
        let mut browser = world.logged_in("ada").await;
        let session = (browser.jar[ACCESS].clone(), browser.jar[REFRESH].clone());
        let answer = browser.get(path).await;
        answer.assert_status(200);
        assert_eq!(answer.head.all("set-cookie"), ["a=1; Path=/", "b=2; HttpOnly"], "{path}");
        assert_eq!((&browser.jar[ACCESS], &browser.jar[REFRESH]), (&session.0, &session.1));

        world.expire_access_tokens();
        browser.jar.remove("a");
        let answer = browser.get("/api/page").await;
        if path == "/api/page" {
            assert_eq!(answer.set_cookies().len(), 4, "the app's two and ours");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_lifetime_and_same_site_are_configurable() {
    let world = World::with(
        r#"
        [apps.store.cookies]
        access_token = "sid"
        refresh_token = "sid-long"
        same_site = "strict"
        secure = false
        refresh_token_lifetime = "30d"
        "#,
    )
    .await;
    let mut browser = world.browser();
    let answer = browser.log_in("ada").await;
    for name in ["sid", "sid-long"] {
        let cookie = answer.set_cookie(name).expect("a cookie");
        assert_eq!(cookie.attribute("max-age"), Some("2592000"), "{cookie:?}");
        assert_eq!(cookie.attribute("samesite"), Some("Strict"));
        assert!(cookie.has("httponly") && !cookie.has("secure"));
    }
    world.expire_access_tokens();
    let answer = browser.get("/api/cart").await;
    answer.assert_status(200);
    assert_eq!(answer.set_cookie("sid").unwrap().attribute("max-age"), Some("2592000"));
    browser.send(Request::post("/api/logout")).await.assert_status(204);
    assert!(browser.jar.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_with_new_cookies_are_not_cacheable() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    world.store.on("/api/cached", Reply::with_headers("Cache-Control: public, max-age=3600\r\n"));
    world.expire_access_tokens();
    let answer = browser.get("/api/cached").await;
    assert_eq!(answer.set_cookies().len(), 2);
    let control = answer.head.all("cache-control").join(",");
    assert!(!control.contains("public"), "a shared cache would hand the session to others: {control}");
}
