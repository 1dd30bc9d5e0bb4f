//! Starting and stopping: nobody in the middle of something is cut off without need.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::support::client::receive;
use crate::support::load::Load;
use crate::support::program::Program;
use crate::support::{Browser, Endpoint, Fault, Reply, World, patiently, wait_for};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_announced_first_and_the_admin_listener_lives_to_the_end() {
    let world = World::with("[server]\nshutdown_delay = \"1s\"").await;
    world.store.on("/open/slow", Reply::after(2500, Reply::Echo));
    let mut slow = world.browser();
    let slow = tokio::spawn(async move { slow.get("/open/slow").await.assert_status(200) });
    wait_for("the request at the app", || world.store.heads() == 1).await;
    let (mut probe, mut late) = (Browser::new(world.gateway.admin, "localhost"), world.browser());
    let address = world.gateway.address;
    let stopping = tokio::spawn(world.gateway.stop());
    patiently("the announcement", async {
        while probe.get("/readyz").await.status() != 503 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    late.get("/open/late").await.assert_status(200);
    assert!(probe.get("/readyz").await.text().contains("the server stops"));
    patiently("the end of accepting", async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    probe.get("/livez").await.assert_status(200);
    slow.await.unwrap();
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_fails_no_request_and_ends_the_program_before_its_grace() {
    let builder = World::builder().await;
    let (mut program, _builder) = Program::start(builder.lay_over("[server]\nshutdown_grace = \"1h\"")).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.log_in("ada").await;
    let load = Load::until_refused((0..4).map(|_| browser.clone()).collect());
    tokio::time::sleep(Duration::from_millis(500)).await;
    program.signal("TERM").await;
    assert_eq!(program.exited().await, Some(0));
    let (requests, _) = load.stop().await;
    assert!(requests > 0);
}
