//! Another process takes over, with real processes. Nobody is turned away.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::support::client::receive;
use crate::support::gateway::REFRESH;
use crate::support::load::Load;
use crate::support::program::Program;
use crate::support::{Browser, Reply, Request, World, wait_for};

const SOCKET: &str = "[server]\nupgrade_socket = 'upgrade.sock'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_upgrades_under_load_fail_no_request() {
    let (mut program, _builder) = Program::start(World::builder().await.lay_over(SOCKET)).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.log_in("ada").await;
    let kept = Load::start(vec![browser.clone(), browser.clone()]);
    let fresh = Load::with_fresh_connections(vec![browser.clone(), browser.clone()]);
    for _ in 0..10 {
        assert_eq!(program.upgrade().await, Some(0));
    }
    for load in [kept, fresh] {
        let (requests, connections) = load.stop().await;
        assert!(requests > 10 && connections > 10, "{requests} {connections}");
    }
    let probe = Browser::new(program.admin, "localhost").get("/readyz").await;
    probe.assert_status(200);
    let log = program.end().await;
    assert_eq!(log.matches("handed over to another process").count(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_ends_in_the_old_process() {
    let builder = World::builder().await.lay_over(SOCKET);
    builder.store.on("/open/slow", Reply::after(3000, Reply::Echo));
    let (mut program, builder) = Program::start(builder).await;
    let mut wire = Browser::new(program.address, "store.localhost").open().await;
    wire.send("GET /open/slow HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
    while builder.store.heads() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let slow = tokio::spawn(async move { receive(&mut wire, "GET", 1 << 16).await });
    assert_eq!(program.upgrade().await, Some(0));
    let answer = slow.await.unwrap().expect("an answer");
    answer.assert_status(200);
    assert!(!answer.keeps_alive);
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.send(Request::get("/open/now")).await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_that_fails_changes_nothing() {
    let (program, _builder) = Program::start(World::builder().await.lay_over(SOCKET)).await;
    program.logged(&["started"]).await;
    let path = program.file("upgrade.sock");
    // It is made a moment after the log says `started`.
    wait_for("the socket", || path.exists()).await;
    // Asks for the listeners and goes.
    drop(UnixStream::connect(path).unwrap());
    program.logged(&["this one goes on"]).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.log_in("ada").await;
}

/// Asks with the JWT alone: without a refresh token beside it, only the revocation list can tell.
fn only_jwt(browser: &Browser) -> Browser {
    let mut stolen = browser.clone();
    stolen.jar.remove(REFRESH);
    stolen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_revoked_stays_revoked() {
    let builder =
        World::builder().await.lay_over(SOCKET).lay_over("[server]\nadmin_token = 'a token of the tests'");
    let (mut program, _builder) = Program::start(builder).await;
    let log_in = |user: &'static str| {
        let mut browser = Browser::new(program.address, "store.localhost");
        async move {
            browser.log_in(user).await;
            browser
        }
    };
    let mut logged_out = log_in("ada").await;
    let mut living = log_in("ada").await;
    let mut revoked = only_jwt(&logged_out);
    let (mut of_subject, mut admin) =
        (only_jwt(&log_in("ben").await), Browser::new(program.admin, "localhost"));
    for browser in [&mut revoked, &mut living, &mut of_subject] {
        browser.get("/api/cart").await.assert_status(200);
    }
    logged_out.send(Request::post("/api/logout")).await.assert_status(204);
    let request = Request::post("/sessions/revoke").header("Authorization", "Bearer a token of the tests");
    admin.send(request.json(&serde_json::json!({"sub": "id-of-ben"}))).await.assert_status(204);
    // Twice: what came along goes on to the next.
    for _ in 0..2 {
        for browser in [&mut revoked, &mut of_subject] {
            browser.get("/api/cart").await.assert_status(401);
        }
        assert_eq!(program.upgrade().await, Some(0));
    }
    for browser in [&mut revoked, &mut of_subject] {
        browser.get("/api/cart").await.assert_status(401);
    }
    living.get("/api/cart").await.assert_status(200);
    let log = program.end().await;
    assert_eq!(log.matches("the process before has ended").count(), 2, "and nothing went wrong meanwhile");
}
