//! Single flight, the replay window and ends, with time that stands still until it is moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::advance;

use super::*;
use crate::access::identity::Identity;
use crate::access::identity_rules::IdentityRules;
use crate::access::testing::{NOW, claims, key_set, mint, token_rules};
use crate::access::token::verify;
use crate::access::tokens::AccessToken;
use crate::config::ClaimPath;
use crate::session::outcome::Tokens;

const WINDOW: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn key(token: &str) -> SessionKey {
    SessionKey::new(0, token)
}

fn renewed() -> Outcome {
    renewed_as(None)
}

/// What a refresh gains whose JWT can be used for a while.
const GAIN: Gain = Gain { lasts: Duration::from_secs(300), rest: None };

/// With another refresh token, each time with another JWT.
fn renewed_as(refresh_token: Option<&str>) -> Outcome {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let jti = COUNT.fetch_add(1, Ordering::Relaxed).to_string();
    let access_token = mint(&claims(&serde_json::json!({ "jti": jti })));
    let verified = verify(&access_token, &token_rules(), &key_set(), NOW).unwrap().claims;
    let rules = IdentityRules {
        roles_claim: ClaimPath::Roles,
        headers: vec![],
        max_header_size: 4096,
        user_claims: vec![],
    };
    let identity = Arc::new(Identity::new(verified, &rules).unwrap());
    Outcome::Renewed(Arc::new(Tokens {
        access_token: AccessToken::new(access_token),
        refresh_token: refresh_token.map(RefreshToken::new),
        identity,
        rules: 0,
    }))
}

impl ReplayWindow {
    /// The JWT beside a refresh token is too old to be told again.
    fn given_is_stale(&self, token: &str) {
        self.with(|state, _| state.given.remove(key(token)));
    }
}

/// What a turn is, in a word.
fn turn(ledger: &ReplayWindow, token: &str) -> (String, Option<watch::Sender<Option<Outcome>>>) {
    of_turn(ledger.take_turn(key(token), FOLLOWED, |_| true))
}

/// A JWT that is valid beside it, and another refresh token that led to this one.
const FOLLOWED: Asked = Asked { is_early: true, is_presented: false };

/// No valid JWT.
const DUE: Asked = Asked { is_early: false, is_presented: true };

