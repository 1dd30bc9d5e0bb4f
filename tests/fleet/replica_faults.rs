//! A replica ends: killed before, in and after its call to the provider, stopped, replaced.

use std::time::{Duration, Instant};

use crate::calls_under_way::{assert_unavailable, served_again};
use crate::harness::engine::Absence;
use crate::harness::{Engine, Fleet, Load, Plan};
use crate::support::{Browser, Endpoint, Fault, Request, wait_for};

const SESSIONS: usize = 24;
/// A part of the claim's 60 s, in which the test looks for a second presentation.
const WATCHED: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_killed_under_load_holds_up_at_most_what_it_was_refreshing() {
    let engine = Engine::start().await;
    let mut fleet = Fleet::start(&engine.url()).await;
    fleet.provider.fail(Endpoint::Refresh, Fault::delay(100));
    let load = Load::start(&fleet, SESSIONS).await;
    load.refreshes(&fleet, SESSIONS).await;
    for victim in 0..2 {
        fleet.replicas[victim].kill();
        let mut living = fleet.addresses();
        living.remove(victim);
        load.balance_over(living);
        load.refreshes(&fleet, SESSIONS).await;
        fleet.replicas[victim].start_again();
        fleet.replicas[victim].ready().await;
        load.balance_over(fleet.addresses());
    }
    load.refreshes(&fleet, SESSIONS).await;
    let outcomes = load.stop().await;
    // No answer came from a replica that was killed. Before a claim is over, its token is never presented again.
    outcomes.assert_only(&[0, 200, 503]);
    fleet.assert_each_token_came_once();
    assert!(outcomes.stuck() <= 4, "{} sessions wait for a claim's end", outcomes.stuck());
}

