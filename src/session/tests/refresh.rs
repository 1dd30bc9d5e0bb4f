//! One call for any number of requests, and what becomes of its outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::harness::{Harness, word};
use crate::access::numbers::testing::PROVIDER;
use crate::access::revocations::Mark;
use crate::access::testing::NOW;
use crate::identity_provider::testing::server::eventually;
use crate::session::{Outcome, Revoked, Sessions};
use crate::system::clock::Clock;

#[tokio::test]
async fn parallel_requests_and_later_ones_with_the_old_token_make_one_call() {
    let harness = Harness::start().await;
    let gate = harness.script_gated(harness.tokens(&json!({}), Some("r2")));
    let release = async {
        eventually("the call", || harness.asked().len() == 1).await;
        gate.send_replace(true);
    };
    let refresh = || harness.refresh("r1", Some("alice"));
    let (a, b, c, ()) = tokio::join!(refresh(), refresh(), harness.refresh("r1", None), release);
    assert_eq!([&a, &b, &c].map(word), ["r2", "r2", "r2"]);
    assert_eq!(word(&refresh().await), "r2");
    assert_eq!(harness.asked(), ["r1"]);
}

#[tokio::test]
async fn an_old_token_follows_its_successors() {
    let harness = Harness::start().await;
    let short = |from: u64, next: &str| {
        harness.tokens(&json!({"iat": NOW + from, "exp": NOW + from + 20}), Some(next))
    };
    harness.script_tokens(vec![short(0, "r2"), short(18, "r3"), short(36, "r4")]);
    assert_eq!(word(&harness.refresh("r1", None).await), "r2");
    // r1's JWT is about to expire: its successor is refreshed, not r1 again.
    harness.clock.advance(18);
    assert_eq!(word(&harness.refresh("r1", None).await), "r3");
    assert_eq!(word(&harness.refresh("r2", None).await), "r3");
    harness.clock.advance(18);
    assert_eq!(word(&harness.refresh("r1", None).await), "r4");
    assert_eq!(harness.asked(), ["r1", "r2", "r3"]);
}

#[tokio::test]
async fn the_newest_valid_jwt_helps_while_the_provider_is_down() {
    let harness = Harness::start().await;
    harness.script_tokens(vec![harness.tokens(&json!({"iat": NOW, "exp": NOW + 20}), Some("r2"))]);
    assert_eq!(word(&harness.refresh("r1", None).await), "r2");
    harness.server.answer("/token", 500, "");
    harness.clock.advance(18);
    assert_eq!(word(&harness.refresh("r1", None).await), "r2");
    harness.clock.advance(2);
    assert_eq!(word(&harness.refresh("r1", None).await), "unavailable");
    assert_eq!(harness.asked(), ["r1", "r2", "r2"]);
}

#[tokio::test]
async fn without_rotation_the_token_is_used_again_when_its_jwt_runs_out() {
    for next in [None, Some("r1")] {
        let harness = Harness::start().await;
        let short = |from: u64| harness.tokens(&json!({"iat": NOW + from, "exp": NOW + from + 20}), next);
        harness.script_tokens(vec![short(0), short(16)]);
        assert_eq!(word(&harness.refresh("r1", None).await), next.unwrap_or("kept"));
        harness.clock.advance(14);
        harness.refresh("r1", None).await;
        assert_eq!(harness.asked().len(), 1, "three quarters are not over");
        harness.clock.advance(2);
        harness.refresh("r1", None).await;
        harness.refresh("r1", None).await;
        assert_eq!(harness.asked(), ["r1", "r1"]);
    }
}

