//! Two replicas of a fleet over one engine in memory, with one provider.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::watch;

use super::harness::{Harness, grant, word};
use crate::access::numbers::testing::PROVIDER;
use crate::access::revocations::Mark;
use crate::access::session_tables::SessionTables;
use crate::access::testing::NOW;
use crate::access::tokens::RefreshToken;
use crate::config;
use crate::engine::commands::{Engine, RecordState};
use crate::engine::fake::{FakeEngine, FakeServer};
use crate::engine::sealing::FleetKeys;
use crate::identity_provider::testing::server::eventually;
use crate::session::revoke::Revoked;
use crate::session::sessions::Sessions;
use crate::session::shared_state::fleet::EngineLink;

const SHARED_STATE: &str = "[identity_providers.main]\nissuer = 'https://id.example.com'\n\
    [apps.store]\nhosts = ['store.example.com']\nupstreams = ['http://127.0.0.1:3000']\n\
    client_id = 'store'\nclient_secret = 's'\n\
    [shared_state]\nurl = 'redis://127.0.0.1'\nsettle = '1s'\n\
    keys = ['AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=']\n";

/// Two gateway processes of one fleet.
struct Fleet {
    harness: Harness,
    server: FakeServer,
    engines: Vec<Arc<FakeEngine>>,
    replicas: Vec<Arc<Sessions>>,
    keys: FleetKeys,
    /// The background tasks end when it is dropped.
    _running: watch::Sender<bool>,
}

impl Fleet {
    async fn start() -> Self {
        Self::settling(Duration::ZERO).await
    }

    /// A fleet whose engine settles for this time after each loss of data.
    async fn settling(settle: Duration) -> Self {
        let mut harness = Harness::start().await;
        let shared = config::parse(SHARED_STATE).unwrap().config.shared_state.unwrap();
        let keys = FleetKeys::new(&shared.keys).unwrap();
        harness.config.shared_state = Some(shared);
        let server = FakeServer::new(settle);
        let (running, is_over) = watch::channel(false);
        let (mut engines, mut replicas) = (Vec::new(), Vec::new());
        for id in ["a", "b"] {
            let (engine, events) = server.connect(id);
            let link = EngineLink { engine: engine.clone(), events, replica: id.to_owned() };
            let memory = Arc::new(SessionTables::new(64, NOW));
            let sessions = Sessions::with_link(harness.clock.clone(), memory, &harness.config, Some(link));
            engines.push(engine);
            replicas.push(Arc::new(sessions));
        }
        for replica in &replicas {
            let (fleet, is_over) = (replica.fleet().unwrap().clone(), is_over.clone());
            tokio::spawn(async move { fleet.run(is_over).await });
        }
        let all_are_known =
            || replicas.iter().all(|replica| replica.fleet().unwrap().facts().members.len() == 2);
        eventually("the replicas know each other", all_are_known).await;
        Self { harness, server, engines, replicas, keys, _running: running }
    }

    async fn refresh(&self, replica: usize, token: &str) -> String {
        word(&self.replicas[replica].refresh(&self.harness.app, &grant(token), None, None).await.outcome)
    }

    /// The provider gives this refresh token.
    fn script(&self, next: &str) {
        self.harness.script_tokens(vec![self.harness.tokens(&json!({}), Some(next))]);
    }

    /// The state of a refresh token in the engine.
    async fn state(&self, token: &str) -> Option<RecordState> {
        let key = Sessions::key(&self.harness.app, &RefreshToken::new(token));
        self.engines[0].look(&key.names(&self.keys)).await.unwrap().map(|known| known.state)
    }
}

#[tokio::test]
async fn requests_at_both_make_one_call_and_all_get_its_tokens() {
    let fleet = Fleet::start().await;
    let gate = fleet.harness.script_gated(fleet.harness.tokens(&json!({}), Some("r2")));
    let requests = (0..8).map(|number| fleet.refresh(number % 2, "r1"));
    let open = async {
        eventually("the call", || fleet.harness.asked().len() == 1).await;
        gate.send_replace(true);
    };
    let (told, ()) = tokio::join!(join_all(requests), open);
    assert_eq!(told, ["r2"; 8]);
    for replica in 0..2 {
        assert_eq!(fleet.refresh(replica, "r1").await, "r2", "told again");
    }
    assert_eq!(fleet.harness.asked(), ["r1"]);
}

#[tokio::test]
async fn who_comes_to_the_other_later_gets_the_same_tokens_and_an_end_holds_there() {
    let fleet = Fleet::start().await;
    fleet.script("r2");
    assert_eq!(fleet.refresh(0, "r1").await, "r2");
    assert_eq!(fleet.refresh(1, "r1").await, "r2");
    for token in ["made up", "r1"] {
        fleet.replicas[0].logout(&fleet.harness.app, Some(&grant(token)), None).await;
    }
    for token in ["r1", "r2"] {
        while fleet.state(token).await != Some(RecordState::Ended) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(fleet.refresh(1, token).await, "dead", "{token}");
    }
    assert_eq!(fleet.harness.asked(), ["r1"]);
    // Anyone may have made this one up, so the engine has no room for it.
    assert_eq!(fleet.state("made up").await, None);
    assert_eq!(fleet.refresh(0, "made up").await, "dead");
}

