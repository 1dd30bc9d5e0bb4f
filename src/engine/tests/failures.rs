//! Engines that fail, and come back.

use super::server::{Server, free_port, wait_until};
use super::*;

fn is_disconnected(event: &EngineEvent) -> bool {
    matches!(event, EngineEvent::Disconnected(_))
}

fn is_connected(event: &EngineEvent) -> bool {
    matches!(event, EngineEvent::Connected { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_operations_fail_at_once() {
    let mut a = Replica::start(&settings(free_port()), "a");
    a.until(is_disconnected).await;
    assert!(!a.engine.is_up());
    assert_eq!(a.engine.claim(&claiming(&[1], "n")).await, Err(EngineError::Away));
    assert_eq!(a.engine.publish(b"m").await, Err(EngineError::Away));
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_an_engine_has_lost_are_sent_again() {
    let server = Server::start(&[]);
    let a = Replica::connected(&settings(server.port), "a").await;
    assert_eq!(a.settled_verdict(&claiming(&[1], "n")).await, Verdict::Mine);
    server.ask(&["SCRIPT", "FLUSH"]);
    assert_eq!(a.verdict(&claiming(&[2], "n")).await, Verdict::Mine);
    a.engine.release(&names(&[2]), "n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(a.engine.is_up());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_comes_back_empty_is_a_new_generation() {
    let mut server = Server::start(&[]);
    let mut a = Replica::connected(&settings(server.port), "a").await;
    let before = a.engine.claim(&claiming(&[1], "n")).await.unwrap().generation;
    a.engine.add_revocations(&[b"lost".to_vec()], Duration::from_secs(60)).await.unwrap();
    server.kill();
    a.until(is_disconnected).await;
    assert!(!a.engine.is_up());
    server.start_again();
    a.until(is_connected).await;
    let now = a.generation().await;
    assert_ne!(now, before);
    a.until(|event| *event == EngineEvent::MissedMessages).await;
    a.until(|event| *event == EngineEvent::CaughtUp).await;
    let answer = a.engine.claim(&claiming(&[1], "n")).await.unwrap();
    assert_eq!(answer.generation, now);
    a.engine.add_revocations(&[b"new".to_vec()], Duration::from_secs(60)).await.unwrap();
    a.until(|event| *event == EngineEvent::Revocations(vec![b"new".to_vec()])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_comes_back_with_its_data_settles_again() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut a = Replica::connected(&settings(server.port), "a").await;
    assert_eq!(a.settled_verdict(&claiming(&[1], "n")).await, Verdict::Mine);
    a.engine.add_revocations(&[b"kept".to_vec()], Duration::from_secs(60)).await.unwrap();
    a.until(|event| matches!(event, EngineEvent::Revocations(_))).await;
    server.kill();
    server.start_again();
    a.generation().await;
    a.until(|event| *event == EngineEvent::Revocations(vec![b"kept".to_vec()])).await;
    assert!(matches!(a.verdict(&claiming(&[2], "n")).await, Verdict::Settling(_)));
    assert_eq!(a.settled_verdict(&claiming(&[1], "n")).await, Verdict::Mine, "the claim is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_notice_that_the_data_is_gone_without_a_restart() {
    let server = Server::start(&[]);
    let mut a = Replica::connected(&settings(server.port), "a").await;
    let mut b = Replica::connected(&settings(server.port), "b").await;
    assert_eq!(a.settled_verdict(&claiming(&[1], "n")).await, Verdict::Mine);
    server.ask(&["FLUSHALL"]);
    assert!(matches!(b.verdict(&claiming(&[1], "m")).await, Verdict::Settling(_)));
    assert_eq!(a.generation().await, b.generation().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_ahead_of_the_new_generation_skips_nothing() {
    let server = Server::start(&[]);
    let mut a = Replica::connected(&settings(server.port), "a").await;
    let ahead = "99999999999999-0";
    server.ask(&["XADD", "{portcullis}:rev", ahead, "v", "ahead"]);
    a.until(|event| *event == EngineEvent::Revocations(vec![b"ahead".to_vec()])).await;
    server.ask(&["FLUSHALL"]);
    a.engine.add_revocations(&[b"behind".to_vec()], Duration::from_secs(60)).await.unwrap();
    a.until(|event| *event == EngineEvent::Revocations(vec![b"behind".to_vec()])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_engine_counts_as_away_after_two_heartbeats() {
    let server = Server::start(&[]);
    let mut settings = settings(server.port);
    settings.command_timeout = Duration::from_millis(250);
    let mut a = Replica::connected(&settings, "a").await;
    a.settled_verdict(&claiming(&[1], "n")).await;
    server.pause();
    let answer = a.engine.claim(&claiming(&[2], "n")).await;
    assert!(matches!(answer, Err(EngineError::NoAnswer(_))), "{answer:?}");
    a.until(is_disconnected).await;
    assert_eq!(a.engine.claim(&claiming(&[2], "n")).await, Err(EngineError::Away));
    server.resume();
    a.until(is_connected).await;
    assert_eq!(a.settled_verdict(&claiming(&[2], "n")).await, Verdict::Mine, "the same nonce");
    a.until(|event| *event == EngineEvent::MissedMessages).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_pause_is_no_outage() {
    let server = Server::start(&[]);
    let mut a = Replica::connected(&settings(server.port), "a").await;
    server.pause();
    tokio::time::sleep(Duration::from_millis(400)).await;
    server.resume();
    a.until(|event| *event == EngineEvent::CaughtUp).await;
    assert_eq!(a.settled_verdict(&claiming(&[2], "n")).await, Verdict::Mine);
    let events: Vec<_> = std::iter::from_fn(|| a.events.try_recv().ok()).collect();
    assert!(!events.iter().any(is_disconnected), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_subscription_is_made_again() {
    let server = Server::start(&[]);
    let mut a = Replica::connected(&settings(server.port), "a").await;
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    a.until(|event| *event == EngineEvent::MissedMessages).await;
    assert!(a.engine.is_up(), "operations do not use it");
    a.engine.publish(b"m").await.unwrap();
    a.until(|event| *event == EngineEvent::Message(b"m".to_vec())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_connections_are_made_again() {
    let server = Server::start(&[]);
    let mut a = Replica::connected(&settings(server.port), "a").await;
    let generation = a.engine.claim(&claiming(&[1], "n")).await.unwrap().generation;
    server.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    a.until(is_disconnected).await;
    match a.until(is_connected).await {
        EngineEvent::Connected { generation: now, .. } => assert_eq!(now, generation, "nothing is lost"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_becomes_a_copy_is_left() {
    let (one, two) = (Server::start(&[]), Server::start(&[]));
    let mut a = Replica::connected(&settings(one.port), "a").await;
    a.settled_verdict(&claiming(&[1], "n")).await;
    one.ask(&["REPLICAOF", "127.0.0.1", &two.port.to_string()]);
    let answer = a.engine.claim(&claiming(&[2], "n")).await;
    assert_eq!(answer, Err(EngineError::Away), "it has certainly not been carried out");
    a.until(is_disconnected).await;
    one.ask(&["REPLICAOF", "NO", "ONE"]);
    a.until(is_connected).await;
    a.generation().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_granted_only_with_enough_copies() {
    let server = Server::start(&[]);
    let mut settings = settings(server.port);
    settings.wait_replicas = 1;
    let a = Replica::connected(&settings, "a").await;
    assert_eq!(a.settled_verdict(&claiming(&[1], "n")).await, Verdict::TooFewNodes);
    let complaint = a.engine.facts().complaint.clone().unwrap();
    assert!(complaint.contains("wait_replicas"), "{complaint}");
    let copy = Server::copy_of(&server, &[]);
    // The copy may be slow. The nonce is the same.
    a.verdict_that(&claiming(&[1], "n"), |verdict| *verdict == Verdict::Mine).await;
    // The first copy changes `master_replid`, so that the engine settles.
    a.verdict_that(&claiming(&[2], "n"), |verdict| *verdict == Verdict::Mine).await;
    server.ask(&["SCRIPT", "FLUSH"]);
    a.verdict_that(&claiming(&[4], "n"), |verdict| *verdict == Verdict::Mine).await;
    copy.pause();
    assert_eq!(a.verdict(&claiming(&[2], "n")).await, Verdict::TooFewNodes, "a repeated claim waits as well");
    assert_eq!(a.verdict(&claiming(&[3], "n")).await, Verdict::TooFewNodes);
    a.engine.release(&names(&[3]), "n").await.unwrap();
    copy.resume();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_evicts_is_complained_of() {
    let server = Server::start(&["--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"]);
    let a = Replica::connected(&settings(server.port), "a").await;
    assert!(a.engine.facts().complaint.as_ref().unwrap().contains("noeviction"));
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    wait_until("it is looked at again", || a.engine.facts().complaint.is_none());
    let facts = a.engine.facts();
    assert_eq!((facts.role.as_str(), facts.maxmemory), ("master", 50 << 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_engine_refuses() {
    let server = Server::start(&["--maxmemory", "1mb"]);
    let mut a = Replica::start(&settings(server.port), "a");
    let event = a.until(is_disconnected).await;
    assert!(
        matches!(&event, EngineEvent::Disconnected(EngineError::Refused(text)) if text.contains("maxmemory"))
    );
}
