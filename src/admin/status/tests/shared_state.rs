//! The section about the fleet.

use super::{find, healthy};
use crate::admin::status::facts::Status;
use crate::admin::status::finding::Finding;
use crate::admin::status::page::write;
use crate::admin::status::shared_state_facts::{EngineStatus, MemberStatus, SharedStateStatus};

fn member(host: &str, replica: &str) -> MemberStatus {
    let is_this = host == "gateway-0";
    MemberStatus {
        host: host.into(),
        replica: replica.into(),
        version: "0.1.0".into(),
        silent_seconds: 0.213,
        is_this,
    }
}

/// A replica of a fleet in which all is well.
fn fleet() -> SharedStateStatus {
    SharedStateStatus {
        replica: "00112233aabbccdd".into(),
        engine: EngineStatus {
            is_up: true,
            address: "valkey:6379".into(),
            kind: "valkey".into(),
            version: "8.0.1".into(),
            generation: Some("1f6c3a07".into()),
            used_memory: 23_068_672,
            max_memory: 268_435_456,
            copies: 2,
            complaint: None,
        },
        members: vec![member("gateway-0", "00112233aabbccdd"), member("<i>gateway-1", "89ab89ab89ab89ab")],
        conflict: None,
        outbox: 3,
        outbox_waits_seconds: 0,
        results_bytes: 3_670_016,
        revocations_staleness_seconds: Some(1),
        unreadable_revocations: 0,
        unknown_outcomes: 0.0,
    }
}

#[test]
fn the_section_of_a_replica() {
    let mut status = healthy();
    status.shared_state = Some(fleet());
    status.findings = find(&status);
    assert!(status.findings.is_empty(), "{:?}", status.findings);
    let page = write(&status, true);
    let section = page.split("<section>").find(|section| section.contains("Shared state</h2>")).unwrap();
    insta::assert_snapshot!(section);
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["shared_state"]["members"][1]["is_this"], false);
    assert_eq!(json["shared_state"]["engine"]["is_up"], true);
    let without = serde_json::to_value(healthy()).unwrap();
    assert!(without.get("shared_state").is_none(), "without a fleet nothing is said of one");
    assert!(!write(&healthy(), true).contains("Shared state"));
}

#[test]
fn what_somebody_should_look_at_in_a_fleet() {
    let mut status = healthy();
    let mut shared_state = fleet();
    shared_state.engine.complaint = Some("its `maxmemory-policy` is `allkeys-lru`".into());
    shared_state.conflict = Some("another replica seals with a key that is not known here".into());
    shared_state.outbox_waits_seconds = 75;
    shared_state.revocations_staleness_seconds = None;
    shared_state.unreadable_revocations = 2;
    shared_state.unknown_outcomes = 4.0;
    status.shared_state = Some(shared_state);
    let found = |status: &Status| {
        let line = |found: &Finding| format!("{:?} {}: {}", found.severity, found.about, found.text);
        find(status).iter().map(line).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(found(&status), @r"
    Problem shared state: Another replica seals with a key that is not known here.
    Warning engine valkey:6379: Its `maxmemory-policy` is `allkeys-lru`.
    Warning revocations: Revocations of other replicas have not been read for 3 d 4 h: they are not applied here yet.
    Warning revocations: 2 in the engine do not open: they were sealed with a key that is not in `shared_state.keys` here.
    Warning shared state: 3 things have not been told to the engine for 1 min, although it answers.
    Warning refreshes: The fate of 4 refresh tokens was unknown in the last 15 minutes: the provider gave no answer. Each may be a lost session (`refresh_grace`).
    ");
    status.shared_state.as_mut().unwrap().engine.is_up = false;
    let away = found(&status);
    assert!(away.starts_with("Problem engine valkey:6379: It does not answer"), "{away}");
    assert!(!away.contains("although it answers"), "{away}");
}
