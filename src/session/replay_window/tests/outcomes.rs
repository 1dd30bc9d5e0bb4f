//! The outcomes, and for how long they are told.

use super::*;
use crate::access::numbers::testing::OTHER_CLIENT;
use crate::session::shared_state::values::Told;

#[tokio::test(start_paused = true)]
async fn one_calls_and_the_others_wait_for_the_same_outcome() {
    let window = ReplayWindow::new(WINDOW);
    let (first, sender) = turn(&window, "r1");
    assert_eq!(first, "call");
    let Claim::Wait(mut waiter) = window.claim(key("r1"), FOLLOWED) else { panic!() };
    assert_eq!(turn(&window, "r2").0, "call");
    assert!(
        matches!(window.claim(SessionKey::new(OTHER_CLIENT, "r1"), FOLLOWED), Claim::Mine(_)),
        "another app"
    );
    let told = window.finish(key("r1"), renewed(), GAIN);
    // Even before the waiters are told.
    assert_eq!(turn(&window, "r1").0, "renewed");
    sender.unwrap().tell(told);
    let told = waiter.wait_for(Option::is_some).await.unwrap().clone();
    let Some(Told::Outcome(outcome)) = told else { panic!("{told:?}") };
    assert_eq!(word(&outcome), "renewed");
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_told_as_long_as_they_should_be() {
    for (outcome, still, no_more) in [(renewed(), 29, 30), (Outcome::Dead, 4, 5)] {
        let window = ReplayWindow::new(WINDOW);
        let told = word(&outcome);
        let _sender = turn(&window, "r1").1;
        window.finish(key("r1"), outcome, GAIN);
        advance(SECOND * still).await;
        assert_eq!(turn(&window, "r1").0, told, "after {still} s");
        advance(SECOND * (no_more - still)).await;
        assert_eq!(turn(&window, "r1").0, "call", "after {no_more} s");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_keeps_early_refreshes_away_for_a_while_but_no_others() {
    let window = ReplayWindow::new(WINDOW);
    let _sender = turn(&window, "r1").1;
    window.finish(key("r1"), Outcome::Unavailable, GAIN);
    // `turn` takes any outcome for usable, as early refreshes do.
    assert_eq!(turn(&window, "r1").0, "unavailable");
    let Claim::Mine(_due) = window.claim(key("r1"), window.useless("r1", DUE)) else { panic!() };
    window.finish(key("r1"), Outcome::Unavailable, GAIN);
    advance(SECOND * 5).await;
    assert_eq!(turn(&window, "r1").0, "call");
}

#[tokio::test(start_paused = true)]
async fn dead_is_not_remembered_beyond_a_short_window() {
    let window = ReplayWindow::new(SECOND * 2);
    let _sender = turn(&window, "r1").1;
    window.finish(key("r1"), Outcome::Dead, GAIN);
    advance(SECOND * 2).await;
    assert_eq!(turn(&window, "r1").0, "call");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_is_no_longer_usable_leads_to_another_call() {
    let window = ReplayWindow::new(WINDOW);
    let _sender = turn(&window, "r1").1;
    window.finish(key("r1"), renewed(), GAIN);
    let Claim::Mine(_second) = window.claim(key("r1"), window.useless("r1", DUE)) else { panic!() };
    assert_eq!(turn(&window, "r1").0, "wait");
    window.finish(key("r1"), renewed(), GAIN);
    // The first outcome's expiry does not take the second one away.
    advance(SECOND * 20).await;
    assert_eq!(turn(&window, "r1").0, "renewed");
}

#[tokio::test(start_paused = true)]
async fn a_renewed_entry_outlives_the_expiry_of_the_one_before() {
    let window = ReplayWindow::new(WINDOW);
    let _first = turn(&window, "r1").1;
    window.finish(key("r1"), renewed(), GAIN);
    advance(SECOND * 20).await;
    let Claim::Mine(_second) = window.claim(key("r1"), window.useless("r1", DUE)) else { panic!() };
    window.finish(key("r1"), renewed(), GAIN);
    advance(SECOND * 20).await;
    assert_eq!(turn(&window, "r1").0, "renewed");
    advance(SECOND * 10).await;
    assert_eq!(turn(&window, "r1").0, "call");
}

#[tokio::test(start_paused = true)]
async fn who_brings_a_rotated_token_has_had_its_jwt() {
    let of = |window: &ReplayWindow, token: &str| {
        let asked =
            Asked { is_early: false, is_presented: true, useless: None, refresh_grace: Duration::ZERO };
        of_turn(window.claim(key(token), asked)).0
    };
    let window = ReplayWindow::new(WINDOW);
    refresh_for_nobody(&window, "r1", Some("r2"));
    assert_eq!(of(&window, "r1"), "replaced r2");
    assert_eq!(of(&window, "r2"), "call", "it may be a thief's, whom the provider knows better");
    refresh_for_nobody(&window, "s1", None);
    assert_eq!(of(&window, "s1"), "renewed", "parallel requests");
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_in_use_are_not_kept_for_longer_than_the_window() {
    let window = ReplayWindow::new(WINDOW);
    refresh_for_nobody(&window, "r1", Some("r2"));
    assert_eq!(window.state.lock().unwrap().given.sizes(), (1, 1));
    window.brought(key("r2"));
    advance(WINDOW).await;
    assert!(window.newer(key("r1")).is_none());
    refresh_for_nobody(&window, "q1", Some("q2"));
    advance(SECOND * 299).await;
    assert!(window.newer(key("q1")).is_some());
    advance(SECOND).await;
    assert!(window.newer(key("q1")).is_none(), "its JWT has expired");
}

/// Otherwise whoever has stolen both cookies and waits would be given the newest tokens, and their reuse would not be seen.
#[tokio::test(start_paused = true)]
async fn who_comes_with_a_token_of_before_the_one_in_use_is_given_nothing_newer_after_the_window() {
    let window = ReplayWindow::new(WINDOW);
    refresh_for_nobody(&window, "r1", Some("r2"));
    window.brought(key("r2"));
    window.finish(key("r2"), renewed_as(Some("r3")), GAIN);
    assert!(window.newer(key("r1")).is_some(), "within the window");
    advance(WINDOW).await;
    assert!(window.newer(key("r1")).is_none());
    assert!(window.newer(key("r2")).is_some(), "nobody has used what followed");
}

#[tokio::test(start_paused = true)]
async fn what_gained_nothing_is_not_tried_again_at_once() {
    for (rest, early, due) in [
        (None, "call", "call"),
        (Some(Rest::Early), "unavailable", "call"),
        (Some(Rest::All), "unavailable", "unavailable"),
    ] {
        for (is_early, expected) in [(true, early), (false, due)] {
            let window = ReplayWindow::new(WINDOW);
            refresh_for_nobody(&window, "r0", Some("r1"));
            window.given_is_stale("r1");
            let Claim::Mine(_sender) = window.claim(key("r1"), window.useless("r1", DUE)) else { panic!() };
            window.finish(key("r1"), renewed(), Gain { rest, ..GAIN });
            let again = |expected: &str| {
                let asked = window.useless(
                    "r1",
                    Asked { is_early, is_presented: true, useless: None, refresh_grace: Duration::ZERO },
                );
                let turn = match window.claim(key("r1"), window.useless("r1", asked)) {
                    Claim::Mine(_) => "call",
                    Claim::Known(outcome) => word(&outcome),
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
