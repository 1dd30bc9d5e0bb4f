//! A replica that does not fit its fleet, or an engine that does not fit the replicas, is found out at the start.

use std::process::Command;

use crate::harness::fleet::OTHER_KEY;
use crate::harness::replica::Replica;
use crate::harness::{Engine, Fleet, Plan};
use crate::support::patiently;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_another_key_is_not_ready() {
    let engine = Engine::start().await;
    let mut fleet = Fleet::start(&engine.url()).await;
    let newcomer = fleet.newcomer(&format!("[shared_state]\nkeys = ['{OTHER_KEY}']"));
    is_refused(newcomer, "shared_state.keys").await;
    fleet.ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_another_replay_window_is_not_ready() {
    let engine = Engine::start().await;
    let mut fleet = Fleet::start(&engine.url()).await;
    is_refused(fleet.newcomer("[refresh]\nreplay_window = '20s'"), "replay_window").await;
    is_refused(fleet.newcomer("[shared_state]\nsettle = '1s'"), "settle").await;
    fleet.ready().await;
}

/// All know both keys, the second deployment uses the new one, and the third forgets the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_replaced_in_three_deployments() {
    let engine = Engine::start().await;
    let mut fleet = Fleet::with(&engine.url(), "[session]\nseal_keys = []").await;
    let old = crate::harness::fleet::KEY;
    let mut browser = fleet.logged_in(0, "ada").await;
    for keys in
        [format!("'{old}', '{OTHER_KEY}'"), format!("'{OTHER_KEY}', '{old}'"), format!("'{OTHER_KEY}'")]
    {
        for replica in 0..3 {
            let mut next = fleet.newcomer(&format!("[shared_state]\nkeys = [{keys}]"));
            next.ready().await;
            fleet.replicas[replica] = next;
            if replica == 1 {
                continue;
            }
            // The fleet is one also while some replicas are of the deployment before.
            fleet.expired(&browser).await;
            let mut tabs: Vec<_> = (0..3).map(|replica| fleet.tab(&browser, replica)).collect();
            let [one, two, three] = &mut tabs[..] else { unreachable!() };
            let answers = tokio::join!(one.get("/api/cart"), two.get("/api/cart"), three.get("/api/cart"));
            for answer in [answers.0, answers.1, answers.2] {
                answer.assert_status(200);
            }
            browser = fleet.tab(one, 0);
        }
    }
    assert_eq!(fleet.calls(), 6);
    fleet.assert_each_token_came_once();
}

/// An engine that evicts keys would forget claims.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_may_evict_keys_is_complained_about() {
    let engine = Engine::with("maxmemory 200mb\nmaxmemory-policy allkeys-lru\n", None).await;
    let mut fleet = Plan::shared(&engine.url()).await.launch(1);
    let replica = &mut fleet.replicas[0];
    replica.alive().await;
    replica.logged(&["maxmemory-policy", "noeviction"]).await;
    let doctor = doctor(replica);
    assert!(doctor.contains("maxmemory-policy") && doctor.contains("noeviction"), "{doctor}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_finds_nothing_wrong_with_a_good_engine_and_everything_with_none() {
    let mut engine = Engine::start().await;
    let fleet = Fleet::start(&engine.url()).await;
    let healthy = doctor(&fleet.replicas[0]);
    assert!(healthy.contains("shared") && !healthy.contains("maxmemory-policy allkeys"), "{healthy}");
    engine.kill();
    let sick = doctor(&fleet.replicas[0]);
    assert_ne!(sick, healthy);
    assert!(sick.contains(&engine.address().to_string()), "{sick}");
}

/// It says so, and has its share of the work as soon as the engine is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_without_the_engine_serve_all_the_same() {
    let mut engine = Engine::start().await;
    engine.kill();
    let mut fleet = Plan::shared(&engine.url()).await.launch(3);
    fleet.ready().await;
    let browser = fleet.logged_in(0, "ada").await;
    fleet.tab(&browser, 1).get("/api/cart").await.assert_status(200);
    engine.start_empty().await;
    fleet.expired(&browser).await;
    for replica in [0, 1, 2] {
        crate::calls_under_way::served_again(&fleet.tab(&browser, replica)).await;
    }
    assert_eq!(fleet.calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_say_whether_the_engine_is_there() {
    let mut engine = Engine::start().await;
    let mut fleet = Fleet::start(&engine.url()).await;
    is_up(&fleet.replicas[0], true).await;
    engine.kill();
    is_up(&fleet.replicas[0], false).await;
    // A replica that was ready stays so.
    fleet.ready().await;
    engine.start_empty().await;
    is_up(&fleet.replicas[0], true).await;
}

async fn is_up(replica: &Replica, expected: bool) {
    patiently("the metric", async {
        while (replica.metric("portcullis_shared_state_up").await > 0.5) != expected {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
}

/// Waits until a replica says why it is not ready, and checks that it stays so.
async fn is_refused(mut replica: Replica, reason: &str) {
    replica.alive().await;
    let reasons = async {
        loop {
            let answer = replica.admin("/readyz").await;
            if answer.status() == 503 && answer.text().contains(reason) {
                return;
            }
            assert_eq!(answer.status(), 503, "it is ready");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    patiently(reason, reasons).await;
    replica.logged(&["does not serve", reason]).await;
    assert_eq!(replica.admin("/readyz").await.status(), 503);
}

/// The output of `portcullis doctor` with the configuration of a replica.
fn doctor(replica: &Replica) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["doctor", "--config"])
        .arg(replica.file("gateway.toml"))
        .output()
        .expect("the program");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
