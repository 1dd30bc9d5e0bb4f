//! A session that is used at one replica is not idle at another.

use std::time::Duration;

use portcullis::system::clock::{Clock, SystemClock};

use crate::harness::{Engine, Plan};

/// `session.idle_lifetime`.
const IDLE: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_used_at_one_replica_is_not_idle_at_another() {
    let engine = Engine::start().await;
    let plan = Plan::shared(&engine.url()).await.lay_over(&format!("[session]\nidle_lifetime = '{IDLE}s'"));
    plan.provider.set(|settings| settings.lifetime = 300);
    let fleet = plan.start().await;
    let idle = fleet.logged_in(0, "bob").await;
    let used = fleet.logged_in(0, "ada").await;
    // Sticky: all requests go to the first replica, for longer than a session may be idle.
    let until = SystemClock.now() + 2 * IDLE;
    while SystemClock.now() < until {
        fleet.tab(&used, 0).get("/api/cart").await.assert_status(200);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for replica in [1, 2] {
        fleet.tab(&used, replica).get("/api/cart").await.assert_status(200);
    }
    for replica in [0, 1, 2] {
        fleet.tab(&idle, replica).get("/api/cart").await.assert_status(401);
    }
}
