//! Two replicas over one store, which speaks as a store over a network would: claim, assert, release. The callers are those of
//! one process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::harness::{Harness, grant, word};
use crate::access::numbers::testing::PROVIDER;
use crate::access::revocations::{EndedBy, Mark, TokenMarks};
use crate::access::session_tables::SessionTables;
use crate::access::testing::NOW;
use crate::access::tokens::{AccessToken, RefreshToken};
use crate::identity_provider::testing::server::eventually;
use crate::session::login_name::LoginName;
use crate::session::login_queue::{Turn, Waiting};
use crate::session::outcome::{Outcome, UnverifiedTokens};
use crate::session::reuse_detection::Jwt;
use crate::session::revoke::Revoked;
use crate::session::session_key::SessionKey;
use crate::session::sessions::Sessions;
use crate::session::shared_state::SharedState;
use crate::session::shared_state::memory::InMemory;
use crate::session::shared_state::values::{
    Asked, Claim, Claimed, Ended, Gain, LoginReservation, NewRevocation, NoAnswer, Settings,
};
use crate::session::throttle::Refused;

/// The entries of the store: a claim, or a result as text.
#[derive(Debug, Default)]
struct Store {
    entries: Mutex<HashMap<SessionKey, Option<String>>>,
    done: Notify,
    /// It never answers a revocation.
    is_stopped: AtomicBool,
}

/// The answer to a claim.
enum Answer {
    Mine,
    Busy,
    Known(String),
}

impl Store {
    fn claim(&self, key: SessionKey) -> Answer {
        match self.entries.lock().unwrap().entry(key).or_insert(None) {
            entry @ None => {
                *entry = Some(String::new());
                Answer::Mine
            }
            Some(claim) if claim.is_empty() => Answer::Busy,
            Some(result) => Answer::Known(result.clone()),
        }
    }

    fn set(&self, key: SessionKey, result: Option<String>) {
        self.entries.lock().unwrap().insert(key, result);
        self.done.notify_waiters();
    }

    /// The result of somebody else's claim; `None`: it was released.
    async fn result(&self, key: SessionKey) -> Option<String> {
        loop {
            let done = self.done.notified();
            match self.entries.lock().unwrap().get(&key).cloned().flatten() {
                Some(claim) if claim.is_empty() => {}
                result => return result,
            }
            done.await;
        }
    }
}

/// An outcome as text: no identity, and nothing of the process that had it.
fn to_text(outcome: &Outcome) -> String {
    match (outcome.access_token(), outcome.refresh_token()) {
        (Some(jwt), Some(next)) => json!({"jwt": jwt.as_str(), "next": next.map(RefreshToken::as_str)}),
        _ => json!("dead"),
    }
    .to_string()
}

fn from_text(text: &str) -> Outcome {
    let value: Value = serde_json::from_str(text).unwrap();
    let Some(jwt) = value["jwt"].as_str() else { return Outcome::Dead };
    let refresh_token = value["next"].as_str().map(RefreshToken::new);
    let access_token = AccessToken::new(jwt);
    Outcome::Unverified(Arc::new(UnverifiedTokens { access_token, refresh_token, is_refused: false }))
}

/// A replica's shared state: the store behind its own memory.
#[derive(Debug)]
struct Replica {
    local: Arc<InMemory>,
    store: Arc<Store>,
}

#[async_trait]
impl SharedState for Replica {
    async fn claim(&self, key: SessionKey, refresh_token: &RefreshToken, asked: Asked) -> Claim {
        let claimed = match self.local.claim(key, refresh_token, asked).await {
            Claim::Mine(claimed) => claimed,
            known => return known,
        };
        match self.store.claim(key) {
            Answer::Mine => Claim::Mine(claimed),
            Answer::Known(result) => {
                self.local.publish(claimed, from_text(&result), Gain::default()).await;
                self.local.claim(key, refresh_token, asked).await
            }
            Answer::Busy => {
                let waiter = claimed.waiter();
                let (local, store) = (Arc::clone(&self.local), Arc::clone(&self.store));
                tokio::spawn(async move {
                    match store.result(key).await {
                        Some(result) => local.publish(claimed, from_text(&result), Gain::default()).await,
                        None => local.release(claimed, Outcome::Unavailable, NoAnswer::NotProcessed).await,
                    }
                });
                Claim::Wait(waiter)
            }
        }
    }

    async fn publish(&self, claimed: Claimed, outcome: Outcome, gain: Gain) -> Outcome {
        self.store.set(claimed.key(), Some(to_text(&outcome)));
        self.local.publish(claimed, outcome, gain).await
    }

    async fn release(&self, claimed: Claimed, outcome: Outcome, why: NoAnswer) -> Outcome {
        if why == NoAnswer::NotProcessed {
            self.store.set(claimed.key(), None);
        }
        self.local.release(claimed, outcome, why).await
    }

    async fn begin(&self, key: SessionKey, jwt: Jwt, started_at: u64) {
        self.local.begin(key, jwt, started_at).await;
    }

    async fn end(&self, key: SessionKey, by: EndedBy) -> Ended {
        let ended = self.local.end(key, by).await;
        self.store.set(key, Some(to_text(&Outcome::Dead)));
        ended
    }

    async fn revoke(&self, revocation: NewRevocation, now: u64) {
        self.local.revoke(revocation, now).await;
    }

