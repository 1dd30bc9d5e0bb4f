//! A login's call runs to its end, and its outcome counts, whether or not anybody waits for it.

use std::net::IpAddr;

use serde_json::json;

use super::harness::Harness;
use crate::answer::code::Code;
use crate::answer::reason::ReasonCode;
use crate::identity_provider::testing::server::{credentials, eventually};

const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

impl Harness {
    /// A login of alice's; the refresh token that it brought, or why there is none.
    async fn log_in(&self) -> Result<String, (Code, ReasonCode)> {
        let tokens = self.sessions.login(&self.app, credentials("alice", "pw"), HERE).await;
        let tokens = tokens.map_err(|problem| (problem.code, problem.reason))?;
        Ok(tokens.refresh_token.as_ref().map(|token| token.to_string()).unwrap_or_default())
    }

    /// One whose client leaves while the provider is asked.
    async fn log_in_and_leave(&self) {
        let calls = || self.server.seen("/token").len();
        let before = calls();
        tokio::select! {
            _ = self.log_in() => panic!("the provider keeps its answer back"),
            () = eventually("the call", || calls() > before) => {}
        }
    }
}

#[tokio::test]
async fn a_login_that_nobody_waits_for_any_more_leaves_no_session() {
    let harness = Harness::start().await;
    let gate = harness.script_gated(harness.tokens(&json!({}), Some("r1")));
    harness.log_in_and_leave().await;
    assert!(harness.revoked().is_empty());
    gate.send_replace(true);
    eventually("its revocation", || harness.revoked() == ["r1"]).await;
    // The turn was over with the call, and no place among the failed ones is held.
    for _ in 0..30 {
        assert_eq!(harness.log_in().await.as_deref(), Ok("r1"));
    }
}

#[tokio::test]
async fn a_turn_lasts_as_long_as_its_call() {
    let harness = Harness::start().await;
    let gate = harness.script_gated(harness.tokens(&json!({}), Some("r1")));
    harness.log_in_and_leave().await;
    let second = harness.log_in();
    tokio::pin!(second);
    for _ in 0..50 {
        let waits = tokio::time::timeout(std::time::Duration::from_millis(2), &mut second).await;
        assert!(waits.is_err() && harness.server.seen("/token").len() == 1, "one after the other");
    }
    gate.send_replace(true);
    assert!(second.await.is_ok());
}

#[tokio::test]
async fn what_is_no_guess_gives_its_place_back() {
    let harness = Harness::start().await;
    for (status, body, expected) in [
        (403, "<html>", Code::IdentityProviderUnavailable),
        (503, "", Code::IdentityProviderUnavailable),
        (401, r#"{"error":"invalid_client"}"#, Code::IdentityProviderUnavailable),
        (429, "", Code::TooManyAttempts),
        (400, r#"{"error":"interaction_required"}"#, Code::AccountActionRequired),
        (400, r#"{"error":"mfa_required"}"#, Code::TwoFactorRequired),
    ] {
        harness.server.answer("/token", status, body);
        for _ in 0..30 {
            assert_eq!(harness.log_in().await.unwrap_err().0, expected, "{status} {body}");
        }
    }
    harness.server.answer("/token", 400, r#"{"error":"invalid_grant"}"#);
    for _ in 0..20 {
        assert_eq!(harness.log_in().await.unwrap_err().0, Code::InvalidCredentials);
    }
    let refused = harness.log_in().await.unwrap_err();
    assert_eq!(refused, (Code::TooManyAttempts, ReasonCode::TooManyFailed));
}
