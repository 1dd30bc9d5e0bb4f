//! Logout ends a session whatever is under way.

use serde_json::json;

use super::harness::{Harness, grant, word};
use crate::identity_provider::testing::server::eventually;
use crate::session::Outcome;

#[tokio::test]
async fn the_newest_token_is_revoked_and_no_token_of_the_session_works_any_more() {
    for presented in ["r1", "r2", "r3"] {
        let harness = Harness::start().await;
        let next = |token| harness.tokens(&json!({}), Some(token));
        harness.script_tokens(vec![next("r2"), next("r3")]);
        harness.refresh("r1", None).await;
        harness.refresh("r2", None).await;
        harness.logout(presented).await;
        assert_eq!(harness.revoked(), ["r3"], "{presented}");
        for token in ["r1", "r2", "r3"] {
            assert_eq!(word(&harness.refresh(token, None).await), "dead", "{token} after {presented}");
        }
        assert_eq!(harness.asked(), ["r1", "r2"]);
    }
}

#[tokio::test]
async fn a_logout_during_a_refresh_ends_what_the_refresh_brings() {
    let harness = Harness::start().await;
    let gate = harness.script_gated(harness.tokens(&json!({}), Some("r2")));
    // The one who waits is told even though the revocation of the new grant takes its time.
    let logout = async {
        eventually("the call", || harness.asked().len() == 1).await;
        harness.logout("r1").await;
        assert_eq!(word(&harness.refresh("r1", None).await), "dead");
        gate.send_replace(true);
    };
    let (outcome, ()) = tokio::join!(harness.refresh("r1", None), logout);
    // Whoever waited must clear nothing: the browser may have another session by now.
    assert_eq!(word(&outcome), "ended");
    eventually("both are revoked", || harness.revoked() == ["r1", "r2"]).await;
}

#[tokio::test]
async fn the_new_grant_of_an_ended_session_is_revoked_though_the_provider_fails_at_first() {
    let harness = Harness::start().await;
    let gate = harness.script_gated(harness.tokens(&json!({}), Some("r2")));
    let logout = async {
        eventually("the call", || harness.asked().len() == 1).await;
        harness.logout("r1").await;
        harness.server.answer("/revoke", 503, "");
        gate.send_replace(true);
    };
    tokio::join!(harness.refresh("r1", None), logout);
    eventually("the first attempt", || harness.revoked().contains(&"r2".to_owned())).await;
    harness.server.answer("/revoke", 200, "");
    eventually("another attempt", || harness.revoked().iter().filter(|token| *token == "r2").count() > 1)
        .await;
}

#[tokio::test]
async fn a_login_in_the_same_browser_ends_the_old_session() {
    let harness = Harness::start().await;
    harness.script_tokens(vec![harness.tokens(&json!({}), Some("r2"))]);
    harness.refresh("r1", None).await;
    let new = harness.previous("alice").identity;
    harness.sessions.replace(&harness.app, Some(&grant("r1")), None, &new).await;
    assert_eq!(word(&harness.refresh("r1", None).await), "ended");
    assert_eq!(word(&harness.refresh("r2", None).await), "ended");
    eventually("it is revoked", || harness.revoked() == ["r2"]).await;
}

#[tokio::test]
async fn a_logout_of_one_session_leaves_the_others() {
    let harness = Harness::start().await;
    harness.script_tokens(vec![harness.tokens(&json!({}), None)]);
    harness.logout("r1").await;
    assert_eq!(word(&harness.refresh("other", None).await), "kept");
}

#[tokio::test]
async fn a_login_that_gets_the_same_jwt_again_keeps_it() {
    let harness = Harness::start().await;
    harness.script_tokens(vec![harness.tokens(&json!({}), Some("r2"))]);
    let Outcome::Renewed(tokens) = harness.refresh("r1", None).await else { panic!("no JWT") };
    let same = &tokens.identity;
    harness.sessions.replace(&harness.app, Some(&grant("r2")), Some(same), same).await;
    assert!(harness.memory.revocations.is_empty());
    let other = harness.previous("alice").identity;
    harness.sessions.replace(&harness.app, Some(&grant("r2")), Some(same), &other).await;
    assert_eq!(harness.memory.revocations.len(), 1);
}
