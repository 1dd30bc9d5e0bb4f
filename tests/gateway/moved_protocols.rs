//! Every protocol follows the host name of its app, and no connection to a lost address is used again.

use std::collections::BTreeSet;

use crate::moved_upstreams::{Moving, NAME, NEVER, impostor_at, ip, world_at};
use crate::streaming::{hear, upgrade, web_socket};
use crate::support::certificates::{Authority, terminator_at};
use crate::support::http2::{Http2App, echo};
use crate::support::names::Says;
use crate::support::port::{Port, neighbours};
use crate::support::{App, Http2Client, Reply, Request, World, patiently};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_apps_connection_to_the_same_address_is_not_used() {
    let [old, new] = neighbours();
    let (old, new) = (App::at("old", old).await, App::at("new", new).await);
    let address = old.listening().address();
    let port = address.port();
    let toml = format!(
        "{NEVER}upstreams = ['http://{NAME}:{port}']\n[apps.forums]\nupstreams = ['http://forum.test:{port}']\n"
    );
    let builder = World::builder().await.lay_over(&toml);
    builder.names.point(NAME, &[address.ip()]);
    builder.names.set("forum.test", Says::Nobody);
    let world = builder.start().await;
    let mut browser = world.logged_in("ada").await;
    browser.get("/api/cart").await.assert_status(200);
    world.names.grow_old(NAME).await;
    // Another container gets the address, under another name, which another app is at.
    world.names.set(NAME, Says::Nobody);
    old.listening().down();
    let taken = App::at("forums", Port::left(address).await).await;
    world.names.point("forum.test", &[address.ip()]);
    let mut forums = world.forums_browser();
    patiently("the forums", async { while forums.get("/open/page").await.status() != 200 {} }).await;
    for _ in 0..3 {
        browser.get("/api/cart").await.assert_problem(502, "upstream_unavailable");
        forums.get("/open/page").await.assert_status(200);
    }
    world.names.point(NAME, &[ip(&new)]);
    patiently("the store", async { while browser.get("/api/cart").await.status() != 200 {} }).await;
    let strays: Vec<_> = taken.seen().into_iter().filter(|seen| seen.target() != "/open/page").collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_follows_its_name() {
    let moving = Moving::start(NEVER).await;
    let world = &moving.world;
    for app in [&moving.old, &moving.new] {
        app.on("/api/socket", Reply::WebSocket);
    }
    let browser = world.logged_in("ada").await;
    let (_, mut socket) = web_socket(&browser, &upgrade("/api/socket")).await.expect("101");
    assert_eq!(hear(&mut socket).await, "user=id-of-ada");
    world.names.grow_old(NAME).await;
    moving.point(&[&moving.new]);
    moving.old.listening().down();
    let impostor = impostor_at(moving.old.listening().address()).await;
    let (_, mut socket) = web_socket(&browser, &upgrade("/api/socket")).await.expect("101");
    assert_eq!(hear(&mut socket).await, "user=id-of-ada");
    assert_eq!((moving.new.heads(), impostor.accepted()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_without_tls_follows_its_name() {
    let [old, new] = neighbours();
    let (old, new) = (Http2App::at(old, echo).await, Http2App::at(new, echo).await);
    let address = old.listening().address();
    let world = world_at("h2c", address, NEVER).await;
    let mut browser = world.logged_in("ada").await;
    browser.get("/api/cart").await.assert_status(200);
    world.names.grow_old(NAME).await;
    world.names.point(NAME, &[new.listening().address().ip()]);
    old.listening().down();
    let impostor = impostor_at(address).await;
    browser.get("/api/cart").await.assert_status(200);
    browser.send(Request::post("/api/cart").form("a=1")).await.assert_status(200);
    assert_eq!((new.seen().len(), impostor.accepted()), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_http_2_is_not_opened_on_a_connection_to_an_address_that_the_name_has_lost() {
    let [old, new] = neighbours();
    let (old, new) = (Http2App::at(old, echo).await, Http2App::at(new, echo).await);
    let world = world_at("h2c", old.listening().address(), "[apps.store]\nresolve_interval = '1s'").await;
    let mut browser = world.browser();
    browser.get("/open/page").await.assert_status(200);
    world.names.point(NAME, &[new.listening().address().ip()]);
    patiently("requests to go to the new one", async {
        while new.seen().is_empty() {
            browser.get("/open/page").await.assert_status(200);
        }
    })
    .await;
    let before = old.seen().len();
    for _ in 0..10 {
        browser.get("/open/page").await.assert_status(200);
    }
    assert_eq!(old.seen().len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_grpc_follows_its_name() {
    let [old, new] = neighbours();
    let (old, new) = (Http2App::at(old, echo).await, Http2App::at(new, echo).await);
    let address = old.listening().address();
    let authority = Authority::for_store();
    let world = world_at("h2c", address, &format!("{}{NEVER}", authority.server(&["store"]))).await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    assert_eq!(client.unary("/shop.Cart/Add", b"1").await.unwrap().status(), 200);
    world.names.grow_old(NAME).await;
    world.names.point(NAME, &[new.listening().address().ip()]);
    old.listening().down();
    let impostor = impostor_at(address).await;
    // One call may still find the connection that has just ended; it must not be made twice.
    let call = async { while client.unary("/shop.Cart/Add", b"1").await.unwrap().status() != 200 {} };
    patiently("a call", call).await;
    assert_eq!((new.seen().len(), impostor.accepted()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_requests_follow_a_name_as_well() {
    // One that may choose HTTP/2 is asked for its choice first, on a connection that carries no request.
    for (http2, connections) in [(false, 1), (true, 2)] {
        let [old, new] = neighbours();
        let app = App::start("behind").await;
        let authority = Authority::new();
        // Whoever gets the address may have a certificate that is as good.
        authority.certify("shop", &[NAME]);
        let address = old.address();
        let old = terminator_at(old, &authority, "shop", &[], app.listening().address()).await;
        let new = terminator_at(new, &authority, "shop", &[], app.listening().address()).await;
        let tls = format!("{NEVER}[apps.store.upstream_tls]\nhttp2 = {http2}\nca = '{}'\n", authority.ca());
        let world = world_at("https", address, &tls).await;
        let mut browser = world.logged_in("ada").await;
        for _ in 0..3 {
            browser.get("/api/cart").await.assert_status(200);
        }
        let kept: BTreeSet<_> = app.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(kept.len(), 1, "HTTP/2: {http2}");
        world.names.point(NAME, &[new.address().ip()]);
        old.down();
        let impostor = impostor_at(address).await;
        for _ in 0..3 {
            browser.get("/api/cart").await.assert_status(200);
            browser.send(Request::post("/api/cart").form("a=1")).await.assert_status(200);
        }
        assert_eq!((new.accepted(), impostor.accepted()), (connections, 0), "HTTP/2: {http2}");
    }
}
