//! The commands and pages that show an operator the fleet at work.

use std::io::Write;
use std::process::Command;

use serde_json::Value;

use crate::harness::replica::{HOST, Replica};
use crate::harness::{Engine, Fleet};
use crate::support::{Browser, Request, patiently};

async fn status(replica: &Replica) -> Value {
    replica.admin("/status.json").await.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_status_page_shows_the_engine_and_all_replicas() {
    let mut engine = Engine::start().await;
    let fleet = Fleet::start(&engine.url()).await;
    let replica = &fleet.replicas[0];
    let shared = status(replica).await["shared_state"].clone();
    assert_eq!(shared["engine"]["is_up"], true, "{shared}");
    assert_eq!(shared["members"].as_array().map(Vec::len), Some(3), "{shared}");
    assert!(
        shared["engine"]["generation"].is_string() && shared["engine"]["complaint"].is_null(),
        "{shared}"
    );
    let other = status(&fleet.replicas[1]).await["shared_state"].clone();
    assert_eq!(other["engine"]["generation"], shared["engine"]["generation"]);
    assert_ne!(other["replica"], shared["replica"]);
    let page = replica.admin("/").await.text();
    assert!(page.contains("<h2>Shared state</h2>") && page.contains("(this one)"), "{page}");
    engine.kill();
    patiently("the finding", async {
        loop {
            let status = status(replica).await;
            if status["findings"].to_string().contains("It does not answer") {
                assert_eq!(status["shared_state"]["engine"]["is_up"], false);
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_says_what_the_fleet_knows_of_a_session() {
    let mut engine = Engine::start().await;
    let fleet = Fleet::start(&engine.url()).await;
    let browser = fleet.logged_in(0, "ada").await;
    assert_eq!(said(&explain(&fleet.replicas[1], &browser)), "nothing is known of the refresh token");
    fleet.expired(&browser).await;
    fleet.tab(&browser, 0).get("/api/cart").await.assert_status(200);
    let renewed = explain(&fleet.replicas[1], &browser);
    assert!(said(&renewed).starts_with("replaced: the provider gave new tokens, and this"), "{renewed}");
    let other = fleet.logged_in(0, "bob").await;
    fleet.tab(&other, 0).send(Request::post("/api/logout")).await.assert_status(204);
    patiently("the end", async {
        while !said(&explain(&fleet.replicas[2], &other)).starts_with("ended") {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
    engine.kill();
    let without = explain(&fleet.replicas[1], &browser);
    assert!(said(&without).starts_with("not known: "), "{without}");
    assert!(without.contains("  reason "), "the rest is explained: {without}");
}

/// The step of the fleet, without its reasons.
fn said(explanation: &str) -> String {
    let step = explanation.lines().find_map(|line| line.strip_prefix("  fleet "));
    let step = step.unwrap_or_else(|| panic!("no step of the fleet: {explanation}")).trim();
    let nothing = step.strip_suffix(": nobody has used it lately");
    nothing.unwrap_or(step).to_owned()
}

/// The output of `portcullis explain` with a browser's cookies.
fn explain(replica: &Replica, browser: &Browser) -> String {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let cookies: Vec<_> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    file.write_all(cookies.join("; ").as_bytes()).expect("the cookies");
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("explain")
        .arg("--config")
        .arg(replica.file("gateway.toml"))
        .arg("--cookies")
        .arg(file.path())
        .arg("GET")
        .arg(format!("https://{HOST}/api/cart"))
        .output()
        .expect("the program");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
