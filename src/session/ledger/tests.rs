//! Single flight, the replay window and ends, with time that stands still until it is moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::advance;

use super::*;
use crate::access::identity::Identity;
use crate::access::identity_rules::IdentityRules;
use crate::access::testing::{NOW, claims, key_set, mint, token_rules};
use crate::access::token::verify;
use crate::config::ClaimPath;
use crate::session::Tokens;

const WINDOW: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn key(token: &str) -> SessionKey {
    SessionKey::new(0, token)
}

fn renewed() -> Outcome {
    renewed_as(None)
}

/// With another refresh token, each time with another JWT.
fn renewed_as(refresh_token: Option<&str>) -> Outcome {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let jti = COUNT.fetch_add(1, Ordering::Relaxed).to_string();
    let access_token = mint(&claims(&serde_json::json!({ "jti": jti })));
    let verified = verify(&access_token, &token_rules(), &key_set(), NOW).unwrap().claims;
    let rules = IdentityRules { roles_claim: ClaimPath::Roles, headers: vec![], user_claims: vec![] };
    let identity = Arc::new(Identity::new(verified, &rules).unwrap());
    Outcome::Renewed(Arc::new(Tokens {
        access_token: access_token.into(),
        refresh_token: refresh_token.map(|token| token.to_owned().into()),
        identity,
        rules: 0,
    }))
}

/// What a turn is, in a word.
fn turn(ledger: &Ledger, token: &str) -> (String, Option<watch::Sender<Option<Outcome>>>) {
    match ledger.take_turn(key(token), |_| true) {
        Turn::Call(sender) => ("call".to_owned(), Some(sender)),
        Turn::Wait(_) => ("wait".to_owned(), None),
        Turn::Known(outcome) => (word(&outcome).to_owned(), None),
        Turn::Replaced(newest) => (format!("replaced {}", *newest), None),
        Turn::Reused(newest) => (format!("reused {}", *newest), None),
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Renewed(_) => "renewed",
        Outcome::Unverified(_) => "unverified",
        Outcome::Dead => "dead",
        Outcome::Ended => "ended",
        Outcome::ActionRequired(_) => "action required",
        Outcome::Unavailable | Outcome::Postponed(_) => "unavailable",
    }
}

