//! A request with a valid JWT knows no engine.

use std::time::Duration;

use portcullis::system::clock::{Clock, SystemClock};

use crate::calls_under_way::{assert_unavailable, served_again};
use crate::harness::engine::Absence;
use crate::harness::fleet::claim;
use crate::harness::load::ACCESS;
use crate::harness::{Engine, Fleet, Plan, soon};

/// Each request at a time, and so many that those who wait for the engine take several times as long.
const REQUESTS: usize = 200;
const LIMIT: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_valid_jwt_waits_for_no_engine() {
    let mut engine = Engine::start().await;
    let plan = Plan::shared(&engine.url()).await;
    plan.provider.set(|settings| settings.lifetime = 300);
    let fleet = plan.start().await;
    let browser = fleet.logged_in(0, "ada").await;
    let mut tabs: Vec<_> = (0..3).map(|replica| fleet.tab(&browser, replica)).collect();
    for state in ["running", "paused", "gone"] {
        match state {
            "paused" => engine.pause(),
            "gone" => engine.kill(),
            _ => {}
        }
        let asking = async {
            for number in 0..REQUESTS {
                tabs[number % 3].get("/api/cart").await.assert_status(200);
            }
        };
        let outcome = tokio::time::timeout(LIMIT, asking).await;
        assert!(outcome.is_ok(), "requests wait while the engine is {state}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_without_the_engine_is_503_and_keeps_the_cookies() {
    for absence in [Absence::Paused, Absence::Killed] {
        let mut engine = Engine::start().await;
        let fleet = Fleet::start(&engine.url()).await;
        let browser = fleet.logged_in(0, "ada").await;
        fleet.expired(&browser).await;
        engine.leave(absence);
        for replica in [0, 1, 2] {
            let mut tab = fleet.tab(&browser, replica);
            assert_unavailable(&soon("503", tab.get("/api/cart")).await);
        }
        assert_eq!(fleet.calls(), 0);
        engine.come_back(absence).await;
        for replica in [0, 1, 2] {
            served_again(&fleet.tab(&browser, replica)).await;
        }
        assert_eq!(fleet.calls(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jwt_that_is_to_be_refreshed_early_is_used_while_the_engine_is_away() {
    let engine = Engine::start().await;
    let plan = Plan::shared(&engine.url()).await;
    plan.provider.set(|settings| settings.lifetime = 10);
    let fleet = plan.start().await;
    let browser = fleet.logged_in(0, "ada").await;
    let expires = claim(&browser.jar[ACCESS], "exp");
    engine.pause();
    // It is refreshed early in its last quarter.
    while SystemClock.now() + 1 < expires {
        for replica in [0, 1, 2] {
            fleet.tab(&browser, replica).get("/api/cart").await.assert_status(200);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(fleet.calls(), 0);
}
