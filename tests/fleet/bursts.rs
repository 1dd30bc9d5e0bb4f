//! Parallel requests over all replicas while nothing fails.

use std::time::Duration;

use crate::harness::load::{ACCESS, REFRESH};
use crate::harness::{Engine, Fleet, Load, Plan};
use crate::support::{Answer, Browser};

/// The harness sees the loss that the fleet is there to prevent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_share_nothing_lose_sessions() {
    let fleet = Plan::alone().await.start().await;
    let load = Load::start(&fleet, 12).await;
    crate::support::wait_for("lost sessions", || load.outcomes().lost() > 3).await;
    load.stop().await;
    assert!(fleet.provider.reuses() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_sessions_lose_nothing_and_each_refresh_is_one_call() {
    let engine = Engine::start().await;
    let fleet = Fleet::start(&engine.url()).await;
    let load = Load::start(&fleet, 60).await;
    load.refreshes(&fleet, 60 * 3).await;
    load.stop().await.assert_only(&[200]);
    fleet.assert_each_token_came_once();
}

/// The refresh tokens are not sealed here, so that equal tokens are equal cookies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_and_fifty_requests_at_once_are_one_call_and_get_the_same_tokens() {
    let mut engine = Engine::start().await;
    let fleet = Fleet::with(&engine.url(), "[session]\nseal_keys = []").await;
    let old = fleet.logged_in(0, "ada").await;
    fleet.expired(&old).await;
    // What is refreshed now stays valid to the end of the test.
    fleet.provider.set(|settings| settings.lifetime = 300);
    let first = tokens(&all_at_once(&fleet, &old, 50).await);
    assert_eq!(first.len(), 1, "all get the same tokens");
    assert_eq!(fleet.calls(), 1);

    // The old cookies again, at each replica.
    assert_eq!(tokens(&all_at_once(&fleet, &old, 5).await), first);
    // The memory of the replicas has the result: they need no engine for it.
    engine.kill();
    assert_eq!(tokens(&all_at_once(&fleet, &old, 5).await), first);
    assert_eq!(fleet.calls(), 1);
    fleet.assert_each_token_came_once();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_is_sent_to_replicas_that_were_never_asked() {
    let mut engine = Engine::start().await;
    let fleet = Fleet::with(&engine.url(), "[session]\nseal_keys = []").await;
    let old = fleet.logged_in(0, "ada").await;
    fleet.expired(&old).await;
    fleet.provider.set(|settings| settings.lifetime = 300);
    let mut browser = fleet.tab(&old, 0);
    browser.get("/api/cart").await.assert_status(200);
    // A message takes less than a millisecond. Then nothing is left to ask.
    tokio::time::sleep(Duration::from_millis(500)).await;
    engine.kill();
    for replica in [1, 2] {
        let mut tab = fleet.tab(&old, replica);
        tab.get("/api/cart").await.assert_status(200);
        assert_eq!(tab.jar, browser.jar);
    }
    assert_eq!(fleet.calls(), 1);
}

/// A result that was made while a replica did not run comes from the engine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_starts_later_gives_the_same_tokens() {
    let engine = Engine::start().await;
    let mut fleet = Fleet::with(&engine.url(), "[session]\nseal_keys = []").await;
    let old = fleet.logged_in(0, "ada").await;
    fleet.expired(&old).await;
    fleet.provider.set(|settings| settings.lifetime = 300);
    let mut browser = fleet.tab(&old, 0);
    browser.get("/api/cart").await.assert_status(200);
    fleet.replicas.push(fleet.newcomer(""));
    fleet.replicas[3].ready().await;
    let mut tab = fleet.tab(&old, 3);
    tab.get("/api/cart").await.assert_status(200);
    assert_eq!(tab.jar, browser.jar);
    assert_eq!(fleet.calls(), 1);
}

/// Sends so many requests with the same cookies to each replica at once. All have to be answered with 200.
async fn all_at_once(fleet: &Fleet, browser: &Browser, at_each: usize) -> Vec<Answer> {
    let mut requests = tokio::task::JoinSet::new();
    for replica in 0..fleet.replicas.len() {
        for _ in 0..at_each {
            let mut tab = fleet.tab(browser, replica);
            requests.spawn(async move { tab.get("/api/cart").await });
        }
    }
    let answers = requests.join_all().await;
    for answer in &answers {
        answer.assert_status(200);
    }
    answers
}

/// The different tokens in these answers.
fn tokens(answers: &[Answer]) -> Vec<(String, String)> {
    let value = |answer: &Answer, name: &str| answer.set_cookie(name).expect("new cookies").value;
    let mut tokens: Vec<_> =
        answers.iter().map(|answer| (value(answer, ACCESS), value(answer, REFRESH))).collect();
    tokens.sort();
    tokens.dedup();
    tokens
}
