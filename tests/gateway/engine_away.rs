//! What operators see of a replica whose engine is away, and that they see nothing of it without `[shared_state]`.

use serde_json::{Value, json};

use crate::support::collector::Collector;
use crate::support::gateway::ACCESS;
use crate::support::program::Program;
use crate::support::{Browser, Request, World, patiently, wait_for};

/// Nobody listens on this port.
const TABLE: &str =
    "[shared_state]\nurl = 'redis://127.0.0.1:1'\nkeys = ['a2V5IG9mIHRoZSB0ZXN0ZWQgZmxlZXQsIG5vIHNlY3I=']";

const LOG: &str = "[server.log]\nformat = 'json'\nlevel = 'info'";

/// The beginnings of lines of `/metrics`, after one refresh that was refused.
const SERIES: [&str; 14] = [
    "portcullis_shared_state_up 0",
    r#"portcullis_shared_state_claims_total{outcome="away"} 1"#,
    r#"portcullis_shared_state_claims_total{outcome="mine"} 0"#,
    r#"portcullis_shared_state_refused_total{reason="away"} 1"#,
    r#"portcullis_shared_state_replayed_total{from="engine"} 0"#,
    r#"portcullis_shared_state_errors_total{kind="away",op="claim"} 1"#,
    "portcullis_shared_state_reasserted_total 0",
    "portcullis_shared_state_unknown_outcomes_total 0",
    "portcullis_shared_state_second_presentations_total 0",
    "portcullis_shared_state_members 0",
    "portcullis_shared_state_revocations 0",
    "portcullis_shared_state_results_bytes 0",
    "portcullis_shared_state_outbox_entries ",
    "portcullis_shared_state_revocations_staleness_seconds ",
];

fn lines(log: &str) -> Vec<Value> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_status_page_logs_and_traces_tell_of_it() {
    let collector = Collector::start().await;
    let builder = World::builder().await.lay_over(TABLE).lay_over(LOG).lay_over(&collector.toml());
    let (program, builder) = Program::start_unready_quietly(builder).await;
    let admin = || Browser::new(program.admin, "localhost");
    let waiting = admin().get("/readyz").await;
    waiting.assert_status(503);
    let reasons = waiting.json()["reasons"].to_string();
    assert!(reasons.contains("has not been reached yet"), "{reasons}");
    patiently("serving without the engine", async {
        while admin().get("/readyz").await.status() != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;

    let mut browser = Browser::new(program.address, "store.localhost");
    browser.log_in("ada").await;
    browser.get("/api/cart").await.assert_status(200);
    browser.jar.remove(ACCESS);
    let before = browser.jar.clone();
    let refused = browser.get("/api/cart").await;
    refused.assert_status(503);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(browser.jar, before, "the cookies are kept");

    let status = admin().get("/status.json").await.json();
    assert_eq!(status["shared_state"]["engine"]["is_up"], false);
    assert_eq!(status["shared_state"]["engine"]["address"], "127.0.0.1:1");
    assert!(status["findings"].to_string().contains("engine 127.0.0.1:1"), "{}", status["findings"]);
    let page = admin().get("/").await.text();
    assert!(page.contains("<h2>Shared state</h2>") && page.contains("never reached"), "{page}");
    let metrics = program.metrics().await;
    for series in SERIES {
        assert!(metrics.lines().any(|line| line.starts_with(series)), "{series}: {metrics}");
    }

    wait_for("a span", || !collector.spans().is_empty()).await;
    let log = program.end().await;
    drop(builder);
    let replica = replica_of(&log);
    assert_eq!(status["shared_state"]["replica"], replica);
    assert_eq!(collector.spans()[0].instance.as_deref(), replica.as_str());
}

/// Checks the log, and returns the id of the replica.
fn replica_of(log: &str) -> Value {
    let lines = lines(log);
    let said =
        |text: &str| lines.iter().find(|line| line["message"].as_str().is_some_and(|it| it.contains(text)));
    let replica = said("this process is a replica of a fleet").expect("the start")["replica"].clone();
    assert!(replica.as_str().is_some_and(|id| id.len() == 16), "{replica}");
    assert!(said("does not answer").is_some() && said("does not serve yet").is_some(), "{log}");
    assert_eq!(said("refresh refused").expect("the refusal")["reason"], "away");
    let audit: Vec<_> = lines.iter().filter(|line| line["target"] == "audit").collect();
    assert!(!audit.is_empty() && audit.iter().all(|line| line["replica"] == replica), "{audit:?}");
    replica
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_table_nothing_is_said_of_a_fleet() {
    let (program, builder) = Program::start_quietly(World::builder().await.lay_over(LOG)).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.log_in("ada").await;
    browser.send(Request::post("/api/logout")).await.assert_status(204);
    let admin = || Browser::new(program.admin, "localhost");
    assert!(!program.metrics().await.contains("portcullis_shared_state"));
    assert_eq!(admin().get("/status.json").await.json()["shared_state"], json!(null));
    assert!(!admin().get("/").await.text().contains("Shared state"));
    let log = program.end().await;
    drop(builder);
    assert!(!log.contains("replica") && !log.contains("engine"), "{log}");
}
