//! A session cookie that comes twice is refused. It is cleared wherever the browser may have it, so that nobody is
//! locked out.

use std::collections::BTreeMap;

use crate::support::set_cookie::SetCookie;
use crate::support::{Answer, Browser, Endpoint, Request, World};

const HOST: &str = "store.example.com";

/// A store with cookies that other hosts and paths may have, too.
async fn world(more: &str) -> World {
    World::with(&format!("{NAMES}{more}")).await
}

const NAMES: &str = "[apps.store]\nhosts = ['store.example.com']\n[apps.store.cookies]\naccess_token = 'at'\nrefresh_token = 'rt'\n";

/// A cookie jar after RFC 6265bis section 5: by name, domain and path.
struct Jar {
    browser: Browser,
    cookies: BTreeMap<Key, String>,
}

/// Name, domain (`None`: host-only), path.
type Key = (String, Option<String>, String);

impl Jar {
    fn new(world: &World) -> Self {
        Self { browser: Browser::new(world.gateway.address, HOST), cookies: BTreeMap::new() }
    }

    fn toss(&mut self, name: &str, domain: Option<&str>, path: &str) {
        self.cookies.insert((name.into(), domain.map(str::to_owned), path.into()), "tossed".into());
    }

    /// Section 5.1.4.
    fn matches(path: &str, cookie_path: &str) -> bool {
        path.strip_prefix(cookie_path)
            .is_some_and(|rest| rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/'))
    }

    async fn send(&mut self, request: Request, path: &str) -> Answer {
        let sent = self.cookies.iter().filter(|((_, _, at), _)| Self::matches(path, at));
        let pairs: Vec<_> = sent.map(|((name, _, _), value)| format!("{name}={value}")).collect();
        let request = if pairs.is_empty() { request } else { request.header("Cookie", &pairs.join("; ")) };
        let answer = self.browser.send(request).await;
        self.browser.jar.clear();
        for cookie in answer.set_cookies() {
            self.keep(cookie);
        }
        answer
    }

    fn keep(&mut self, cookie: SetCookie) {
        let domain = cookie.attribute("domain").map(str::to_owned);
        let covers = |domain: &str| HOST == domain || HOST.ends_with(&format!(".{domain}"));
        assert!(domain.as_deref().is_none_or(covers), "a browser drops it: {cookie:?}");
        let key = (cookie.name.clone(), domain, cookie.attribute("path").unwrap_or("/").to_owned());
        if cookie.clears() {
            self.cookies.remove(&key);
        } else {
            self.cookies.insert(key, cookie.value);
        }
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path), path).await
    }

    async fn log_in(&mut self) {
        let login = r#"{"username":"ada","password":"correct horse"}"#;
        let answer =
            self.send(Request::post("/api/login").body("application/json", login), "/api/login").await;
        answer.assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tossed_cookie_locks_nobody_out() {
    let world = world("").await;
    for name in ["at", "rt", "at.1"] {
        for domain in [None, Some("example.com"), Some(HOST)] {
            for path in ["/", "/api", "/api/", "/api/user"] {
                if domain.is_none() && path == "/" && name != "at.1" {
                    continue; // That would be ours.
                }
                let what = format!("{name} {domain:?} {path}");
                let mut jar = Jar::new(&world);
                jar.log_in().await;
                jar.toss(name, domain, path);
                jar.toss(name, Some("example.com"), "/");
                let answer = jar.get("/api/user").await;
                if name != "at.1" || domain != Some("example.com") || path != "/" {
                    answer.assert_problem(404, "not_logged_in");
                }
                jar.get("/api/user").await;
                // Either it was cleared, or a login makes good what is left.
                jar.log_in().await;
                let answer = jar.get("/api/user").await;
                assert_eq!(answer.status(), 200, "{what}: {:?}", jar.cookies);
                assert!(jar.cookies.values().all(|value| value != "tossed"), "{what}: {:?}", jar.cookies);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_clears_what_came_twice_and_a_login_at_once_is_good() {
    let world = world("").await;
    for (path, status) in [("/api/cart", 401), ("/api/user", 404), ("/either/x", 200)] {
        let mut jar = Jar::new(&world);
        jar.log_in().await;
        jar.toss("at", Some("example.com"), "/");
        jar.toss("rt", Some("example.com"), "/");
        let answer = jar.get(path).await;
        assert_eq!(answer.status(), status);
        assert!(jar.cookies.is_empty(), "{path}: {:?}", jar.cookies);
    }
    let mut jar = Jar::new(&world);
    // Before there are any of ours, so that none comes twice yet.
    jar.toss("rt", Some("example.com"), "/");
    jar.log_in().await;
    jar.get("/api/user").await.assert_status(200);
    assert_eq!(jar.cookies.len(), 2);
    jar.toss("at", Some("example.com"), "/");
    jar.send(Request::post("/api/logout"), "/api/logout").await.assert_status(204);
    assert!(jar.cookies.is_empty(), "{:?}", jar.cookies);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_domain_comes_and_goes_while_sessions_live() {
    let world = world("").await;
    let mut jar = Jar::new(&world);
    jar.log_in().await;
    let domain = format!("{NAMES}domain = 'example.com'\n");
    world.reload(&domain).await;
    for _ in 0..2 {
        world.expire_access_tokens();
        jar.get("/api/user").await.assert_status(200);
        assert!(jar.cookies.keys().all(|(_, domain, _)| domain.is_some()), "{:?}", jar.cookies);
    }
    assert_eq!(world.provider.count(Endpoint::Login), 1, "the session goes on");
    world.reload(NAMES).await;
    world.expire_access_tokens();
    jar.get("/api/user").await.assert_status(200);
    let answer = jar.get("/api/user").await;
    if answer.status() != 200 {
        assert!(jar.cookies.is_empty(), "{:?}", jar.cookies);
        jar.log_in().await;
    }
    for _ in 0..2 {
        world.expire_access_tokens();
        jar.get("/api/user").await.assert_status(200);
    }
}
