//! Apps whose host name moves from one address to another, while somebody else gets the old one.

use std::net::{IpAddr, SocketAddr};

use crate::support::client::receive;
use crate::support::listening::Listening;
use crate::support::names::Says;
use crate::support::port::{Port, neighbours};
use crate::support::{App, Reply, Request, World, patiently, wait_for};

/// The store's host name.
pub(crate) const NAME: &str = "shop.test";

/// No look-up and no health check happens just because time passes.
pub(crate) const NEVER: &str = "[apps.store.health_check]\ninterval = '1h'\n\
                     [apps.store]\nresolve_interval = '1h'\nforward_access_token = true\n";

/// An app's answer after which it closes.
pub(crate) const CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// A world whose store is at a name, which has the first of two addresses with the same port.
pub(crate) struct Moving {
    pub(crate) world: World,
    pub(crate) old: App,
    pub(crate) new: App,
}

impl Moving {
    pub(crate) async fn start(toml: &str) -> Self {
        let [old, new] = neighbours();
        let (old, new) = (App::at("old", old).await, App::at("new", new).await);
        let world = world_at("http", old.listening().address(), toml).await;
        Self { world, old, new }
    }

    /// The name has these apps' addresses from now on.
    pub(crate) fn point(&self, apps: &[&App]) {
        self.world.names.point(NAME, &apps.iter().map(|app| ip(app)).collect::<Vec<_>>());
    }
}

/// A world whose store is at the name, which has this address.
pub(crate) async fn world_at(scheme: &str, address: SocketAddr, toml: &str) -> World {
    let upstream = format!("[apps.store]\nupstreams = ['{scheme}://{NAME}:{}']\n", address.port());
    let builder = World::builder().await.lay_over(&upstream).lay_over(toml);
    builder.names.point(NAME, &[address.ip()]);
    builder.start().await
}

pub(crate) fn ip(app: &App) -> IpAddr {
    app.listening().address().ip()
}