fn of_turn(turn: Turn) -> (String, Option<watch::Sender<Option<Outcome>>>) {
    match turn {
        Turn::Call(sender) => ("call".to_owned(), Some(sender)),
        Turn::Wait(_) => ("wait".to_owned(), None),
        Turn::Known(outcome) => (word(&outcome).to_owned(), None),
        Turn::Replaced(newest) => (format!("replaced {}", &*newest), None),
        Turn::Reused(newest) => (format!("reused {}", &*newest), None),
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
    let ledger = ReplayWindow::new(WINDOW);
    let (first, sender) = turn(&ledger, "r1");
    assert_eq!(first, "call");
    let Turn::Wait(mut waiter) = ledger.take_turn(key("r1"), FOLLOWED, |_| true) else { panic!() };
    assert_eq!(turn(&ledger, "r2").0, "call");
    assert!(
        matches!(ledger.take_turn(SessionKey::new(1, "r1"), FOLLOWED, |_| true), Turn::Call(_)),
        "another app"
    );
    let told = ledger.finish(key("r1"), renewed(), GAIN);
    // Even before the waiters are told.
    assert_eq!(turn(&ledger, "r1").0, "renewed");
    sender.unwrap().send_replace(Some(told));
    let outcome = waiter.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!(word(&outcome), "renewed");
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_told_as_long_as_they_should_be() {
    for (outcome, still, no_more) in [(renewed(), 29, 30), (Outcome::Dead, 4, 5)] {
        let ledger = ReplayWindow::new(WINDOW);
        let told = word(&outcome);
        let _sender = turn(&ledger, "r1").1;
        ledger.finish(key("r1"), outcome, GAIN);
        advance(SECOND * still).await;
        assert_eq!(turn(&ledger, "r1").0, told, "after {still} s");
        advance(SECOND * (no_more - still)).await;
        assert_eq!(turn(&ledger, "r1").0, "call", "after {no_more} s");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_keeps_early_refreshes_away_for_a_while_but_no_others() {
    let ledger = ReplayWindow::new(WINDOW);
    let _sender = turn(&ledger, "r1").1;
    ledger.finish(key("r1"), Outcome::Unavailable, GAIN);
    // `turn` takes any outcome for usable, as early refreshes do.
    assert_eq!(turn(&ledger, "r1").0, "unavailable");
    let Turn::Call(_due) = ledger.take_turn(key("r1"), DUE, |_| false) else { panic!() };
    ledger.finish(key("r1"), Outcome::Unavailable, GAIN);
    advance(SECOND * 5).await;
    assert_eq!(turn(&ledger, "r1").0, "call");
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_are_bounded() {
    let ledger = ReplayWindow::new(WINDOW);
    for number in 0..MAX_UNDER_WAY {
        assert_eq!(turn(&ledger, &number.to_string()).0, "call");
    }
    assert_eq!(turn(&ledger, "one more").0, "unavailable");
    ledger.finish(key("0"), Outcome::Dead, GAIN);
    assert_eq!(turn(&ledger, "one more").0, "call");
}

#[tokio::test(start_paused = true)]
async fn ends_push_out_no_outcomes() {
    let ledger = ReplayWindow::new(WINDOW);
    let _sender = turn(&ledger, "r1").1;
    ledger.finish(key("r1"), renewed(), GAIN);
    for number in 0..MAX_ENTRIES + 100 {
        ledger.end(key(&format!("made up {number}")), EndedBy::Revocation);
    }
    assert_eq!(turn(&ledger, "r1").0, "renewed");
}

#[tokio::test(start_paused = true)]
async fn dead_is_not_remembered_beyond_a_short_window() {
    let ledger = ReplayWindow::new(SECOND * 2);
    let _sender = turn(&ledger, "r1").1;
    ledger.finish(key("r1"), Outcome::Dead, GAIN);
    advance(SECOND * 2).await;
    assert_eq!(turn(&ledger, "r1").0, "call");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_is_no_longer_usable_leads_to_another_call() {
    let ledger = ReplayWindow::new(WINDOW);
    let _sender = turn(&ledger, "r1").1;
    ledger.finish(key("r1"), renewed(), GAIN);
    let Turn::Call(_second) = ledger.take_turn(key("r1"), DUE, |_| false) else { panic!() };
    assert_eq!(turn(&ledger, "r1").0, "wait");
    ledger.finish(key("r1"), renewed(), GAIN);
    // The first outcome's expiry does not take the second one away.
    advance(SECOND * 20).await;
    assert_eq!(turn(&ledger, "r1").0, "renewed");
}

#[tokio::test(start_paused = true)]
async fn a_renewed_entry_outlives_the_expiry_of_the_one_before() {
    let ledger = ReplayWindow::new(WINDOW);
    let _first = turn(&ledger, "r1").1;
    ledger.finish(key("r1"), renewed(), GAIN);
    advance(SECOND * 20).await;
    let Turn::Call(_second) = ledger.take_turn(key("r1"), DUE, |_| false) else { panic!() };
    ledger.finish(key("r1"), renewed(), GAIN);
    advance(SECOND * 20).await;
    assert_eq!(turn(&ledger, "r1").0, "renewed");
    advance(SECOND * 10).await;
    assert_eq!(turn(&ledger, "r1").0, "call");
}

#[tokio::test(start_paused = true)]
async fn an_end_holds_whatever_the_call_under_way_brings() {
    for outcome in [renewed(), Outcome::Unavailable, Outcome::Dead] {
        let ledger = ReplayWindow::new(WINDOW);
        let _sender = turn(&ledger, "r1").1;
        assert!(ledger.end(key("r1"), EndedBy::Revocation).is_new);
        assert_eq!(turn(&ledger, "r1").0, "dead", "while the call goes on");
        assert_eq!(word(&ledger.finish(key("r1"), outcome, GAIN)), "ended");
        advance(ENDED_IS_KEPT.saturating_sub(SECOND)).await;
        assert_eq!(turn(&ledger, "r1").0, "dead");
        advance(SECOND).await;
        assert_eq!(turn(&ledger, "r1").0, "call");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_returns_what_the_token_had_led_to() {
    let ledger = ReplayWindow::new(WINDOW);
    let unknown = ledger.end(key("unknown"), EndedBy::Revocation);
    assert!(unknown.is_new && unknown.successor.is_none() && unknown.jwts.is_empty());
    assert!(!ledger.end(key("unknown"), EndedBy::Revocation).is_new);
    assert_eq!(turn(&ledger, "unknown").0, "dead");
    refresh(&ledger, "r1", Some("r2"));
    ledger.given_is_stale("r2");
    refresh(&ledger, "r2", Some("r3"));
    advance(WINDOW * 100).await;
    let end = ledger.end(key("r1"), EndedBy::Revocation);
    assert_eq!((end.successor.as_deref(), end.jwts.len()), (Some("r3"), 2));
    let end = ledger.end(key("r3"), EndedBy::Revocation);
    assert!(end.is_new && end.successor.is_none());
}

/// A whole refresh, whose new tokens are used at once.
fn refresh(ledger: &ReplayWindow, token: &str, next: Option<&str>) {
    refresh_for_nobody(ledger, token, next);
    for brought in [Some(token), next].into_iter().flatten() {
        ledger.brought(key(brought));
    }
}

/// A refresh whose new tokens nobody uses.
fn refresh_for_nobody(ledger: &ReplayWindow, token: &str, next: Option<&str>) -> Mark {
    ledger.brought(key(token));
    let (what, _sender) = turn(ledger, token);
    assert_eq!(what, "call", "{token}");
    let outcome = ledger.finish(key(token), renewed_as(next), GAIN);
    let Outcome::Renewed(tokens) = outcome else { panic!("{outcome:?}") };
    tokens.identity.marks().token
}

/// What a turn comes to in the end, from the token on that replaced this one.
fn end_of_turn(ledger: &ReplayWindow, token: &str) -> String {
    let what = turn(ledger, token).0;
    match what.strip_prefix("replaced ") {
        Some(newest) => format!("{newest}: {}", turn(ledger, newest).0),
        None => what,
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_replaced_is_reused_once_its_window_is_over() {
    let ledger = ReplayWindow::new(WINDOW);
    refresh(&ledger, "r1", Some("r2"));
    advance(WINDOW.saturating_sub(SECOND)).await;
    assert_eq!(end_of_turn(&ledger, "r1"), "r2: renewed", "a request that was under way");
    ledger.given_is_stale("r2");
    refresh(&ledger, "r2", Some("r3"));
    assert_eq!(end_of_turn(&ledger, "r1"), "r3: renewed");
    advance(SECOND).await;
    assert_eq!(turn(&ledger, "r1").0, "reused r3");
    assert_eq!(end_of_turn(&ledger, "r2"), "r3: renewed");
    advance(WINDOW).await;
    assert_eq!(turn(&ledger, "r2").0, "reused r3");
    assert_eq!(turn(&ledger, "r3").0, "call", "the newest one is good");
    let Turn::Call(_) = ledger.take_turn(SessionKey::new(1, "r1"), FOLLOWED, |_| true) else {
        panic!("another app")
    };
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_nobody_uses_makes_no_thief_of_who_comes_later() {
    let ledger = ReplayWindow::new(WINDOW);
    refresh_for_nobody(&ledger, "r1", Some("r2"));
    advance(WINDOW).await;
    assert_eq!(end_of_turn(&ledger, "r1"), "r2: renewed", "without another call");
    advance(WINDOW * 20).await;
    assert_eq!(end_of_turn(&ledger, "r1"), "r2: call", "its JWT has expired");
    ledger.finish(key("r2"), renewed_as(Some("r3")), GAIN);
    advance(WINDOW * 20).await;
    for old in ["r1", "r2"] {
        assert_eq!(turn(&ledger, old).0, "replaced r3");
    }
    ledger.brought(key("r2"));
    assert_eq!(turn(&ledger, "r1").0, "replaced r3", "within the window");
    advance(WINDOW).await;
    assert_eq!(turn(&ledger, "r1").0, "reused r3", "two have used one");
    assert_eq!(turn(&ledger, "r2").0, "replaced r3");
    ledger.brought(key("r3"));
    // What is used again, or was used before, moves no window.
    advance(WINDOW.saturating_sub(SECOND)).await;
    for used in ["r3", "r1", "r2"] {
        ledger.brought(key(used));
    }
    assert_eq!(turn(&ledger, "r2").0, "replaced r3");
    advance(SECOND).await;
    for old in ["r1", "r2"] {
        assert_eq!(turn(&ledger, old).0, "reused r3");
    }
}

#[tokio::test(start_paused = true)]
async fn the_new_jwt_tells_that_the_refresh_token_beside_it_was_delivered() {
    let ledger = ReplayWindow::new(WINDOW);
    let first = refresh_for_nobody(&ledger, "r1", Some("r2"));
    advance(WINDOW * 3).await;
    ledger.brought_jwt(Mark::token(0, "another"));
    assert_eq!(end_of_turn(&ledger, "r1"), "r2: renewed");
    ledger.brought_jwt(first);
    advance(WINDOW.saturating_sub(SECOND)).await;
    ledger.brought_jwt(first);
    assert_eq!(end_of_turn(&ledger, "r1"), "r2: renewed");
    advance(SECOND).await;
    assert_eq!(turn(&ledger, "r1").0, "reused r2");
}

#[tokio::test(start_paused = true)]
async fn a_jwt_that_is_given_again_says_nothing_of_its_refresh_token() {
    let ledger = ReplayWindow::new(WINDOW);
    let same = renewed_as(Some("r2"));
    let Outcome::Renewed(tokens) = &same else { panic!() };
    let jwt = tokens.identity.marks().token;
    ledger.begin(key("r1"), &tokens.identity, NOW);
    let _sender = turn(&ledger, "r1").1;
    ledger.finish(key("r1"), same.clone(), GAIN);
    ledger.brought_jwt(jwt);
    advance(WINDOW * 2).await;
    assert_eq!(turn(&ledger, "r1").0, "replaced r2", "the browser has had that JWT since its login");
    ledger.brought(key("r2"));
    advance(WINDOW).await;
    assert_eq!(turn(&ledger, "r1").0, "reused r2");
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_sleeps_for_days_after_a_lost_answer_keeps_its_session() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let ledger = ReplayWindow::new(WINDOW);
    refresh(&ledger, "r1", Some("r2"));
    ledger.given_is_stale("r2");
    refresh_for_nobody(&ledger, "r2", Some("r3"));
    advance(DAY * 29).await;
    assert_eq!(turn(&ledger, "r2").0, "replaced r3");
    assert_eq!(turn(&ledger, "r1").0, "call", "that one is forgotten");
    advance(DAY).await;
    assert_eq!(turn(&ledger, "r2").0, "call");
    // A client that keeps no cookies does not make the table grow for a month with each refresh.
    refresh_for_nobody(&ledger, "s1", Some("s2"));
    for number in 2..50 {
        let (token, next) = (format!("s{number}"), format!("s{}", number + 1));
        advance(SECOND * 700).await;
        assert_eq!(end_of_turn(&ledger, "s1"), format!("{token}: call"));
        ledger.finish(key(&token), renewed_as(Some(&next)), GAIN);
    }
    advance(DAY * 2).await;
    let known = (1..=50).filter(|number| ledger.is_known(key(&format!("s{number}")))).collect::<Vec<_>>();
    assert_eq!(known, [1, 50]);
}

#[tokio::test(start_paused = true)]
async fn who_brings_a_rotated_token_has_had_its_jwt() {
    let of = |ledger: &ReplayWindow, token: &str| {
        let asked = Asked { is_early: false, is_presented: true };
        of_turn(ledger.take_turn(key(token), asked, |_| true)).0
    };
    let ledger = ReplayWindow::new(WINDOW);
    refresh_for_nobody(&ledger, "r1", Some("r2"));
    assert_eq!(of(&ledger, "r1"), "replaced r2");
    assert_eq!(of(&ledger, "r2"), "call", "it may be a thief's, whom the provider knows better");
    refresh_for_nobody(&ledger, "s1", None);
    assert_eq!(of(&ledger, "s1"), "renewed", "parallel requests");
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_in_use_are_not_kept_for_longer_than_the_window() {
    let ledger = ReplayWindow::new(WINDOW);
    refresh_for_nobody(&ledger, "r1", Some("r2"));
    assert_eq!(ledger.state.lock().unwrap().given.sizes(), (1, 1));
    ledger.brought(key("r2"));
    advance(WINDOW).await;
    assert!(ledger.newer(key("r1")).is_none());
    refresh_for_nobody(&ledger, "q1", Some("q2"));
    advance(SECOND * 299).await;
    assert!(ledger.newer(key("q1")).is_some());
    advance(SECOND).await;
    assert!(ledger.newer(key("q1")).is_none(), "its JWT has expired");
}

/// Otherwise whoever has stolen both cookies and waits would be given the newest tokens, and their reuse would not be seen.
#[tokio::test(start_paused = true)]
async fn who_comes_with_a_token_of_before_the_one_in_use_is_given_nothing_newer_after_the_window() {
    let ledger = ReplayWindow::new(WINDOW);
    refresh_for_nobody(&ledger, "r1", Some("r2"));
    ledger.brought(key("r2"));
    ledger.finish(key("r2"), renewed_as(Some("r3")), GAIN);
    assert!(ledger.newer(key("r1")).is_some(), "within the window");
    advance(WINDOW).await;
    assert!(ledger.newer(key("r1")).is_none());
    assert!(ledger.newer(key("r2")).is_some(), "nobody has used what followed");
}

#[tokio::test(start_paused = true)]
async fn what_gained_nothing_is_not_tried_again_at_once() {
    for (rest, early, due) in [
        (None, "call", "call"),
        (Some(Rest::Early), "unavailable", "call"),
        (Some(Rest::All), "unavailable", "unavailable"),
    ] {
        for (is_early, expected) in [(true, early), (false, due)] {
            let ledger = ReplayWindow::new(WINDOW);
            refresh_for_nobody(&ledger, "r0", Some("r1"));
            ledger.given_is_stale("r1");
            let Turn::Call(_sender) = ledger.take_turn(key("r1"), DUE, |_| false) else { panic!() };
            ledger.finish(key("r1"), renewed(), Gain { rest, ..GAIN });
            let again = |expected: &str| {
                let asked = Asked { is_early, is_presented: true };
                let turn = match ledger.take_turn(key("r1"), asked, |_| false) {
                    Turn::Call(_) => "call",
                    Turn::Known(outcome) => word(&outcome),
                    _ => "other",
                };
                assert_eq!(turn, expected, "{rest:?} {is_early}");
            };
            again(expected);
            advance(REST).await;
            again("call");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_newest_token_is_that_of_all_before_it() {
    let ledger = ReplayWindow::new(WINDOW);
    refresh(&ledger, "r1", Some("r2"));
    ledger.given_is_stale("r2");
    refresh(&ledger, "r2", Some("r3"));
    ledger.end(key("r3"), EndedBy::AnotherLogin);
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
    let ledger = ReplayWindow::new(WINDOW);
    ledger.end(key("r1"), EndedBy::AnotherLogin);
    ledger.end(key("r1"), EndedBy::Revocation);
    assert_eq!(turn(&ledger, "r1").0, "ended", "its late requests clear no cookies");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_does_not_rotate_has_no_reuse() {
    let ledger = ReplayWindow::new(WINDOW);
    for same in [None, Some("r1")] {
        refresh(&ledger, "r1", same);
        advance(WINDOW * 2).await;
    }
    assert_eq!(turn(&ledger, "r1").0, "call");
}

#[tokio::test(start_paused = true)]
async fn a_family_is_forgotten_in_the_end() {
    let ledger = ReplayWindow::new(WINDOW);
    refresh(&ledger, "r1", Some("r2"));
    advance(Duration::from_secs(24 * 3600 - 1)).await;
    assert_eq!(turn(&ledger, "r1").0, "reused r2");
    advance(SECOND).await;
    assert_eq!(turn(&ledger, "r1").0, "call");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_panicked_blocks_nobody_and_undoes_no_end() {
    let ledger = ReplayWindow::new(WINDOW);
    drop(turn(&ledger, "r1").1);
    let (next, sender) = turn(&ledger, "r1");
    assert_eq!(next, "call");
    assert_eq!(turn(&ledger, "r1").0, "wait");
    ledger.end(key("r1"), EndedBy::Revocation);
    drop(sender);
    assert_eq!(turn(&ledger, "r1").0, "dead");
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_bounded_and_the_oldest_go_first() {
    let ledger = ReplayWindow::new(WINDOW);
    for number in 0..MAX_ENTRIES + 100 {
        ledger.end(key(&number.to_string()), EndedBy::Revocation);
        advance(Duration::from_millis(1)).await;
    }
    let size = |ledger: &ReplayWindow| {
        let state = ledger.state.lock().unwrap();
        state.ended.sizes()
    };
    let (entries, expiries) = size(&ledger);
    assert!(entries <= MAX_ENTRIES + 1 && expiries <= MAX_ENTRIES + 1, "{entries} {expiries}");
    assert!(!ledger.has_ended(key("0")));
    assert!(ledger.has_ended(key(&(MAX_ENTRIES + 99).to_string())));
    advance(ENDED_IS_KEPT).await;
    assert!(!ledger.has_ended(key("none")));
    assert_eq!(size(&ledger), (0, 0), "nothing is left behind");
}

#[tokio::test(start_paused = true)]
async fn one_token_over_and_over_does_not_grow_the_queue() {
    let ledger = ReplayWindow::new(WINDOW);
    for _ in 0..2000 {
        ledger.end(key("r1"), EndedBy::Revocation);
        advance(SECOND).await;
    }
    let state = ledger.state.lock().unwrap();
    assert_eq!(state.ended.sizes(), (1, 1));
}
