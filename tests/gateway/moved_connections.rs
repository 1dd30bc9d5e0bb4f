//! Kept connections of HTTP/1.1, while the host name or the configuration of their app changes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::timeout;

use crate::moved_upstreams::{CLOSE, NAME, NEVER, impostor_at, ip, served_by, world_at};
use crate::streaming::{hear, upgrade, web_socket};
use crate::support::certificates::{Authority, terminator_at};
use crate::support::client::{receive, request_bytes};
use crate::support::http2::{Http2App, echo};
use crate::support::listening::Listening;
use crate::support::port::neighbours;
use crate::support::{App, Reply, Request, World, patiently, wait_for};

/// Names are looked up, and nothing is checked.
const OFTEN: &str = "[apps.store.health_check]\ninterval = '1h'\n[apps.store]\nresolve_interval = '1s'\n";

/// Apps at two addresses of a name, over TLS or without it, and what their connections are counted by.
struct Pair {
    world: World,
    apps: [App; 2],
    /// In front of them.
    fronts: Vec<Listening>,
    _authority: Authority,
}

impl Pair {
    async fn start(tls: bool) -> Self {
        let authority = Authority::new();
        let ports = neighbours::<2>();
        let addresses = [ports[0].address(), ports[1].address()];
        let [first, second] = ports;
        if !tls {
            let apps = [App::at("old", first).await, App::at("new", second).await];
            let world = world_at("http", addresses[0], OFTEN).await;
            return Self { world, apps, fronts: Vec::new(), _authority: authority };
        }
        let apps = [App::start("old").await, App::start("new").await];
        authority.certify("shop", &[NAME]);
        let mut fronts = Vec::new();
        for (port, app) in [(first, &apps[0]), (second, &apps[1])] {
            fronts.push(terminator_at(port, &authority, "shop", &[], app.listening().address()).await);
        }
        let toml = format!("{OFTEN}[apps.store.upstream_tls]\nhttp2 = false\nca = '{}'\n", authority.ca());
        let world = world_at("https", addresses[0], &toml).await;
        Self { world, apps, fronts, _authority: authority }
    }

    fn address(&self, index: usize) -> SocketAddr {
        self.fronts.get(index).unwrap_or_else(|| self.apps[index].listening()).address()
    }

    fn point(&self, index: usize) {
        self.world.names.point(NAME, &[self.address(index).ip()]);
    }

