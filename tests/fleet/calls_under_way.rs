//! The engine ends while a replica waits for the provider's answer: the claim is lost, and still nobody else presents
//! the token.

use std::time::Duration;

use crate::harness::{Engine, Fleet, Forwarder, Plan};
use crate::support::client::Answer;
use crate::support::{Browser, Endpoint, Fault, patiently, wait_for};

/// The provider answers after this time, while the engine is gone and comes back.
const CALL: u64 = 2500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_comes_back_empty_leads_to_no_second_call() {
    let mut engine = Engine::start().await;
    let fleet = Fleet::start(&engine.url()).await;
    one_call(&fleet, async || {
        engine.kill();
        engine.start_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_comes_back_with_all_data_leads_to_no_second_call() {
    let mut engine = Engine::durable().await;
    let fleet = Fleet::start(&engine.url()).await;
    one_call(&fleet, async || {
        engine.kill();
        engine.start_again().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_comes_back_with_old_data_leads_to_no_second_call() {
    let mut engine = Engine::start().await;
    let fleet = Fleet::start(&engine.url()).await;
    engine.save().await;
    one_call(&fleet, async || {
        engine.kill();
        engine.start_again().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_stays_away_until_the_answer_is_there_leads_to_no_second_call() {
    let mut engine = Engine::start().await;
    let fleet = Fleet::start(&engine.url()).await;
    one_call(&fleet, async || {
        engine.kill();
        tokio::time::sleep(Duration::from_millis(CALL + 500)).await;
        engine.start_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_are_deleted_lead_to_no_second_call() {
    let engine = Engine::start().await;
    let fleet = Fleet::start(&engine.url()).await;
    one_call(&fleet, async || {
        engine.ask(&["FLUSHALL"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_missed_the_claim_leads_to_no_second_call() {
    let mut master = Engine::start().await;
    let follower = master.follower().await;
    let service = Forwarder::start(master.address()).await;
    let fleet = Fleet::start(&service.url()).await;
    // From here on the follower misses everything, as if its copies were late.
    follower.promote().await;
    one_call(&fleet, async || {
        service.lead_to(follower.address());
        master.kill();
    })
    .await;
}

/// The replica that calls reaches the new engine later than the others do. Until then, nobody is granted anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_comes_back_empty_waits_for_those_who_come_late() {
    let mut engine = Engine::start().await;
    let late = Forwarder::start(engine.address()).await;
    let mut fleet = Plan::shared(&engine.url()).await.lay_over("[shared_state]\nsettle = '6s'").launch(2);
    fleet.replicas.insert(0, fleet.newcomer(&format!("[shared_state]\nurl = '{}'", late.url())));
    fleet.ready().await;
    let browser = fleet.logged_in(0, "ada").await;
    fleet.expired(&browser).await;
    fleet.provider.set(|settings| settings.lifetime = 300);
    fleet.provider.fail_next(Endpoint::Refresh, Fault::delay(9000));
    let mut first = fleet.tab(&browser, 0);
    let asked = tokio::spawn(async move { first.get("/api/cart").await });
    wait_for("the call", || fleet.calls() == 1).await;
    late.cut();
    engine.start_empty().await;
    let mut others = tokio::task::JoinSet::new();
    for replica in [1, 2] {
        let tab = fleet.tab(&browser, replica);
        others.spawn(async move { served_again(&tab).await });
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    late.mend().await;
    assert_unavailable(&asked.await.unwrap());
    patiently("200 at the others", others.join_all()).await;
    served_again(&fleet.tab(&browser, 0)).await;
    assert_eq!(fleet.calls(), 1);
}

/// Refreshes a session at one replica. While the provider takes its time, `event` happens, and the browser's requests
/// go on at all replicas.
async fn one_call(fleet: &Fleet, event: impl AsyncFnOnce()) {
    let browser = fleet.logged_in(0, "ada").await;
    fleet.expired(&browser).await;
    fleet.provider.set(|settings| settings.lifetime = 300);
    fleet.provider.fail_next(Endpoint::Refresh, Fault::delay(CALL));
    let mut requests = tokio::task::JoinSet::new();
    let mut first = fleet.tab(&browser, 0);
    requests.spawn(async move { first.get("/api/cart").await });
    wait_for("the call", || fleet.calls() == 1).await;
    for replica in 0..3 {
        for _ in 0..5 {
            let mut tab = fleet.tab(&browser, replica);
            requests.spawn(async move { tab.get("/api/cart").await });
        }
    }
    event().await;
    for replica in 0..3 {
        let mut tab = fleet.tab(&browser, replica);
        requests.spawn(async move { tab.get("/api/cart").await });
    }
    for answer in patiently("all answers", requests.join_all()).await {
        assert_served_or_unavailable(&answer);
    }
    for replica in 0..3 {
        served_again(&fleet.tab(&browser, replica)).await;
    }
    assert_eq!(fleet.calls(), 1);
    fleet.assert_each_token_came_once();
}

/// Fails the test on anything but 200, or 503 that keeps the cookies.
#[track_caller]
pub(crate) fn assert_served_or_unavailable(answer: &Answer) {
    if answer.status() != 200 {
        assert_unavailable(answer);
    }
}

/// Fails the test on anything but 503 that keeps the cookies and says when to come back.
#[track_caller]
pub(crate) fn assert_unavailable(answer: &Answer) {
    answer.assert_status(503);
    assert!(answer.header("retry-after").is_some(), "no Retry-After: {:?}", answer.head);
    assert!(answer.set_cookies().is_empty(), "the cookies are to stay: {:?}", answer.set_cookies());
}

/// Asks with the same cookies until the answer is 200. Nothing but 503 may come before.
pub(crate) async fn served_again(browser: &Browser) -> Answer {
    patiently("200", async {
        loop {
            let answer = browser.clone().get("/api/cart").await;
            assert_served_or_unavailable(&answer);
            if answer.status() == 200 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await
}