#[tokio::test(start_paused = true)]
async fn one_calls_and_the_others_wait_for_the_same_outcome() {
    let ledger = Ledger::new(WINDOW);
    let (first, sender) = turn(&ledger, "r1");
    assert_eq!(first, "call");
    let Turn::Wait(mut waiter) = ledger.take_turn(key("r1"), |_| true) else { panic!() };
    assert_eq!(turn(&ledger, "r2").0, "call");
    assert!(matches!(ledger.take_turn(SessionKey::new(1, "r1"), |_| true), Turn::Call(_)), "another app");
    let told = ledger.finish(key("r1"), renewed(), Duration::ZERO);
    // Even before the waiters are told.
    assert_eq!(turn(&ledger, "r1").0, "renewed");
    sender.unwrap().send_replace(Some(told));
    let outcome = waiter.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!(word(&outcome), "renewed");
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_told_as_long_as_they_should_be() {
    for (outcome, still, no_more) in [(renewed(), 29, 30), (Outcome::Dead, 4, 5)] {
        let ledger = Ledger::new(WINDOW);
        let told = word(&outcome);
        let _sender = turn(&ledger, "r1").1;
        ledger.finish(key("r1"), outcome, Duration::ZERO);
        advance(SECOND * still).await;
        assert_eq!(turn(&ledger, "r1").0, told, "after {still} s");
        advance(SECOND * (no_more - still)).await;
        assert_eq!(ledger.known(key("r1")).map(|outcome| word(&outcome)), None);
        assert_eq!(turn(&ledger, "r1").0, "call", "after {no_more} s");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_keeps_early_refreshes_away_for_a_while_but_no_others() {
    let ledger = Ledger::new(WINDOW);
    let _sender = turn(&ledger, "r1").1;
    ledger.finish(key("r1"), Outcome::Unavailable, Duration::ZERO);
    // `turn` takes any outcome for usable, as early refreshes do.
    assert_eq!(turn(&ledger, "r1").0, "unavailable");
    let Turn::Call(_due) = ledger.take_turn(key("r1"), |_| false) else { panic!() };
    ledger.finish(key("r1"), Outcome::Unavailable, Duration::ZERO);
    advance(SECOND * 5).await;
    assert_eq!(turn(&ledger, "r1").0, "call");
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_are_bounded() {
    let ledger = Ledger::new(WINDOW);
    for number in 0..MAX_UNDER_WAY {
        assert_eq!(turn(&ledger, &number.to_string()).0, "call");
    }
    assert_eq!(turn(&ledger, "one more").0, "unavailable");
    ledger.finish(key("0"), Outcome::Dead, Duration::ZERO);
    assert_eq!(turn(&ledger, "one more").0, "call");
}

#[tokio::test(start_paused = true)]
async fn ends_push_out_no_outcomes() {
    let ledger = Ledger::new(WINDOW);
    let _sender = turn(&ledger, "r1").1;
    ledger.finish(key("r1"), renewed(), Duration::ZERO);
    for number in 0..MAX_ENTRIES + 100 {
        ledger.end(key(&format!("made up {number}")), false);
    }
    assert_eq!(turn(&ledger, "r1").0, "renewed");
}

#[tokio::test(start_paused = true)]
async fn dead_is_not_remembered_beyond_a_short_window() {
    let ledger = Ledger::new(SECOND * 2);
    let _sender = turn(&ledger, "r1").1;
    ledger.finish(key("r1"), Outcome::Dead, Duration::ZERO);
    advance(SECOND * 2).await;
    assert_eq!(turn(&ledger, "r1").0, "call");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_is_no_longer_usable_leads_to_another_call() {
    let ledger = Ledger::new(WINDOW);
    let _sender = turn(&ledger, "r1").1;
    ledger.finish(key("r1"), renewed(), Duration::ZERO);
    let Turn::Call(_second) = ledger.take_turn(key("r1"), |_| false) else { panic!() };
    assert_eq!(turn(&ledger, "r1").0, "wait");
    ledger.finish(key("r1"), renewed(), Duration::ZERO);
    // The first outcome's expiry does not take the second one away.
    advance(SECOND * 20).await;
    assert_eq!(turn(&ledger, "r1").0, "renewed");
}

#[tokio::test(start_paused = true)]
async fn a_renewed_entry_outlives_the_expiry_of_the_one_before() {
    let ledger = Ledger::new(WINDOW);
    let _first = turn(&ledger, "r1").1;
    ledger.finish(key("r1"), renewed(), Duration::ZERO);
    advance(SECOND * 20).await;
    let Turn::Call(_second) = ledger.take_turn(key("r1"), |_| false) else { panic!() };
    ledger.finish(key("r1"), renewed(), Duration::ZERO);
    advance(SECOND * 20).await;
    assert_eq!(turn(&ledger, "r1").0, "renewed");
    advance(SECOND * 10).await;
    assert_eq!(turn(&ledger, "r1").0, "call");
}

#[tokio::test(start_paused = true)]
async fn an_end_holds_whatever_the_call_under_way_brings() {
    for outcome in [renewed(), Outcome::Unavailable, Outcome::Dead] {
        let ledger = Ledger::new(WINDOW);
        let _sender = turn(&ledger, "r1").1;
        assert!(ledger.end(key("r1"), false).is_new);
        assert_eq!(turn(&ledger, "r1").0, "dead", "while the call goes on");
        assert_eq!(ledger.known(key("r1")).map(|outcome| word(&outcome)), Some("dead"));
        assert_eq!(word(&ledger.finish(key("r1"), outcome, Duration::ZERO)), "ended");
        advance(ENDED_IS_KEPT.saturating_sub(SECOND)).await;
        assert_eq!(turn(&ledger, "r1").0, "dead");
        advance(SECOND).await;
        assert_eq!(turn(&ledger, "r1").0, "call");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_returns_what_the_token_had_led_to() {
    let ledger = Ledger::new(WINDOW);
    let unknown = ledger.end(key("unknown"), false);
    assert!(unknown.is_new && unknown.successor.is_none() && unknown.jwts.is_empty());
    assert!(!ledger.end(key("unknown"), false).is_new);
    assert_eq!(turn(&ledger, "unknown").0, "dead");
    refresh(&ledger, "r1", Some("r2"));
    refresh(&ledger, "r2", Some("r3"));
    advance(WINDOW * 100).await;
    let end = ledger.end(key("r1"), false);
    assert_eq!((end.successor.as_deref().map(String::as_str), end.jwts.len()), (Some("r3"), 2));
    let end = ledger.end(key("r3"), false);
    assert!(end.is_new && end.successor.is_none());
}

/// A whole refresh, whose cookies go out.
fn refresh(ledger: &Ledger, token: &str, next: Option<&str>) {
    refresh_for_nobody(ledger, token, next);
    for delivered in [Some(token), next].into_iter().flatten() {
        ledger.delivered(key(delivered));
    }
}

/// A refresh that nobody waits for any more.
fn refresh_for_nobody(ledger: &Ledger, token: &str, next: Option<&str>) {
    let (what, _sender) = turn(ledger, token);
    assert_eq!(what, "call", "{token}");
    ledger.finish(key(token), renewed_as(next), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_replaced_is_reused_once_its_window_is_over() {
    let ledger = Ledger::new(WINDOW);
    refresh(&ledger, "r1", Some("r2"));
    advance(WINDOW.saturating_sub(SECOND)).await;
    assert_eq!(turn(&ledger, "r1").0, "renewed", "a lost answer");
    refresh(&ledger, "r2", Some("r3"));
    advance(SECOND).await;
    assert_eq!(turn(&ledger, "r1").0, "reused r3");
    assert_eq!(turn(&ledger, "r2").0, "renewed");
    advance(WINDOW).await;
    assert_eq!(turn(&ledger, "r2").0, "reused r3");
    assert_eq!(turn(&ledger, "r3").0, "call", "the newest one is good");
    let Turn::Call(_) = ledger.take_turn(SessionKey::new(1, "r1"), |_| true) else { panic!("another app") };
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_nobody_was_given_makes_no_thief_of_who_comes_later() {
    let ledger = Ledger::new(WINDOW);
    refresh_for_nobody(&ledger, "r1", Some("r2"));
    advance(WINDOW * 10).await;
    assert_eq!(turn(&ledger, "r1").0, "replaced r2");
    refresh_for_nobody(&ledger, "r2", Some("r3"));
    advance(WINDOW * 10).await;
    for old in ["r1", "r2"] {
        assert_eq!(turn(&ledger, old).0, "replaced r3");
    }
    ledger.delivered(key("r2"));
    assert_eq!(turn(&ledger, "r1").0, "reused r3", "two have had one");
    assert_eq!(turn(&ledger, "r2").0, "replaced r3");
    ledger.delivered(key("r3"));
    ledger.delivered(key("r1"));
    ledger.delivered(key("r2"));
    for old in ["r1", "r2"] {
        assert_eq!(turn(&ledger, old).0, "reused r3");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_newest_token_is_that_of_all_before_it() {
    let ledger = Ledger::new(WINDOW);
    refresh(&ledger, "r1", Some("r2"));
    refresh(&ledger, "r2", Some("r3"));
    ledger.end(key("r3"), true);
    for _ in 0..2 {
        for token in ["r1", "r2", "r3"] {
            assert!(ledger.has_ended(key(token)), "{token}");
            // Not a reuse, which would clear the cookies of the session that took its place.
            assert_eq!(turn(&ledger, token).0, "ended", "{token}");
        }
        advance(WINDOW * 2).await;
    }
    assert!(!ledger.has_ended(key("other")));
}

#[tokio::test(start_paused = true)]
async fn what_another_login_replaced_stays_replaced() {
    let ledger = Ledger::new(WINDOW);
    ledger.end(key("r1"), true);
    ledger.end(key("r1"), false);
    assert_eq!(turn(&ledger, "r1").0, "ended", "its late requests clear no cookies");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_does_not_rotate_has_no_reuse() {
    let ledger = Ledger::new(WINDOW);
    for same in [None, Some("r1")] {
        refresh(&ledger, "r1", same);
        advance(WINDOW * 2).await;
    }
    assert_eq!(turn(&ledger, "r1").0, "call");
}

#[tokio::test(start_paused = true)]
async fn the_window_begins_when_the_cookies_are_on_their_way_and_only_once() {
    let ledger = Ledger::new(WINDOW);
    let _sender = turn(&ledger, "r1").1;
    ledger.finish(key("r1"), renewed_as(Some("r2")), Duration::from_secs(60));
    advance(Duration::from_secs(50)).await;
    assert_eq!(turn(&ledger, "r1").0, "renewed", "the response is still being made");
    let deliver = || ["r1", "r2"].map(|token| ledger.delivered(key(token)));
    deliver();
    advance(WINDOW.saturating_sub(SECOND)).await;
    assert_eq!(turn(&ledger, "r1").0, "renewed");
    deliver();
    advance(SECOND).await;
    assert_eq!(turn(&ledger, "r1").0, "reused r2", "a thief cannot keep it alive");
}

#[tokio::test(start_paused = true)]
async fn a_family_is_forgotten_in_the_end() {
    let ledger = Ledger::new(WINDOW);
    refresh(&ledger, "r1", Some("r2"));
    advance(Duration::from_secs(24 * 3600)).await;
    assert_eq!(turn(&ledger, "r1").0, "call");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_panicked_blocks_nobody_and_undoes_no_end() {
    let ledger = Ledger::new(WINDOW);
    drop(turn(&ledger, "r1").1);
    let (next, sender) = turn(&ledger, "r1");
    assert_eq!(next, "call");
    assert_eq!(turn(&ledger, "r1").0, "wait");
    ledger.end(key("r1"), false);
    drop(sender);
    assert_eq!(turn(&ledger, "r1").0, "dead");
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_bounded_and_the_oldest_go_first() {
    let ledger = Ledger::new(WINDOW);
    for number in 0..MAX_ENTRIES + 100 {
        ledger.end(key(&number.to_string()), false);
        advance(Duration::from_millis(1)).await;
    }
    let size = |ledger: &Ledger| {
        let state = ledger.state.lock().unwrap();
        state.ended.sizes()
    };
    let (entries, expiries) = size(&ledger);
    assert!(entries <= MAX_ENTRIES + 1 && expiries <= MAX_ENTRIES + 1, "{entries} {expiries}");
    assert!(ledger.known(key("0")).is_none());
    assert!(ledger.known(key(&(MAX_ENTRIES + 99).to_string())).is_some());
    advance(ENDED_IS_KEPT).await;
    assert!(ledger.known(key("none")).is_none());
    assert_eq!(size(&ledger), (0, 0), "nothing is left behind");
}

#[tokio::test(start_paused = true)]
async fn one_token_over_and_over_does_not_grow_the_queue() {
    let ledger = Ledger::new(WINDOW);
    for _ in 0..2000 {
        ledger.end(key("r1"), false);
        advance(SECOND).await;
    }
    let state = ledger.state.lock().unwrap();
    assert_eq!(state.ended.sizes(), (1, 1));
}
