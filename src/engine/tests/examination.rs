//! Examinations of good and bad engines.

use super::server::{Server, free_port};
use super::*;
use crate::config::Secret;
use crate::engine::examination::examine;
use crate::system::clock::SystemClock;

#[tokio::test(flavor = "multi_thread")]
async fn a_good_engine() {
    let server = Server::start(&[]);
    let a = Replica::connected(&settings(server.port), "a").await;
    let talking = Arc::clone(&a.engine);
    tokio::spawn(async move {
        loop {
            let _ = talking.publish(b"hello").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let keys = |server: &Server| server.ask(&["KEYS", "*doctor*"]);
    let found = examine(&settings(server.port), &SystemClock).await;
    assert_eq!(found.failed, None);
    let failed: Vec<_> = found.operations.iter().filter(|(_, failed)| failed.is_some()).collect();
    assert!(failed.is_empty() && found.operations.len() == 14, "{failed:?}");
    assert!(found.round_trip > Duration::ZERO);
    assert!((-1..=1).contains(&found.clock_ahead), "{}", found.clock_ahead);
    assert!(found.messages.contains(&b"hello".to_vec()));
    assert_eq!(found.facts.version, a.engine.facts().version);
    assert_eq!(keys(&server), "array([])", "it has removed its traces");
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_that_do_not_do() {
    let found = examine(&settings(free_port()), &SystemClock).await;
    assert!(matches!(found.failed, Some(EngineError::NoAnswer(_))), "{found:?}");
    assert!(found.facts.address.starts_with("127.0.0.1:"));

    let server = Server::start(&["--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"]);
    server.ask(&[
        "ACL",
        "SETUSER",
        "few",
        "on",
        ">secret",
        "allkeys",
        "allchannels",
        "+@all",
        "-xadd",
        "-exists",
    ]);
    let mut few = settings(server.port);
    few.username = Some(String::from("few"));
    few.password = Some(Secret::new("secret"));
    few.wait_replicas = 1;
    let found = examine(&few, &SystemClock).await;
    assert!(found.facts.complaint.unwrap().contains("noeviction"));
    let failed: Vec<_> =
        found.operations.iter().filter(|(_, failed)| failed.is_some()).map(|(name, _)| *name).collect();
    assert_eq!(failed, ["claim", "add_revocations"], "too few nodes, and no right");
}
