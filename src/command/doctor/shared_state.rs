//! The checks of the engine and of the fleet.

use std::time::Duration;

use super::report::Report;
use crate::config::{Config, SharedState};
use crate::engine::commands::EngineError;
use crate::engine::examination::{Examination, examine};
use crate::engine::facts::EngineFacts;
use crate::session::{Heard, Member, hear};
use crate::system::clock::Clock;

const SUBJECT: &str = "shared_state";

/// The round trip from which refreshes and logins are noticeably slower.
const SLOW: Duration = Duration::from_millis(20);

/// The difference between two clocks that means nothing, in seconds.
const CLOCK_NOISE: u64 = 5;

/// Examines the engine, and listens for the replicas. Nothing remains in the engine.
pub(super) async fn check(config: &Config, settings: &SharedState, clock: &dyn Clock, report: &mut Report) {
    let examination = examine(settings, clock).await;
    let heard = hear(config, &examination.messages);
    report_on(settings, &examination, heard, report);
}

fn report_on(settings: &SharedState, examination: &Examination, heard: Option<Heard>, report: &mut Report) {
    let Examination { facts, failed, operations, round_trip, clock_ahead, .. } = examination;
    let address = &facts.address;
    if let Some(error) = failed {
        let fix = match error {
            EngineError::Refused(_) => "correct `[shared_state]`, or how the engine is set up",
            _ => "start the engine, or correct `shared_state.url`; check DNS, firewall and TLS",
        };
        return report.error(SUBJECT, format!("the engine at {address}: {error}"), fix);
    }
    report.ok(SUBJECT, format!("the engine at {address} is {} {}", facts.kind, facts.version));
    memory(facts, report);
    nodes(facts, settings.wait_replicas, report);
    rights(operations, report);
    speed(*round_trip, settings.command_timeout, report);
    self::clock(*clock_ahead, report);
    if let Some(heard) = heard {
        fleet(&heard, report);
    }
}

fn memory(facts: &EngineFacts, report: &mut Report) {
    let policy = &facts.eviction_policy;
    if facts.maxmemory == 0 {
        report.ok(SUBJECT, "the engine's memory has no limit, so it evicts nothing");
    } else if policy == "noeviction" {
        report.ok(SUBJECT, "the engine evicts nothing (maxmemory-policy noeviction)");
    } else {
        report.warning(
            SUBJECT,
            format!(
                "the engine may evict claims (maxmemory-policy {policy}): then a refresh token is presented twice"
            ),
            "set `maxmemory-policy noeviction` in the engine, and give it enough memory",
        );
    }
}

fn nodes(facts: &EngineFacts, wanted: u32, report: &mut Report) {
    let copies = facts.connected_nodes;
    if copies < wanted {
        report.error(
            SUBJECT,
            format!(
                "{copies} other nodes copy the primary, `wait_replicas` is {wanted}: every refresh is refused"
            ),
            "connect more nodes to the primary, or lower `shared_state.wait_replicas`",
        );
    } else if copies > 0 && wanted == 0 {
        report.warning(
            SUBJECT,
            format!("{copies} other nodes copy the primary, and no claim waits for them: a failover may lose claims"),
            "set `shared_state.wait_replicas` to half of the number of nodes, rounded down",
        );
    } else {
        report.ok(SUBJECT, format!("{copies} other nodes copy the primary, `wait_replicas` is {wanted}"));
    }
}