/// The provider never heard of the token, so the session is served again when the claim is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_replica_was_killed_before_the_provider_heard_it_is_saved() {
    let engine = Engine::start().await;
    let mut fleet = Fleet::start(&engine.url()).await;
    let browser = killed_in_a_call(&mut fleet, Fault::Unheard).await;
    nobody_presents_it_again(&fleet, &browser).await;
    let waiting = async {
        while fleet.tab(&browser, 1).get("/api/cart").await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), waiting).await.expect("200 when the claim is over");
    assert_eq!(fleet.calls(), 2);
    assert_eq!(fleet.provider.reuses(), 0);
    let mut counted = 0.0;
    for replica in &fleet.replicas[1..] {
        counted += replica.metric("portcullis_shared_state_second_presentations_total").await;
    }
    assert!((counted - 1.0).abs() < 0.5, "{counted} second presentations were counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_presents_a_token_again_whose_replica_was_killed_after_the_provider_took_it() {
    let engine = Engine::start().await;
    let mut fleet = Fleet::start(&engine.url()).await;
    let browser = killed_in_a_call(&mut fleet, Fault::delay(5000)).await;
    nobody_presents_it_again(&fleet, &browser).await;
    assert_eq!(fleet.provider.reuses(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_grace_period_another_replica_takes_the_claim_of_a_killed_one() {
    let engine = Engine::start().await;
    let plan = Plan::shared(&engine.url()).await.lay_over("[identity_providers.main]\nrefresh_grace = '20s'");
    plan.provider.set(|settings| settings.grace = Duration::from_secs(20));
    let mut fleet = plan.start().await;
    let browser = killed_in_a_call(&mut fleet, Fault::delay(5000)).await;
    served_again(&fleet.tab(&browser, 1)).await;
    served_again(&fleet.tab(&browser, 2)).await;
    assert_eq!(fleet.calls(), 2);
    assert_eq!(fleet.provider.reuses(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_has_refreshed_survives_its_end() {
    let engine = Engine::start().await;
    let mut fleet = Fleet::start(&engine.url()).await;
    let browser = fleet.logged_in(0, "ada").await;
    fleet.expired(&browser).await;
    fleet.tab(&browser, 0).get("/api/cart").await.assert_status(200);
    fleet.replicas[0].kill();
    for replica in [1, 2] {
        fleet.tab(&browser, replica).get("/api/cart").await.assert_status(200);
    }
    assert_eq!(fleet.calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_stopped_under_load_loses_nothing() {
    let engine = Engine::start().await;
    let mut fleet = Fleet::start(&engine.url()).await;
    fleet.provider.fail(Endpoint::Refresh, Fault::delay(300));
    let load = Load::start(&fleet, SESSIONS).await;
    load.refreshes(&fleet, SESSIONS).await;
    load.balance_over(fleet.addresses()[1..].to_vec());
    fleet.replicas[0].terminate();
    assert_eq!(fleet.replicas[0].exited().await, Some(0));
    load.calms_down(Instant::now()).await;
    // The balancer may have chosen it a moment before, and then nobody listens.
    load.stop().await.assert_only(&[0, 200]);
    fleet.assert_each_token_came_once();
}

/// The client is told 503 after a while. The process ends only when the others have the tokens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_the_answer_to_a_refresh() {
    let engine = Engine::start().await;
    let toml = "[server]\nshutdown_grace = '1s'\n[identity_providers.main]\nrequest_timeout = '1s'";
    let mut fleet = Fleet::with(&engine.url(), toml).await;
    let browser = fleet.logged_in(0, "ada").await;
    fleet.expired(&browser).await;
    fleet.provider.set(|settings| settings.lifetime = 300);
    fleet.provider.fail_next(Endpoint::Refresh, Fault::delay(6000));
    let mut tab = fleet.tab(&browser, 0);
    let asked = tokio::spawn(async move { tab.get("/api/cart").await });
    wait_for("the call", || fleet.calls() == 1).await;
    fleet.replicas[0].terminate();
    assert_unavailable(&asked.await.unwrap());
    fleet.replicas[0].exited().await;
    for replica in [1, 2] {
        fleet.tab(&browser, replica).get("/api/cart").await.assert_status(200);
    }
    fleet.assert_each_token_came_once();
}

/// What it has to tell the others waits for the engine, but not for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_stops_also_while_the_engine_is_away() {
    for absence in [Absence::Paused, Absence::Killed] {
        let mut engine = Engine::start().await;
        let mut fleet = Fleet::start(&engine.url()).await;
        let mut browser = fleet.logged_in(0, "ada").await;
        engine.leave(absence);
        browser.send(Request::post("/api/logout")).await.assert_status(204);
        fleet.replicas[0].terminate();
        assert_eq!(fleet.replicas[0].exited().await, Some(0), "{absence:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_lose_nothing() {
    let engine = Engine::start().await;
    let mut fleet = Fleet::start(&engine.url()).await;
    fleet.provider.fail(Endpoint::Refresh, Fault::delay(300));
    let load = Load::start(&fleet, SESSIONS).await;
    load.refreshes(&fleet, SESSIONS).await;
    for replica in &mut fleet.replicas {
        assert_eq!(replica.upgrade().await, Some(0));
    }
    load.calms_down(Instant::now()).await;
    load.stop().await.assert_only(&[200]);
    fleet.assert_each_token_came_once();
}

/// Kills the first replica while its refresh call is under way. The browser whose session it was, with its old cookies.
async fn killed_in_a_call(fleet: &mut Fleet, fault: Fault) -> Browser {
    let browser = fleet.logged_in(0, "ada").await;
    fleet.expired(&browser).await;
    fleet.provider.set(|settings| settings.lifetime = 300);
    fleet.provider.fail_next(Endpoint::Refresh, fault);
    let mut tab = fleet.tab(&browser, 0);
    // It gets no answer, and panics about that.
    let asked = tokio::spawn(async move { tab.get("/api/cart").await });
    wait_for("the call", || fleet.calls() == 1).await;
    fleet.replicas[0].kill();
    assert!(asked.await.is_err(), "a killed replica answers nothing");
    browser
}

async fn nobody_presents_it_again(fleet: &Fleet, browser: &Browser) {
    let killed = Instant::now();
    let mut replicas = [1, 2].into_iter().cycle();
    while killed.elapsed() < WATCHED {
        let replica = replicas.next().unwrap();
        assert_unavailable(&fleet.tab(browser, replica).get("/api/cart").await);
        assert_eq!(fleet.calls(), 1);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
