//! Single refreshes on which something goes wrong.

use std::time::Duration;

use crate::calls_under_way::{assert_unavailable, served_again};
use crate::harness::{Engine, Fleet, Forwarder, Plan};
use crate::support::{Endpoint, Fault};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_answer_is_lost_has_no_second_owner_and_no_orphan() {
    let engine = Engine::start().await;
    let forwarder = Forwarder::start(engine.address()).await;
    let mut fleet = Plan::shared(&engine.url()).await.launch(2);
    fleet.replicas.insert(0, fleet.newcomer(&format!("[shared_state]\nurl = '{}'", forwarder.url())));
    fleet.ready().await;
    let browser = fleet.logged_in(0, "ada").await;
    fleet.expired(&browser).await;
    forwarder.lose_answer_to(":r:");
    let mut tabs = tokio::task::JoinSet::new();
    for replica in [0, 1, 2, 0, 1, 2] {
        let tab = fleet.tab(&browser, replica);
        tabs.spawn(async move { served_again(&tab).await });
    }
    tabs.join_all().await;
    assert_eq!(forwarder.lost(), 1);
    assert_eq!(fleet.calls(), 1);
}

/// The request waits for 5 s, and the replica for the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_of_a_slow_provider_is_for_the_next_request() {
    let engine = Engine::start().await;
    let fleet = Fleet::start(&engine.url()).await;
    let browser = fleet.logged_in(0, "ada").await;
    fleet.expired(&browser).await;
    fleet.provider.set(|settings| settings.lifetime = 300);
    fleet.provider.fail_next(Endpoint::Refresh, Fault::delay(8000));
    let mut tab = fleet.tab(&browser, 0);
    assert_unavailable(&tab.get("/api/cart").await);
    for replica in [1, 2, 0] {
        served_again(&fleet.tab(&browser, replica)).await;
    }
    assert_eq!(fleet.calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_the_provider_certainly_did_not_process_is_made_again() {
    let engine = Engine::start().await;
    let fleet = Fleet::start(&engine.url()).await;
    let browser = fleet.logged_in(0, "ada").await;
    fleet.expired(&browser).await;
    fleet.provider.fail_next(Endpoint::Refresh, Fault::status(503, "{}"));
    assert_unavailable(&fleet.tab(&browser, 0).get("/api/cart").await);
    served_again(&fleet.tab(&browser, 1)).await;
    assert_eq!(fleet.calls(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_grace_period_an_answer_that_is_lost_loses_no_session() {
    let engine = Engine::start().await;
    let plan = Plan::shared(&engine.url()).await.lay_over("[identity_providers.main]\nrefresh_grace = '20s'");
    plan.provider.set(|settings| settings.grace = Duration::from_secs(20));
    let fleet = plan.start().await;
    let browser = fleet.logged_in(0, "ada").await;
    fleet.expired(&browser).await;
    fleet.provider.fail_next(Endpoint::Refresh, Fault::Lost);
    for replica in [0, 1, 2] {
        served_again(&fleet.tab(&browser, replica)).await;
    }
    assert_eq!(fleet.calls(), 2);
    assert_eq!(fleet.provider.reuses(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definite_refusal_ends_the_session_at_all_replicas_with_one_call() {
    let engine = Engine::start().await;
    let fleet = Fleet::start(&engine.url()).await;
    let browser = fleet.logged_in(0, "ada").await;
    fleet.expired(&browser).await;
    fleet.provider.end_all_sessions();
    for replica in [0, 1, 2] {
        fleet.tab(&browser, replica).get("/api/cart").await.assert_problem(401, "session_expired");
    }
    assert_eq!(fleet.calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_has_too_few_copies_is_not_used() {
    let engine = Engine::start().await;
    let fleet = Fleet::with(&engine.url(), "[shared_state]\nwait_replicas = 1").await;
    let browser = fleet.logged_in(0, "ada").await;
    fleet.expired(&browser).await;
    for replica in [0, 1, 2] {
        assert_unavailable(&fleet.tab(&browser, replica).get("/api/cart").await);
    }
    assert_eq!(fleet.calls(), 0);
    // A second node that has all data.
    let _follower = engine.follower().await;
    for replica in [0, 1, 2] {
        served_again(&fleet.tab(&browser, replica)).await;
    }
    assert_eq!(fleet.calls(), 1);
}
