//! Starting and stopping: nobody in the middle of something is cut off without need.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::support::client::receive;
use crate::support::{Endpoint, Fault, Reply, World, patiently};

async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    patiently(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_requests_in_flight_finish_and_takes_no_new_ones() {
    let world = World::start().await;
    world.store.on("/open/slow", Reply::after(1200, Reply::Echo));
    let mut wire = world.browser().open().await;
    let mut idle = world.browser().open().await;
    wire.send("GET /open/slow HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
    wait_for("the request at the app", || world.store.heads() == 1).await;
    let address = world.gateway.address;
    let stopping = tokio::spawn(world.gateway.stop());
    let answer = patiently("the answer", receive(&mut wire, "GET", 1 << 16)).await.expect("an answer");
    answer.assert_status(200);
    patiently("the idle connection's end", async { while idle.fill().await.unwrap_or(false) {} }).await;
    stopping.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "it listens no longer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_without_connections_is_immediate_and_one_with_an_endless_request_ends_after_its_grace() {
    let world = World::with("[server]\nshutdown_grace = \"1s\"").await;
    world.gateway.stop().await;
    let world = World::with("[server]\nshutdown_grace = \"1s\"").await;
    world.store.on("/open/endless", Reply::after(3_600_000, Reply::Echo));
    let mut wire = world.browser().open().await;
    wire.send("GET /open/endless HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
    wait_for("the request at the app", || world.store.heads() == 1).await;
    world.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_mid_refresh_still_hands_out_the_rotated_token() {
    let world = World::start().await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.fail_next(Endpoint::Refresh, Fault::delay(1000));
    let mut tab = browser.clone();
    let refreshing = tokio::spawn(async move {
        let answer = tab.get("/api/cart").await;
        answer.assert_status(200);
        assert_eq!(answer.set_cookies().len(), 2);
    });
    wait_for("the refresh", || world.provider.count(Endpoint::Refresh) == 1).await;
    world.gateway.stop().await;
    refreshing.await.unwrap();
}
