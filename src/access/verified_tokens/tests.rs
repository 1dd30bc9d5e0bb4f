//! What is remembered, for whom, and for how long.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::access::decision::{self, Decision, Knowledge, RequestHead};
use crate::access::identity_rules::IdentityRules;
use crate::access::numbers::testing::{APP, OTHER_APP};
use crate::access::session_tables::SessionTables;
use crate::access::testing::{NOW, app_rules, claims, key_set, mint, token_rules};
use crate::access::token::verify;
use crate::config::ClaimPath;

const SCOPE: Scope = Scope { app: APP, key_generation: 1 };

fn identity(exp: u64) -> Arc<Identity> {
    let token = mint(&claims(&json!({"exp": exp, "iat": null})));
    let verified = verify(&token, &token_rules(), &key_set(), NOW).unwrap().claims;
    let rules = IdentityRules {
        roles_claim: ClaimPath::Roles,
        headers: vec![],
        max_header_size: 4096,
        user_claims: vec![],
    };
    Arc::new(Identity::new(verified, &rules).unwrap())
}

fn occupied(table: &VerifiedTokens) -> usize {
    table.slots.iter().filter(|slot| slot.load().is_some()).count()
}

#[test]
fn an_entry_answers_for_one_token_one_app_and_one_state_of_the_keys() {
    let table = VerifiedTokens::new(64);
    table.insert("a.b.signature", SCOPE, &identity(NOW + 300), Lifetime::UNLIMITED, NOW);
    assert!(table.get("a.b.signature", SCOPE, NOW).is_some());
    for (token, app, key_generation) in [
        ("a.b.signatur", APP, 1),
        ("a.b.Signature", APP, 1),
        ("a.b.signature", OTHER_APP, 1),
        ("a.b.signature", APP, 2),
    ] {
        assert!(
            table.get(token, Scope { app, key_generation }, NOW).is_none(),
            "{token} {app:?} {key_generation}"
        );
    }
}

#[test]
fn two_tokens_with_one_signature_are_told_apart() {
    let table = VerifiedTokens::new(1);
    let signature = "s".repeat(86);
    let (alice, admin) = (format!("h.alice.{signature}"), format!("h.admin.{signature}"));
    table.insert(&alice, SCOPE, &identity(NOW + 300), Lifetime::UNLIMITED, NOW);
    assert!(table.get(&admin, SCOPE, NOW).is_none());
    table.insert(&admin, SCOPE, &identity(NOW + 300), Lifetime::UNLIMITED, NOW);
    assert!(table.get(&alice, SCOPE, NOW).is_some() && table.get(&admin, SCOPE, NOW).is_some());
}

#[test]
fn never_past_exp() {
    let table = VerifiedTokens::new(64);
    table.insert("token", SCOPE, &identity(NOW + 300), Lifetime::UNLIMITED, NOW);
    assert!(table.get("token", SCOPE, NOW + 299).is_some());
    assert!(table.get("token", SCOPE, NOW + 300).is_none());
    assert!(table.get("token", SCOPE, u64::MAX).is_none());
}

#[test]
fn the_table_is_bounded() {
    for capacity in [0, 1, 4, 5, 64] {
        let table = VerifiedTokens::new(capacity);
        let identity = identity(NOW + 300);
        for number in 0..1000 {
            let token = format!("token {number}");
            table.insert(&token, SCOPE, &identity, Lifetime::UNLIMITED, NOW);
            assert!(table.get(&token, SCOPE, NOW).is_some(), "the newest is always there");
        }
        assert!(occupied(&table) <= capacity.next_multiple_of(WAYS).max(WAYS), "{capacity}");
    }
}

#[test]
fn expired_and_outdated_entries_make_room_before_living_ones() {
    let table = VerifiedTokens::new(WAYS);
    let (short, long) = (identity(NOW + 10), identity(NOW + 300));
    table.insert("short", SCOPE, &short, Lifetime::UNLIMITED, NOW);
    for number in 1..WAYS {
        table.insert(&number.to_string(), SCOPE, &long, Lifetime::UNLIMITED, NOW);
    }
    table.insert("next", SCOPE, &long, Lifetime::UNLIMITED, NOW + 10);
    assert!((1..WAYS).all(|number| table.get(&number.to_string(), SCOPE, NOW + 10).is_some()));
    assert!(table.get("next", SCOPE, NOW + 10).is_some());
    // Another app's entries are not outdated by this one's keys.
    let other = Scope { app: OTHER_APP, key_generation: 9 };
    let table = VerifiedTokens::new(WAYS);
    table.insert("old keys", SCOPE, &long, Lifetime::UNLIMITED, NOW);
    for number in 1..WAYS {
        table.insert(&number.to_string(), other, &long, Lifetime::UNLIMITED, NOW);
    }
    let newer = Scope { key_generation: 2, ..SCOPE };
    table.insert("new keys", newer, &long, Lifetime::UNLIMITED, NOW);
    assert!((1..WAYS).all(|number| table.get(&number.to_string(), other, NOW).is_some()));
    assert!(table.get("new keys", newer, NOW).is_some());
}

#[test]
fn one_token_takes_one_slot() {
    let table = VerifiedTokens::new(64);
    let identity = identity(NOW + 300);
    for _ in 0..100 {
        table.insert("token", SCOPE, &identity, Lifetime::UNLIMITED, NOW);
    }
    assert_eq!(occupied(&table), 1);
}

#[test]
fn tokens_are_not_shown() {
    let table = VerifiedTokens::new(1);
    table.insert("secret", SCOPE, &identity(NOW + 300), Lifetime::UNLIMITED, NOW);
    assert!(!format!("{table:?}").contains("secret"));
}

proptest! {
    /// Unique tokens that do not verify leave everything as it was.
    #[test]
    fn invalid_tokens_change_nothing(junk in proptest::collection::vec("[A-Za-z0-9_.-]{0,60}", 1..40)) {
        let (rules, keys, memory) = (app_rules(""), key_set(), SessionTables::new(WAYS, NOW));
        let table = &memory.verified;
        let good = mint(&claims(&json!({})));
        let decide = |token: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert(http::header::COOKIE, format!("__Host-access_token={token}").parse().unwrap());
            let host = "store.example.com";
            let head = RequestHead { method: &http::Method::GET, path: "/x", host, headers: &headers, websocket: false };
            let known = Knowledge {
                keys: &keys, key_generation: 1, memory: &memory, now: NOW, refresh_ahead: 30, keys_are_fresh: false,
            };
            matches!(decision::decide(&rules, &head, &known), Decision::Forward(permit) if permit.identity().is_some())
        };
        prop_assert!(decide(&good));
        let (message, _) = good.rsplit_once('.').unwrap();
        for junk in &junk {
            prop_assert!(!decide(junk));
            let forged = format!("{message}.{junk}");
            prop_assert!(!decide(&forged));
        }
        let expired = mint(&claims(&json!({"exp": NOW - 10})));
        prop_assert!(!decide(&expired));
        prop_assert_eq!(occupied(table), 1);
        let scope = Scope { app: rules.app_number, ..SCOPE };
        prop_assert!(table.get(&good, scope, NOW).is_some());
    }
}