/// Another server at an address that an app has left. It writes down who connects, and answers nothing.
pub(crate) async fn impostor_at(address: SocketAddr) -> Listening {
    let port = Port::left(address).await;
    Listening::at(port, |mut wire, _| async move { while wire.fill().await.unwrap_or(false) {} }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_follow_a_name_at_once_when_its_app_is_gone() {
    let moving = Moving::start(NEVER).await;
    let world = &moving.world;
    let mut browser = world.logged_in("ada").await;
    assert_eq!(browser.get("/api/cart").await.json()["app"], "old");
    // However new the last answer is: the connection ends.
    moving.point(&[&moving.new]);
    moving.old.listening().down();
    let impostor = impostor_at(moving.old.listening().address()).await;
    for _ in 0..5 {
        assert_eq!(browser.clone().get("/api/cart").await.json()["app"], "new");
        let answer = browser.send(Request::post("/api/cart").form("a=1")).await;
        assert_eq!(answer.json()["app"], "new");
    }
    assert_eq!(impostor.accepted(), 0, "somebody else was shown who the user is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_finds_nobody_waits_for_the_next_answer() {
    let moving = Moving::start(NEVER).await;
    let mut browser = moving.world.browser();
    moving.old.on("/open/first", Reply::RawThenClose(CLOSE.to_vec()));
    moving.world.names.grow_old(NAME).await;
    // Now the last answer is some milliseconds old, and no connection is kept.
    browser.get("/open/first").await.assert_status(200);
    moving.point(&[&moving.new]);
    moving.old.listening().down();
    let answer = browser.send(Request::post("/open/page").form("a=1")).await;
    assert_eq!((&answer.json()["app"], &answer.json()["body"]), (&"new".into(), &"a=1".into()));
    // A name that has just come to be is found as well.
    moving.world.names.set(NAME, Says::Nobody);
    moving.new.listening().down();
    browser.get("/open/page").await.assert_problem(502, "upstream_unavailable");
    moving.point(&[&moving.old]);
    moving.old.listening().up().await;
    assert_eq!(browser.get("/open/page").await.json()["app"], "old");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_connection_makes_a_look_up() {
    let moving = Moving::start(NEVER).await;
    let world = &moving.world;
    world.browser().get("/open/page").await.assert_status(200);
    world.names.grow_old(NAME).await;
    let before = world.names.asked(NAME).len();
    moving.point(&[&moving.new]);
    moving.old.listening().down();
    world.names.asked_beyond(NAME, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_to_an_address_that_the_name_has_lost_is_left_alone() {
    let moving = Moving::start("[apps.store]\nresolve_interval = '1s'").await;
    let mut browser = moving.world.browser();
    assert_eq!(browser.get("/open/page").await.json()["app"], "old");
    // The old app goes on, and so does the connection to it.
    moving.point(&[&moving.new]);
    served_by(&moving.world, "new").await;
    let before = moving.old.heads();
    for _ in 0..10 {
        assert_eq!(browser.get("/open/page").await.json()["app"], "new");
    }
    assert_eq!(moving.old.heads(), before);
    // Not even when the name comes back: what happened there meanwhile, nobody knows.
    moving.point(&[&moving.old]);
    served_by(&moving.world, "old").await;
    let connections: Vec<_> = moving.old.seen().iter().map(|seen| seen.connection).collect();
    assert_ne!(connections.first(), connections.last(), "{connections:?}");
}

/// Waits until requests are served by an app.
pub(crate) async fn served_by(world: &World, app: &str) {
    let mut browser = world.browser();
    patiently(&format!("requests to go to the {app} one"), async {
        while browser.get("/open/page").await.json()["app"] != app {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_ends_at_the_old_address_and_its_connection_is_not_kept_for_others() {
    let moving = Moving::start("[apps.store]\nresolve_interval = '1s'").await;
    let mut wire = moving.world.browser().open().await;
    wire.send("POST /open/upload HTTP/1.1\r\nHost: store.localhost\r\nContent-Length: 2\r\n\r\n1")
        .await
        .unwrap();
    wait_for("the old one to get it", || moving.old.heads() == 1).await;
    moving.point(&[&moving.new]);
    served_by(&moving.world, "new").await;
    wire.send("2").await.unwrap();
    let answer = patiently("an answer", receive(&mut wire, "POST", 1000)).await.expect("an answer");
    assert_eq!((&answer.json()["app"], &answer.json()["body"]), (&"old".into(), &"12".into()));
    for _ in 0..10 {
        assert_eq!(moving.world.browser().get("/open/page").await.json()["app"], "new");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_addresses_only_the_lost_one_is_left_alone() {
    let moving = Moving::start(NEVER).await;
    let world = &moving.world;
    moving.point(&[&moving.old, &moving.new]);
    world.names.grow_old(NAME).await;
    moving.old.listening().down();
    moving.old.listening().up().await;
    served_by(world, "new").await;
    served_by(world, "old").await;
    world.names.grow_old(NAME).await;
    moving.point(&[&moving.new]);
    moving.old.listening().down();
    let impostor = impostor_at(moving.old.listening().address()).await;
    let mut browser = world.logged_in("ada").await;
    for _ in 0..10 {
        assert_eq!(browser.get("/api/cart").await.json()["app"], "new");
    }
    assert_eq!(impostor.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_addresses_side_by_side() {
    let [old, new] = neighbours();
    let (old, new, fixed) = (App::at("old", old).await, App::at("new", new).await, App::start("fixed").await);
    let upstreams = format!("'http://{NAME}:{}', '{}'", old.listening().address().port(), fixed.url());
    let builder = World::builder().await.lay_over(&format!("{NEVER}upstreams = [{upstreams}]\n"));
    builder.names.point(NAME, &[ip(&old)]);
    let world = builder.start().await;
    let mut browser = world.logged_in("ada").await;
    for _ in 0..6 {
        browser.get("/api/cart").await.assert_status(200);
    }
    assert!(old.heads() >= 2 && fixed.heads() >= 2, "{} and {}", old.heads(), fixed.heads());
    world.names.grow_old(NAME).await;
    world.names.point(NAME, &[ip(&new)]);
    old.listening().down();
    let impostor = impostor_at(old.listening().address()).await;
    let before = fixed.heads();
    for _ in 0..6 {
        browser.get("/api/cart").await.assert_status(200);
    }
    assert!(new.heads() >= 2 && fixed.heads() >= before + 2, "{} and {}", new.heads(), fixed.heads());
    assert_eq!(impostor.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_gone_has_no_address() {
    let moving = Moving::start(NEVER).await;
    let world = &moving.world;
    let mut browser = world.logged_in("ada").await;
    browser.get("/api/cart").await.assert_status(200);
    world.names.grow_old(NAME).await;
    world.names.set(NAME, Says::Nobody);
    moving.old.listening().down();
    let impostor = impostor_at(moving.old.listening().address()).await;
    for _ in 0..3 {
        browser.get("/api/cart").await.assert_problem(502, "upstream_unavailable");
    }
    assert_eq!(impostor.accepted(), 0);
    // The container is back, elsewhere.
    moving.point(&[&moving.new]);
    patiently("the app", async { while browser.get("/api/cart").await.status() != 200 {} }).await;
    assert_eq!(browser.get("/api/cart").await.json()["app"], "new");
    assert_eq!(impostor.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nobody_can_say_the_address_is_kept_until_a_connect_to_it_fails() {
    let moving = Moving::start(NEVER).await;
    let world = &moving.world;
    moving.old.on("/api/cart", Reply::RawThenClose(CLOSE.to_vec()));
    let mut browser = world.logged_in("ada").await;
    let before = world.names.asked(NAME).len();
    world.names.set(NAME, Says::Unclear);
    browser.get("/api/cart").await.assert_status(200);
    world.names.asked_beyond(NAME, before).await;
    for _ in 0..3 {
        browser.get("/api/cart").await.assert_status(200);
    }
    moving.old.listening().down();
    browser.get("/api/cart").await.assert_problem(502, "upstream_unavailable");
    let impostor = impostor_at(moving.old.listening().address()).await;
    for _ in 0..3 {
        browser.get("/api/cart").await.assert_problem(502, "upstream_unavailable");
    }
    assert_eq!(impostor.accepted(), 0, "nobody said that it is still the app's");
    moving.point(&[&moving.new]);
    patiently("the app", async { while browser.get("/api/cart").await.status() != 200 {} }).await;
    assert_eq!(impostor.accepted(), 0);
}
