//! Wrong passwords count over all replicas, and logins of one user take turns.

use crate::harness::engine::Absence;
use crate::harness::{Engine, Fleet, Plan, soon};
use crate::support::{Endpoint, Fault};

const LIMITS: &str = "[server.limits]\nfailed_logins_per_name = 20\nmax_waiting_logins = 1000";
const BY_ADDRESS: &str = "[server.limits]\nfailed_logins_per_name = 1000\nfailed_logins_per_address = 20";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_in_turn_have_the_limit_of_one_replica() {
    let engine = Engine::start().await;
    let fleet = Fleet::with(&engine.url(), LIMITS).await;
    let mut refused = 0;
    for number in 0..40 {
        refused += usize::from(wrong_password(&fleet, number, "ada").await == 429);
    }
    limit_of_one(&fleet, refused);
    // Another user has no part in it.
    fleet.logged_in(1, "bob").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_at_once_have_the_limit_of_one_replica() {
    let engine = Engine::start().await;
    let fleet = std::sync::Arc::new(Fleet::with(&engine.url(), LIMITS).await);
    fleet.provider.fail(Endpoint::Login, Fault::delay(20));
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..40 {
        let fleet = std::sync::Arc::clone(&fleet);
        guesses.spawn(async move { wrong_password(&fleet, number, "ada").await });
    }
    let statuses = guesses.join_all().await;
    limit_of_one(&fleet, statuses.into_iter().filter(|status| *status == 429).count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_of_many_names_have_the_limit_of_one_replica() {
    let engine = Engine::start().await;
    let fleet = Fleet::with(&engine.url(), BY_ADDRESS).await;
    let mut refused = 0;
    for number in 0..40 {
        refused += usize::from(wrong_password(&fleet, number, &format!("user{number}")).await == 429);
    }
    limit_of_one(&fleet, refused);
}

/// Each replica then has its share of the limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_engine_logins_are_answered_and_local_limits_hold() {
    for absence in [Absence::Paused, Absence::Killed] {
        let mut engine = Engine::start().await;
        let fleet = Fleet::with(&engine.url(), LIMITS).await;
        engine.leave(absence);
        for replica in &fleet.replicas {
            let mut browser = replica.browser();
            soon("an answer", browser.try_log_in("bob", "correct horse")).await.assert_status(200);
        }
        let before = fleet.provider.count(Endpoint::Login);
        for number in 0..90 {
            wrong_password(&fleet, number, "ada").await;
        }
        let guesses = fleet.provider.count(Endpoint::Login) - before;
        // 20 divided by 3 is 7 for each. Some are forgotten while the test takes its time.
        assert!((3..=24).contains(&guesses), "{guesses} passwords were tried");
    }
}

/// Keycloak refuses logins of one user that come at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_of_one_user_take_turns_over_all_replicas() {
    let engine = Engine::start().await;
    let plan = Plan::shared(&engine.url()).await.lay_over(LIMITS);
    let fleet = plan.start().await;
    fleet.provider.fail(Endpoint::Login, Fault::delay(50));
    let mut logins = tokio::task::JoinSet::new();
    for number in 0..12 {
        let mut browser = fleet.replicas[number % 3].browser();
        logins.spawn(async move { browser.log_in("ada").await });
    }
    logins.join_all().await;
    assert_eq!(fleet.provider.count(Endpoint::Login), 12);
    assert_eq!(fleet.provider.most_parallel(Endpoint::Login), 1);
}

/// Guesses at one of the replicas; the status.
async fn wrong_password(fleet: &Fleet, number: usize, user: &str) -> u16 {
    let replica = &fleet.replicas[number % fleet.replicas.len()];
    replica.browser().try_log_in(user, "wrong").await.status()
}

/// Fails the test unless 20 of 40 were tried, or one more that was forgotten meanwhile.
fn limit_of_one(fleet: &Fleet, refused: usize) {
    let tried = fleet.provider.count(Endpoint::Login);
    assert!((20..=22).contains(&tried), "{tried} passwords were tried");
    assert_eq!(tried + refused, 40);
}
