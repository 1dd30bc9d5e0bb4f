//! Two nodes that both take themselves for the master. Only the one whose claims are copied grants any.

use std::time::{Duration, Instant};

use crate::harness::{Engine, Forwarder, Load, Plan};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_wait_replicas_two_masters_present_no_token_twice() {
    let old = Engine::start().await;
    let new = old.follower().await;
    let _follower_of_new = new.follower().await;
    let majority = Forwarder::start(old.address()).await;
    let minority = Forwarder::start(old.address()).await;
    let plan = Plan::shared(&majority.url()).await.lay_over("[shared_state]\nwait_replicas = 1");
    let mut fleet = plan.launch(2);
    fleet.replicas.push(fleet.newcomer(&format!("[shared_state]\nurl = '{}'", minority.url())));
    fleet.ready().await;
    let load = Load::start(&fleet, 18).await;
    load.refreshes(&fleet, 18).await;

    new.promote().await;
    majority.lead_to(new.address());
    majority.cut();
    majority.mend().await;
    // The third replica goes on with the old master, which has no follower any more.
    load.refreshes(&fleet, 18).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    minority.lead_to(new.address());
    minority.cut();
    minority.mend().await;
    load.calms_down(Instant::now()).await;
    load.stop().await.assert_only(&[200, 503]);
    fleet.assert_each_token_came_once();
}