    /// Connections to one that are open.
    fn open(&self, index: usize) -> usize {
        self.apps[index].listening().open()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_connections_to_a_lost_address_are_closed_without_a_request() {
    for tls in [false, true] {
        let pair = Pair::start(tls).await;
        let mut browser = pair.world.browser();
        for _ in 0..3 {
            assert_eq!(browser.get("/open/page").await.json()["app"], "old");
        }
        assert_eq!(pair.open(0), 1, "it is kept");
        pair.point(1);
        wait_for("the end of the connection", || pair.open(0) == 0).await;
        // It comes back: as another one, and nothing is left of before.
        pair.point(0);
        served_by(&pair.world, "old").await;
        let seen = pair.apps[0].seen();
        let connections: Vec<_> = seen.iter().map(|seen| seen.connection).collect();
        assert_ne!(connections.first(), connections.last(), "over TLS: {tls}, {connections:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_given_back_after_its_name_has_moved_is_closed() {
    for tls in [false, true] {
        let pair = Pair::start(tls).await;
        let (gate, is_open) = watch::channel(false);
        pair.apps[0].on("/open/slow", Reply::Held(is_open, Box::new(Reply::Echo)));
        let (_never, is_never_open) = watch::channel(false);
        pair.apps[0].on("/open/slower", Reply::Held(is_never_open, Box::new(Reply::Echo)));
        let mut browser = pair.world.browser();
        let mut wires = Vec::new();
        for target in ["/open/slow", "/open/slower"] {
            let mut wire = browser.open().await;
            wire.send(request_bytes(&browser, &Request::get(target))).await.unwrap();
            wires.push(wire);
        }
        wait_for("both requests at the old one", || pair.apps[0].heads() == 2).await;
        pair.point(1);
        served_by(&pair.world, "new").await;
        gate.send_replace(true);
        let answer = receive(&mut wires[0], "GET", 1000).await.expect("an answer");
        assert_eq!(answer.json()["app"], "old");
        // The other one goes on: that it knows the address keeps nothing.
        wait_for("the end of the first", || pair.open(0) == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_an_idle_connection_counts_for_every_address_of_its_name() {
    let [first, second, third] = neighbours();
    let keeping = App::at("keeping", first).await;
    let (closing, moved) = (App::at("closing", second).await, App::at("moved", third).await);
    closing.on("/api/cart", Reply::RawThenClose(CLOSE.to_vec()));
    let world = world_at("http", keeping.listening().address(), NEVER).await;
    let mut browser = world.logged_in("ada").await;
    world.names.grow_old(NAME).await;
    world.names.point(NAME, &[ip(&keeping), ip(&closing)]);
    patiently("both to be used", async {
        while keeping.heads() == 0 || closing.heads() == 0 {
            browser.get("/api/cart").await.assert_status(200);
        }
    })
    .await;
    // A connection is open to the one that is not next, and the answer is as new as can be. Where that comes late, the
    // test only sees less.
    while browser.get("/api/cart").await.text() != "ok" {}
    let before = world.names.asked(NAME).len();
    browser.get("/api/cart").await.assert_status(200);
    let _new = timeout(Duration::from_millis(500), world.names.asked_beyond(NAME, before)).await;
    world.names.point(NAME, &[ip(&moved)]);
    let before = world.names.asked(NAME).len();
    keeping.listening().down();
    closing.listening().down();
    wait_for("the end of the connection", || keeping.listening().open() == 0).await;
    // On a busy machine the gateway hears of it later than this test.
    patiently("a look-up", world.names.asked_beyond(NAME, before)).await;
    let impostor = impostor_at(closing.listening().address()).await;
    for _ in 0..4 {
        assert_eq!(browser.get("/api/cart").await.json()["app"], "moved");
    }
    assert_eq!(impostor.accepted(), 0);
}

/// Waits for a look-up, which nothing asks for but the end of a server's connections.
async fn end_and_look_up(world: &World, server: &Listening, what: &str) {
    let before = world.names.asked(NAME).len();
    server.down();
    wait_for(&format!("a look-up after {what}"), || world.names.asked(NAME).len() > before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_connection_makes_a_look_up_whatever_it_carries() {
    let [port] = neighbours();
    let app = App::at("app", port).await;
    let (sender, _) = broadcast::channel(1);
    app.on("/open/events", Reply::Events(sender));
    app.on("/open/socket", Reply::WebSocket);
    let world = world_at("http", app.listening().address(), NEVER).await;
    let browser = world.browser();
    let mut wire = browser.clone().open().await;
    wire.send(request_bytes(&browser, &Request::get("/open/events"))).await.unwrap();
    wait_for("the stream", || app.heads() == 1).await;
    end_and_look_up(&world, app.listening(), "an event stream").await;
    app.listening().up().await;
    let (_, mut socket) = web_socket(&browser, &upgrade("/open/socket")).await.expect("101");
    hear(&mut socket).await;
    end_and_look_up(&world, app.listening(), "a WebSocket").await;

    let [port] = neighbours();
    let app = Http2App::at(port, echo).await;
    let world = world_at("h2c", app.listening().address(), NEVER).await;
    // The last one goes the way of calls of gRPC, which has connections of its own.
    for (what, request) in [
        ("HTTP/2", Request::get("/open/page")),
        ("a large upload", Request::post("/open/page").body("a/b", vec![b'a'; 100_000])),
    ] {
        world.browser().send(request).await.assert_status(200);
        end_and_look_up(&world, app.listening(), what).await;
        app.listening().up().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_replaced_keeps_no_connection() {
    let world = World::start().await;
    let (sender, _) = broadcast::channel(1);
    world.store.on("/open/events", Reply::Events(sender));
    let mut browser = world.browser();
    let mut wire = browser.open().await;
    wire.send("GET /open/events HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
    wait_for("the stream", || world.store.heads() == 1).await;
    browser.get("/open/page").await.assert_status(200);
    assert_eq!(world.store.listening().open(), 2);
    world.reload("[apps.store.timeouts]\nidle = '1m'").await;
    wait_for("the end of the one that is kept", || world.store.listening().open() == 1).await;
    browser.get("/open/page").await.assert_status(200);
    assert_eq!(world.store.listening().open(), 2, "the stream goes on, and another one is kept");
}