#[tokio::test]
async fn only_a_token_that_was_not_processed_is_free_for_the_other() {
    for (status, body, is_free) in
        [(503, "", true), (429, "", true), (401, r#"{"error":"invalid_client"}"#, true), (500, "", false)]
    {
        let fleet = Fleet::start().await;
        fleet.harness.server.answer("/token", status, body);
        assert_eq!(fleet.refresh(0, "r1").await, "unavailable");
        if is_free {
            fleet.script("r2");
            assert_eq!(fleet.refresh(1, "r1").await, "r2", "{status}");
            assert_eq!(fleet.harness.asked(), ["r1", "r1"]);
        } else {
            assert_eq!(fleet.state("r1").await, Some(RecordState::Claimed), "{status}");
        }
    }
}

#[tokio::test]
async fn without_the_engine_no_call_is_made_and_known_results_are_given() {
    let fleet = Fleet::start().await;
    fleet.script("r2");
    assert_eq!(fleet.refresh(0, "r1").await, "r2");
    fleet.server.go_away();
    assert_eq!(fleet.refresh(0, "r1").await, "r2");
    assert!(fleet.refresh(0, "s1").await.starts_with("unavailable"));
    assert_eq!(fleet.harness.asked(), ["r1"]);
}

#[tokio::test]
async fn a_claim_without_an_answer_makes_no_call_and_is_taken_back() {
    let fleet = Fleet::start().await;
    fleet.script("r2");
    fleet.engines[0].lose_answers(2);
    assert!(fleet.refresh(0, "r1").await.starts_with("unavailable"));
    assert!(fleet.harness.asked().is_empty());
    assert_eq!(fleet.refresh(1, "r1").await, "r2");
    assert_eq!(fleet.harness.asked(), ["r1"]);
}

#[tokio::test]
async fn an_engine_that_loses_everything_during_a_call_grants_no_second_one() {
    let fleet = Fleet::settling(Duration::from_secs(1)).await;
    let gate = fleet.harness.script_gated(fleet.harness.tokens(&json!({}), Some("r2")));
    let later = async {
        eventually("the call", || fleet.harness.asked().len() == 1).await;
        fleet.server.lose_everything();
        let told = fleet.refresh(1, "r1");
        let open = async {
            while fleet.state("r1").await != Some(RecordState::Claimed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            gate.send_replace(true);
        };
        tokio::join!(told, open).0
    };
    let told = tokio::join!(fleet.refresh(0, "r1"), later);
    assert_eq!(told, (String::from("r2"), String::from("r2")));
    assert_eq!(fleet.harness.asked(), ["r1"]);
}

#[tokio::test]
async fn a_request_that_leaves_while_its_claim_waits_refuses_nobody() {
    let fleet = Arc::new(Fleet::start().await);
    let gate = fleet.harness.script_gated(fleet.harness.tokens(&json!({}), Some("r2")));
    let spawn = |replica| {
        let fleet = Arc::clone(&fleet);
        tokio::spawn(async move { fleet.refresh(replica, "r1").await })
    };
    let caller = spawn(0);
    eventually("the call", || fleet.harness.asked().len() == 1).await;
    let (leaves, waits) = (spawn(1), spawn(1));
    tokio::time::sleep(Duration::from_millis(20)).await;
    leaves.abort();
    // The claim of the request that has left is asked for once more at most.
    tokio::time::sleep(Duration::from_millis(500)).await;
    gate.send_replace(true);
    assert_eq!((caller.await.unwrap(), waits.await.unwrap()), (String::from("r2"), String::from("r2")));
    assert_eq!(fleet.harness.asked(), ["r1"]);
}

#[tokio::test]
async fn a_logout_by_the_provider_has_happened_without_the_engine() {
    let fleet = Fleet::start().await;
    fleet.server.go_away();
    let replica = &fleet.replicas[0];
    let revoked = |sid| Revoked::Session { sid, issued_until: None };
    let logout_token = ("head.claims.signature", NOW + 60);
    let told = replica.revoke_once(PROVIDER, logout_token, &revoked("s1")).now_or_never();
    assert!(told.is_some(), "it does not wait for the engine");
    let is_revoked = |sid| replica.memory.revocations.of_session(Mark::session(PROVIDER, sid), NOW).is_some();
    assert!(is_revoked("s1"), "a second attempt would do nothing, so the first one has done it");
    replica.revoke_once(PROVIDER, logout_token, &revoked("s2")).await;
    assert!(!is_revoked("s2"), "the token came before");
}