fn rights(operations: &[(&'static str, Option<EngineError>)], report: &mut Report) {
    let failed = operations.iter().filter_map(|(name, error)| Some((name, error.as_ref()?)));
    let mut works = true;
    for (name, error) in failed {
        works = false;
        report.error(
            SUBJECT,
            format!("the operation `{name}` does not work: {error}"),
            "give the engine's user the commands of `docs/operations.md`, and look at the engine's log",
        );
    }
    if works {
        report.ok(SUBJECT, format!("the engine carries out all {} operations", operations.len()));
    }
}

fn speed(round_trip: Duration, limit: Duration, report: &mut Report) {
    let text = format!("the engine answers in {:.2} ms", round_trip.as_secs_f64() * 1000.0);
    let fix = "use an engine in the same network, and look at its load";
    if round_trip >= limit {
        let text =
            format!("{text}, and `command_timeout` is {} ms: refreshes are refused", limit.as_millis());
        report.error(SUBJECT, text, fix);
    } else if round_trip >= SLOW {
        report.warning(SUBJECT, format!("{text}: each refresh waits for that twice"), fix);
    } else {
        report.ok(SUBJECT, text);
    }
}

fn clock(ahead: i64, report: &mut Report) {
    let apart = ahead.unsigned_abs();
    if apart <= CLOCK_NOISE {
        return report.ok(SUBJECT, "clock: agrees with the engine's");
    }
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    report.warning(
        SUBJECT,
        format!("clock: the engine's is {apart} s {way} ours: revocations need clocks that agree"),
        "synchronise both clocks (NTP)",
    );
}

fn fleet(heard: &Heard, report: &mut Report) {
    let name = |Member { host, version, .. }: &Member| format!("{host} ({version})");
    let names: Vec<_> = heard.members.iter().map(name).collect();
    match names.len() {
        0 => report.ok(SUBJECT, "no replica is running now"),
        1 => report.ok(SUBJECT, format!("1 replica is running: {}", names.join(", "))),
        many => report.ok(SUBJECT, format!("{many} replicas are running: {}", names.join(", "))),
    }
    if let Some(conflict) = &heard.conflict {
        report.error(
            SUBJECT,
            format!("a replica with this configuration cannot join: {conflict}"),
            "use the same keys and settings at all replicas; `docs/operations.md` says how keys are replaced",
        );
    } else if !names.is_empty() {
        report.ok(SUBJECT, "keys and settings fit those of the running replicas");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn settings(more: &str) -> SharedState {
        let key = "aHVudGVyNGh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ=";
        let text = format!(
            "shared_state = {{ url = 'redis://127.0.0.1:1', keys = ['{key}']{more} }}
             [identity_providers.main]
             issuer = 'https://id.example.com'
             [apps.store]
             hosts = ['store.example.com']
             upstreams = ['http://127.0.0.1:3001']
             client_id = 'store'
             client_secret = 's'"
        );
        config::parse(&text).unwrap().config.shared_state.unwrap()
    }

    fn good() -> Examination {
        let facts = EngineFacts {
            address: "127.0.0.1:6379".into(),
            kind: "valkey".into(),
            version: "8.0.1".into(),
            eviction_policy: "noeviction".into(),
            maxmemory: 1 << 28,
            connected_nodes: 2,
            ..EngineFacts::default()
        };
        Examination {
            facts,
            operations: vec![("claim", None), ("subscribe", None)],
            round_trip: Duration::from_micros(210),
            ..Examination::default()
        }
    }

    fn member(host: &str) -> Member {
        let silent_for = Duration::ZERO;
        Member { replica: "00".into(), host: host.into(), version: "1.0.0".into(), silent_for }
    }

    fn reported(settings: &SharedState, examination: &Examination, heard: Heard) -> String {
        let mut report = Report::default();
        report_on(settings, examination, Some(heard), &mut report);
        report.to_string()
    }

    #[test]
    fn an_engine_as_it_should_be() {
        let heard = Heard { members: vec![member("gateway-0"), member("gateway-1")], conflict: None };
        let text = reported(&settings(", wait_replicas = 1"), &good(), heard);
        insta::assert_snapshot!(text, @r"
        ok       shared_state: the engine at 127.0.0.1:6379 is valkey 8.0.1
        ok       shared_state: the engine evicts nothing (maxmemory-policy noeviction)
        ok       shared_state: 2 other nodes copy the primary, `wait_replicas` is 1
        ok       shared_state: the engine carries out all 2 operations
        ok       shared_state: the engine answers in 0.21 ms
        ok       shared_state: clock: agrees with the engine's
        ok       shared_state: 2 replicas are running: gateway-0 (1.0.0), gateway-1 (1.0.0)
        ok       shared_state: keys and settings fit those of the running replicas
        0 error(s), 0 warning(s)
        ");
    }

    #[test]
    fn everything_that_can_be_wrong_has_a_fix() {
        let mut bad = good();
        bad.facts.eviction_policy = "allkeys-lru".into();
        bad.facts.connected_nodes = 0;
        bad.operations[0].1 = Some(EngineError::Refused("the engine's ACL forbids a command".into()));
        (bad.round_trip, bad.clock_ahead) = (Duration::from_millis(30), -61);
        let heard = Heard { members: Vec::new(), conflict: Some("`shared_state.settle` is 3 s here".into()) };
        let text = reported(&settings(", wait_replicas = 1"), &bad, heard);
        insta::assert_snapshot!(text, @r"
        ok       shared_state: the engine at 127.0.0.1:6379 is valkey 8.0.1
        warning  shared_state: the engine may evict claims (maxmemory-policy allkeys-lru): then a refresh token is presented twice
                 fix: set `maxmemory-policy noeviction` in the engine, and give it enough memory
        error    shared_state: 0 other nodes copy the primary, `wait_replicas` is 1: every refresh is refused
                 fix: connect more nodes to the primary, or lower `shared_state.wait_replicas`
        error    shared_state: the operation `claim` does not work: the engine has refused the operation: the engine's ACL forbids a command
                 fix: give the engine's user the commands of `docs/operations.md`, and look at the engine's log
        warning  shared_state: the engine answers in 30.00 ms: each refresh waits for that twice
                 fix: use an engine in the same network, and look at its load
        warning  shared_state: clock: the engine's is 61 s behind ours: revocations need clocks that agree
                 fix: synchronise both clocks (NTP)
        ok       shared_state: no replica is running now
        error    shared_state: a replica with this configuration cannot join: `shared_state.settle` is 3 s here
                 fix: use the same keys and settings at all replicas; `docs/operations.md` says how keys are replaced
        3 error(s), 3 warning(s)
        ");
    }

    #[tokio::test]
    async fn an_engine_that_is_away_is_an_error() {
        let clock = crate::system::clock::SystemClock;
        let examination = examine(&settings(""), &clock).await;
        let text = reported(&settings(""), &examination, Heard::default());
        assert!(text.starts_with("error    shared_state: the engine at 127.0.0.1:1: "), "{text}");
        assert!(text.contains("fix: start the engine") && text.contains("1 error(s)"), "{text}");
    }
}
