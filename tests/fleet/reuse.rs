//! A refresh token that comes again long after it was replaced ends its session, at whatever replica it comes.

use std::time::Duration;

use crate::harness::{Engine, Fleet, soon};
use crate::support::Browser;

/// `refresh.replay_window`.
const WINDOW: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_refresh_token_at_another_replica_ends_the_session_everywhere() {
    let engine = Engine::start().await;
    let fleet = Fleet::with(&engine.url(), "[refresh]\nreplay_window = '1s'").await;
    let (old, new) = refreshed(&fleet, "ada").await;
    let (_, bystander) = refreshed(&fleet, "bob").await;
    // The first use of what replaced it, and the end of the window.
    fleet.tab(&new, 1).get("/api/cart").await.assert_status(200);
    tokio::time::sleep(WINDOW + Duration::from_secs(1)).await;
    fleet.tab(&old, 2).get("/api/cart").await.assert_problem(401, "session_expired");
    for replica in [0, 1, 2] {
        soon("the end of the session", async {
            while fleet.tab(&new, replica).get("/api/cart").await.status() != 401 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    assert_eq!(fleet.calls(), 2, "the provider need not be asked");
    for replica in [0, 1, 2] {
        fleet.tab(&bystander, replica).get("/api/cart").await.assert_status(200);
    }
}

/// Within the window it is a second tab, at any replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_refresh_token_within_its_window_gets_the_new_tokens_everywhere() {
    let engine = Engine::start().await;
    let fleet = Fleet::start(&engine.url()).await;
    let (old, new) = refreshed(&fleet, "ada").await;
    fleet.tab(&new, 1).get("/api/cart").await.assert_status(200);
    tokio::time::sleep(WINDOW + Duration::from_secs(1)).await;
    for replica in [0, 1, 2] {
        fleet.tab(&old, replica).get("/api/cart").await.assert_status(200);
        fleet.tab(&new, replica).get("/api/cart").await.assert_status(200);
    }
    assert_eq!(fleet.calls(), 1);
}

/// Signs in, and refreshes at the first replica: the browser before, and after.
async fn refreshed(fleet: &Fleet, user: &str) -> (Browser, Browser) {
    fleet.provider.set(|settings| settings.lifetime = 4);
    let old = fleet.logged_in(0, user).await;
    fleet.expired(&old).await;
    fleet.provider.set(|settings| settings.lifetime = 300);
    let mut new = fleet.tab(&old, 0);
    new.get("/api/cart").await.assert_status(200);
    (old, new)
}
