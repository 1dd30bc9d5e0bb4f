//! No `Debug` output has a secret in it: everything that holds one is shown here, with its neighbours.

use std::fmt::Debug;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::json;

use crate::access::assessment::{Grant, Previous};
use crate::access::cookies::CookieNames;
use crate::access::decision::{Decision, Knowledge, RequestHead, decide};
use crate::access::identity::Identity;
use crate::access::key_set::KeySet;
use crate::access::lifetime::Lifetime;
use crate::access::numbers::testing::APP;
use crate::access::session_tables::SessionTables;
use crate::access::testing::{NOW, app_rules, claims, key_set, mint, token_rules};
use crate::access::token::verify;
use crate::access::tokens::{AccessToken, RefreshToken};
use crate::access::verified_tokens::Scope;
use crate::config;
use crate::identity_provider::{ChallengeKind, Client, Credentials, IdentityProvider, LoginError, TokenSet};
use crate::session::{Outcome, Refreshed, Tokens};

const CANARY: &str = "canary-0123456789-0123456789-0123456789";

fn access_token() -> AccessToken {
    AccessToken::new(CANARY)
}

fn refresh_token() -> RefreshToken {
    RefreshToken::new(CANARY)
}

/// Shown in both ways, with nothing of the secret in it.
#[track_caller]
fn assert_discreet(value: &impl Debug) {
    for shown in [format!("{value:?}"), format!("{value:#?}")] {
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[test]
fn the_configuration() {
    let text = format!(
        "[identity_providers.main]\nissuer = 'https://id.example.com'\nalgorithms = ['HS256']\nhmac_secret = '{CANARY}'\n\
         [apps.shop]\nhosts = ['shop.example.com']\nupstreams = ['http://127.0.0.1:1']\nclient_id = 'shop'\nclient_secret = '{CANARY}'\n\
         [shared_state]\nurl = 'redis://127.0.0.1'\nkeys = ['MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=']\npassword = '{CANARY}'\n"
    );
    let loaded = config::parse(&text).unwrap();
    assert_discreet(&loaded);
    assert_discreet(&IdentityProvider::new(&loaded.config.identity_providers[0]).unwrap());
    assert_discreet(&KeySet::from_hmac_secret(CANARY.as_bytes()));
    let refused = config::parse(&text.replace("shop.example.com", "*")).unwrap_err();
    assert_discreet(&refused);
    assert!(!refused.report("gateway.toml").contains("canary"));
}

#[test]
fn what_goes_to_and_comes_from_a_provider() {
    let value = config::ParameterValue { text: config::Secret::new(CANARY), is_secret: true };
    let parameters = vec![config::TokenParameter { name: "api_key".into(), values: vec![value] }];
    assert_discreet(&Client { id: "shop".into(), secret: Some(config::Secret::new(CANARY)), parameters });
    assert_discreet(&Credentials { username: CANARY.into(), password: CANARY.into() });
    assert_discreet(&TokenSet { access_token: access_token(), refresh_token: Some(refresh_token()) });
    assert_discreet(&LoginError::Challenge(
        ChallengeKind::TwoFactor,
        json!({"two_factor_id": CANARY}),
        String::new(),
    ));
}

#[test]
fn a_session() {
    let token = mint(&claims(&json!({ "jti": "canary" })));
    let rules = app_rules("");
    let verification = verify(&token, &token_rules(), &key_set(), NOW).unwrap();
    let identity = Arc::new(Identity::new(verification.claims, &rules.identity).unwrap());
    let tokens = Tokens {
        access_token: access_token(),
        refresh_token: Some(refresh_token()),
        identity: Arc::clone(&identity),
        rules: 0,
    };
    let outcome = Outcome::Renewed(Arc::new(tokens));
    assert_discreet(&outcome);
    assert_discreet(&Refreshed { outcome, refresh_token: refresh_token() });
    assert_discreet(&Previous {
        identity: Arc::clone(&identity),
        access_token: access_token(),
        still_valid: true,
        over: None,
    });
    assert_discreet(&Grant { refresh_token: refresh_token(), record: None });
    let memory = SessionTables::new(8, NOW);
    let scope = Scope { app: APP, key_generation: 1 };
    memory.verified.insert(CANARY, scope, &identity, Lifetime::UNLIMITED, NOW);
    assert_discreet(&memory);
}

#[test]
fn a_request_and_what_is_decided_about_it() {
    let mut headers = HeaderMap::new();
    let cookie = format!("__Host-access_token={CANARY}; __Host-refresh_token={CANARY}");
    headers.insert(header::COOKIE, HeaderValue::from_str(&cookie).unwrap());
    let names = CookieNames {
        access_token: "__Host-access_token".into(),
        refresh_token: "__Host-refresh_token".into(),
    };
    assert_discreet(&names.read(&headers));
    let (method, host) = (Method::GET, "store.example.com");
    let request = RequestHead { method: &method, path: "/x", host, headers: &headers, websocket: false };
    assert_discreet(&request);
    let (rules, keys, memory) = (app_rules(""), key_set(), SessionTables::new(8, NOW));
    let known = Knowledge {
        keys: &keys,
        key_generation: 1,
        memory: &memory,
        now: NOW,
        refresh_ahead: 30,
        keys_are_fresh: true,
    };
    let decision = decide(&rules, &request, &known);
    assert!(matches!(decision, Decision::Refresh(_)), "{decision:?}");
    assert_discreet(&decision);
}