#[tokio::test]
async fn dead_is_remembered_and_an_outage_is_not() {
    let harness = Harness::start().await;
    harness.server.answer("/token", 503, "");
    assert_eq!(word(&harness.refresh("r1", None).await), "unavailable");
    harness.server.answer("/token", 401, r#"{"error":"invalid_client"}"#);
    assert_eq!(word(&harness.refresh("r1", None).await), "unavailable");
    harness.server.answer("/token", 400, r#"{"error":"invalid_grant"}"#);
    assert_eq!(word(&harness.refresh("r1", None).await), "dead");
    assert_eq!(word(&harness.refresh("r1", None).await), "dead");
    assert_eq!(harness.asked().len(), 3);
}

#[tokio::test]
async fn tokens_that_are_not_this_sessions_are_refused() {
    let harness = Harness::start().await;
    for (number, (changes, expected)) in [
        (json!({"azp": "forums"}), "unverified"),
        (json!({"exp": NOW - 60}), "unverified"),
        (json!({"typ": "ID"}), "unverified"),
        (json!({"email": "a\r\nX-Auth-User: admin"}), "dead"),
    ]
    .into_iter()
    .enumerate()
    {
        harness.script_tokens(vec![harness.tokens(&changes, None)]);
        let token = format!("r{number}");
        assert_eq!(word(&harness.refresh(&token, Some("alice")).await), expected, "{changes}");
    }
}

#[tokio::test]
async fn another_subject_is_refused_even_if_someone_else_asked_first() {
    let harness = Harness::start().await;
    harness.script_tokens(vec![harness.tokens(&json!({}), Some("r2"))]);
    assert_eq!(word(&harness.refresh("r1", None).await), "r2");
    assert_eq!(word(&harness.refresh("r1", Some("mallory")).await), "unavailable");
    assert_eq!(word(&harness.refresh("r1", Some("alice")).await), "r2");
    assert_eq!(harness.asked().len(), 1);
}

/// A provider may rotate at one refresh and not at the next: the browser must not keep the first, dead token.
#[tokio::test]
async fn the_newest_refresh_token_is_told_though_the_last_answer_had_none() {
    let harness = Harness::start().await;
    let due = json!({"iat": NOW - 100, "exp": NOW - 1 + 6});
    harness.script_tokens(vec![harness.tokens(&due, Some("r2")), harness.tokens(&json!({}), None)]);
    assert_eq!(word(&harness.refresh("r1", None).await), "r2");
    let replayed = harness.refreshed("r1", None).await;
    assert_eq!(word(&replayed.outcome), "kept");
    assert_eq!(&*replayed.refresh_token, "r2");
    assert_eq!(harness.asked(), ["r1", "r2"]);
}

#[tokio::test]
async fn a_session_survives_a_jwt_that_cannot_be_verified_yet() {
    let harness = Harness::start().await;
    harness.script_tokens(vec![
        harness.tokens(&json!({"exp": NOW + 400, "nbf": NOW + 60}), Some("r2")),
        harness.tokens(&json!({}), Some("r3")),
    ]);
    let refreshed = harness.refreshed("r1", None).await;
    assert_eq!(word(&refreshed.outcome), "unverified");
    assert_eq!(&*refreshed.refresh_token, "r2", "the browser gets the new one all the same");
    harness.clock.advance(60);
    let refreshed = harness.refreshed("r1", None).await;
    assert_eq!(word(&refreshed.outcome), "r2", "the JWT that was kept is good now");
    assert_eq!(harness.asked(), ["r1"]);
}

#[tokio::test]
async fn a_jwt_that_never_verifies_costs_the_session_nothing_either() {
    let harness = Harness::start().await;
    harness.script_tokens(vec![
        harness.tokens(&json!({"azp": "forums"}), Some("r2")),
        harness.tokens(&json!({}), Some("r3")),
    ]);
    assert_eq!(word(&harness.refresh("r1", None).await), "unverified");
    for _ in 0..3 {
        let refreshed = harness.refreshed("r1", None).await;
        let told = (word(&refreshed.outcome), refreshed.refresh_token.to_string());
        assert_eq!(told, (String::from("unavailable"), String::from("r2")));
    }
    assert_eq!(harness.asked(), ["r1"], "the next JWT would be as useless");
    let once_it_has_rested = async { while word(&harness.refresh("r1", None).await) != "r3" {} };
    tokio::time::timeout(Duration::from_secs(20), once_it_has_rested).await.expect("another call");
    assert_eq!(harness.asked(), ["r1", "r2"]);
}

#[tokio::test]
async fn a_session_that_was_revoked_since_is_not_told_again() {
    for next in [None, Some("r2")] {
        for revoked in [
            Revoked::Session { sid: "s", issued_until: None },
            Revoked::Subject { subject: "alice", issued_until: NOW },
        ] {
            let harness = Harness::start().await;
            harness.script_tokens(vec![harness.tokens(&json!({"sid": "s"}), next)]);
            assert_eq!(word(&harness.refresh("r1", None).await), next.unwrap_or("kept"));
            harness.sessions.revoke(PROVIDER, &revoked).await;
            assert_eq!(word(&harness.refresh("r1", None).await), "dead", "{next:?} {revoked:?}");
            assert_eq!(harness.asked().len(), 1);
            let newest = next.unwrap_or("r1");
            eventually("it is revoked", || harness.revoked() == [newest]).await;
        }
    }
}

#[tokio::test]
async fn a_jwt_that_was_revoked_alone_is_not_told_again_but_another_is() {
    for next in [None, Some("r2")] {
        let harness = Harness::start().await;
        let other = harness.tokens(&json!({"jti": "t2"}), None);
        harness.script_tokens(vec![harness.tokens(&json!({"jti": "t1"}), next), other.clone(), other]);
        harness.refresh("r1", None).await;
        harness.sessions.revoke(PROVIDER, &Revoked::Token("t1")).await;
        for _ in 0..2 {
            let Outcome::Renewed(tokens) = harness.refresh("r1", None).await else { panic!("{next:?}") };
            assert_eq!(tokens.identity.marks().token, Mark::token_id(PROVIDER, "t2"), "{next:?}");
        }
        assert_eq!(harness.asked(), ["r1", next.unwrap_or("r1")]);
        // A provider that gives the same JWT again.
        harness.sessions.revoke(PROVIDER, &Revoked::Token("t2")).await;
        assert_eq!(word(&harness.refresh("r1", None).await), "unavailable");
    }
}

#[tokio::test]
async fn a_revocation_during_a_refresh_ends_what_the_refresh_brings() {
    let harness = Harness::start().await;
    // Issued after the revocation: it alone does not tell.
    let gate = harness.script_gated(harness.tokens(&json!({"iat": NOW + 1}), Some("r2")));
    let revocation = async {
        eventually("the call", || harness.asked().len() == 1).await;
        harness.sessions.revoke(PROVIDER, &Revoked::Subject { subject: "alice", issued_until: NOW }).await;
        gate.send_replace(true);
    };
    let (outcome, ()) = tokio::join!(harness.refresh("r1", Some("alice")), revocation);
    assert_eq!(word(&outcome), "dead");
    eventually("it is revoked", || harness.revoked() == ["r2"]).await;
}

#[tokio::test]
async fn early_refreshes_rest_after_a_failure_and_due_ones_do_not() {
    let harness = Harness::start().await;
    let mut early = harness.previous("alice");
    early.still_valid = true;
    harness.server.answer("/token", 503, "");
    for _ in 0..3 {
        assert_eq!(word(&harness.refreshed("r1", Some(&early)).await.outcome), "unavailable");
    }
    assert_eq!(harness.asked().len(), 1);
    assert_eq!(word(&harness.refresh("r1", None).await), "unavailable");
    assert_eq!(harness.asked().len(), 2);

    harness.script_tokens(vec![harness.tokens(&json!({"azp": "forums"}), Some("s2"))]);
    let refreshed = harness.refreshed("s1", Some(&early)).await;
    assert_eq!(word(&refreshed.outcome), "unverified");
    for token in ["s1", "s2", "s1"] {
        let refreshed = harness.refreshed(token, Some(&early)).await;
        assert_eq!(word(&refreshed.outcome), "unavailable", "{token}");
        assert_eq!(&*refreshed.refresh_token, "s2", "{token}");
    }
    assert_eq!(harness.asked().len(), 3);
}

#[tokio::test]
async fn a_request_stops_waiting_but_the_call_goes_on_and_its_outcome_is_kept() {
    let harness = Harness::with_request_timeout(Duration::from_millis(300)).await;
    let gate = harness.script_gated(harness.tokens(&json!({}), Some("r2")));
    assert_eq!(word(&harness.refresh("r1", None).await), "unavailable");
    gate.send_replace(true);
    let kept = async { while word(&harness.refresh("r1", None).await) != "r2" {} };
    tokio::time::timeout(Duration::from_secs(20), kept).await.expect("the outcome");
    assert_eq!(harness.asked(), ["r1"]);
}

#[tokio::test]
async fn the_call_survives_a_client_that_goes_away() {
    let harness = Harness::start().await;
    let gate = harness.script_gated(harness.tokens(&json!({}), Some("r2")));
    let gone = tokio::time::timeout(Duration::from_millis(50), harness.refresh("r1", None));
    assert!(gone.await.is_err());
    gate.send_replace(true);
    assert_eq!(word(&harness.refresh("r1", None).await), "r2");
    assert_eq!(harness.asked(), ["r1"]);
}

/// A clock that fails at its first use, which is inside the call.
#[derive(Debug, Default)]
struct FailsOnce(AtomicBool);

impl Clock for FailsOnce {
    fn now(&self) -> u64 {
        assert!(self.0.swap(true, Ordering::SeqCst), "a panic on purpose");
        NOW
    }
}

#[tokio::test]
async fn a_call_that_panics_does_not_block_the_token() {
    let mut harness = Harness::start().await;
    let clock = Arc::<FailsOnce>::default();
    harness.sessions = Arc::new(Sessions::new(clock, Arc::clone(&harness.memory), &harness.config));
    harness.script_tokens(vec![harness.tokens(&json!({}), Some("r2"))]);
    let refresh = || harness.refresh("r1", None);
    let (a, b) = tokio::join!(refresh(), refresh());
    assert_eq!([&a, &b].map(word), ["unavailable", "unavailable"]);
    assert_eq!(word(&refresh().await), "r2");
    assert_eq!(harness.asked(), ["r1", "r1"]);
}

#[tokio::test]
async fn a_clock_that_is_ahead_is_told_of_once_in_a_while() {
    let provider = Harness::start().await.app.provider.clone();
    let told = |now: u64| provider.may_warn_of_clock(now);
    assert_eq!([told(NOW), told(NOW + 1), told(NOW + 299)], [true, false, false]);
    assert_eq!([told(NOW + 300), told(NOW + 301)], [true, false]);
    assert!(told(NOW - 5), "our own clock was put back");
}
