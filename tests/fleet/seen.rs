//! What an operator sees of a fleet.

use crate::harness::{Engine, Fleet};
use crate::support::Request;

/// The metrics, without `portcullis_shared_state_`.
const METRICS: [&str; 14] = [
    "up",
    "commands_seconds",
    "errors_total",
    "claims_total",
    "refused_total",
    "replayed_total",
    "generation_changes_total",
    "reasserted_total",
    "outbox_entries",
    "unknown_outcomes_total",
    "second_presentations_total",
    "revocations",
    "revocations_staleness_seconds",
    "throttle_fallback_total",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_are_those_that_are_documented() {
    let mut engine = Engine::start().await;
    let fleet = Fleet::start(&engine.url()).await;
    let browser = fleet.logged_in(0, "ada").await;
    fleet.expired(&browser).await;
    for replica in [0, 1] {
        fleet.tab(&browser, replica).get("/api/cart").await.assert_status(200);
    }
    let claims = fleet.replicas[0].metric("portcullis_shared_state_claims_total").await;
    assert!(claims > 0.5, "{claims} claims");
    let replayed = fleet.replicas[1].metric("portcullis_shared_state_replayed_total").await;
    assert!(replayed > 0.5, "{replayed} replayed");
    // Without the engine there are errors, refusals and logins that are counted here alone.
    engine.kill();
    fleet.provider.end_all_sessions();
    fleet.replicas[0].browser().try_log_in("ada", "wrong").await.assert_status(401);
    let other = fleet.logged_in(0, "bob").await;
    fleet.expired(&other).await;
    fleet.tab(&other, 0).get("/api/cart").await.assert_status(503);
    fleet.tab(&other, 0).send(Request::post("/api/logout")).await.assert_status(204);
    let text = fleet.replicas[0].admin("/metrics").await.text();
    for name in METRICS {
        assert!(text.contains(&format!("# TYPE portcullis_shared_state_{name} ")), "no `{name}`: {text}");
    }
    let waiting = fleet.replicas[0].metric("portcullis_shared_state_outbox_entries").await;
    assert!(waiting > 0.5, "{waiting} entries of the outbox");
}