    async fn admit(&self, marks: &TokenMarks, issued_at: Option<u64>, now: u64) {
        self.local.admit(marks, issued_at, now).await;
    }

    async fn revoke_once(&self, once: Mark, once_until: u64, revocation: NewRevocation, now: u64) -> bool {
        let is_first = self.local.revoke_once(once, once_until, revocation, now).await;
        if self.store.is_stopped.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        is_first
    }

    async fn check_login(&self, name: &LoginName) -> Result<(), Duration> {
        self.local.check_login(name).await
    }

    async fn reserve_login(&self, name: &LoginName) -> Result<Box<dyn LoginReservation>, Refused> {
        self.local.reserve_login(name).await
    }

    async fn login_turn(&self, name: &LoginName, waiting: Waiting) -> Option<Turn> {
        self.local.login_turn(name, waiting).await
    }

    fn login_settled(&self) -> Notified<'_> {
        self.local.login_settled()
    }

    fn set(&self, settings: Settings) {
        self.local.set(settings);
    }
}

/// Another gateway process with this store.
fn replica(harness: &Harness, store: &Arc<Store>) -> Sessions {
    let memory = Arc::new(SessionTables::new(64, NOW));
    let alone = Sessions::new(harness.clock.clone(), Arc::clone(&memory), &harness.config);
    let settings = Settings {
        replay_window: harness.config.refresh.replay_window,
        failed_logins_per_name: 10,
        failed_logins_per_address: 10,
    };
    let local = Arc::new(InMemory::new(Arc::clone(&alone.replay_window), memory, settings));
    Sessions { shared: Arc::new(Replica { local, store: Arc::clone(store) }), ..alone }
}

async fn refresh(harness: &Harness, replica: &Sessions, token: &str) -> String {
    word(&replica.refresh(&harness.app, &grant(token), None, None).await.outcome)
}

#[tokio::test]
async fn requests_at_both_make_one_call_and_all_get_its_tokens() {
    let harness = Harness::start().await;
    let store = Arc::default();
    let replicas = [replica(&harness, &store), replica(&harness, &store)];
    let gate = harness.script_gated(harness.tokens(&json!({}), Some("r2")));
    let requests = (0..8).map(|number| refresh(&harness, &replicas[number % 2], "r1"));
    let open = async {
        eventually("the call", || harness.asked().len() == 1).await;
        gate.send_replace(true);
    };
    let (told, ()) = tokio::join!(join_all(requests), open);
    assert_eq!(told, ["r2"; 8]);
    for replica in &replicas {
        assert_eq!(refresh(&harness, replica, "r1").await, "r2", "told again");
    }
    assert_eq!(harness.asked(), ["r1"]);
}

#[tokio::test]
async fn who_comes_to_the_other_later_gets_the_same_tokens_and_an_end_holds_there() {
    let harness = Harness::start().await;
    let store = Arc::default();
    let [one, other] = [replica(&harness, &store), replica(&harness, &store)];
    harness.script_tokens(vec![harness.tokens(&json!({}), Some("r2"))]);
    assert_eq!(refresh(&harness, &one, "r1").await, "r2");
    assert_eq!(refresh(&harness, &other, "r1").await, "r2");
    one.logout(&harness.app, Some(&grant("s1")), None).await;
    assert_eq!(refresh(&harness, &other, "s1").await, "dead");
    assert_eq!(harness.asked(), ["r1"]);
}

#[tokio::test]
async fn only_a_token_that_was_not_processed_is_free_for_the_other() {
    for (status, body, is_free) in
        [(503, "", true), (429, "", true), (401, r#"{"error":"invalid_client"}"#, true), (500, "", false)]
    {
        let harness = Harness::start().await;
        let store: Arc<Store> = Arc::default();
        let [one, other] = [replica(&harness, &store), replica(&harness, &store)];
        harness.server.answer("/token", status, body);
        assert_eq!(refresh(&harness, &one, "r1").await, "unavailable");
        let key = Sessions::key(&harness.app, &RefreshToken::new("r1"));
        let is_claimed = store.entries.lock().unwrap()[&key].is_some();
        assert_eq!(is_claimed, !is_free, "{status}");
        if is_free {
            harness.script_tokens(vec![harness.tokens(&json!({}), Some("r2"))]);
            assert_eq!(refresh(&harness, &other, "r1").await, "r2");
            assert_eq!(harness.asked(), ["r1", "r1"]);
        }
    }
}

#[tokio::test]
async fn a_logout_by_the_provider_has_happened_although_its_request_was_dropped() {
    let harness = Harness::start().await;
    let store = Arc::<Store>::default();
    let replica = replica(&harness, &store);
    store.is_stopped.store(true, Ordering::Relaxed);
    let logout_token = ("head.claims.signature", NOW + 60);
    let revoked = |sid| Revoked::Session { sid, issued_until: None };
    assert!(replica.revoke_once(PROVIDER, logout_token, &revoked("s1")).now_or_never().is_none());
    let is_revoked = |sid| replica.memory.revocations.of_session(Mark::session(PROVIDER, sid), NOW).is_some();
    assert!(is_revoked("s1"), "a second attempt would do nothing, so the first one has done it");
    store.is_stopped.store(false, Ordering::Relaxed);
    replica.revoke_once(PROVIDER, logout_token, &revoked("s2")).await;
    assert!(!is_revoked("s2"), "the token came before");
}
