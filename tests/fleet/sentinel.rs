//! Sentinel says which node is the master.

use std::time::{Duration, Instant};

use crate::calls_under_way::served_again;
use crate::harness::{Engine, Fleet, Load};
use crate::support::patiently;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_is_found_and_a_failover_is_followed() {
    let mut master = Engine::start().await;
    let follower = master.follower().await;
    let sentinel = Engine::sentinel(master.address()).await;
    knows_the_follower(&sentinel).await;
    let fleet = Fleet::start(&format!("redis+sentinel://{}/mymaster", sentinel.address())).await;
    let browser = fleet.logged_in(0, "ada").await;
    let mut tab = fleet.tab(&browser, 1);
    fleet.expired(&browser).await;
    tab.get("/api/cart").await.assert_status(200);
    assert!(!master.keys().await.is_empty(), "the master is used");
    fleet.expired(&tab).await;

    master.kill();
    is_master(&sentinel, follower.address().port()).await;
    for replica in [2, 1, 0] {
        served_again(&fleet.tab(&tab, replica)).await;
    }
    assert!(follower.info("commandstats").await.contains("cmdstat_eval"), "the new master is used");
    fleet.assert_each_token_came_once();
}

/// The old master stays, and refuses every change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_under_load_loses_no_session() {
    let master = Engine::start().await;
    let follower = master.follower().await;
    let sentinel = Engine::sentinel(master.address()).await;
    knows_the_follower(&sentinel).await;
    let fleet = Fleet::start(&format!("redis+sentinel://{}/mymaster", sentinel.address())).await;
    let load = Load::start(&fleet, 12).await;
    load.refreshes(&fleet, 12).await;
    sentinel.ask(&["SENTINEL", "FAILOVER", "mymaster"]).await;
    is_master(&sentinel, follower.address().port()).await;
    load.calms_down(Instant::now()).await;
    load.stop().await.assert_only(&[200, 503]);
    fleet.assert_each_token_came_once();
}

async fn knows_the_follower(sentinel: &Engine) {
    patiently("the sentinel to know both", async {
        while sentinel.ask(&["SENTINEL", "REPLICAS", "mymaster"]).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

async fn is_master(sentinel: &Engine, port: u16) {
    patiently("the failover", async {
        loop {
            let master = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]).await;
            if master.last() == Some(&port.to_string()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}
