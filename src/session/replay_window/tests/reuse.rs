//! Refresh tokens that were replaced, and the detection of their reuse.

use super::*;
use crate::access::numbers::testing::{OTHER_CLIENT, PROVIDER};

#[tokio::test(start_paused = true)]
async fn a_token_that_was_replaced_is_reused_once_its_window_is_over() {
    let window = ReplayWindow::new(WINDOW);
    refresh(&window, "r1", Some("r2"));
    advance(WINDOW.saturating_sub(SECOND)).await;
    assert_eq!(end_of_turn(&window, "r1"), "r2: renewed", "a request that was under way");
    window.given_is_stale("r2");
    refresh(&window, "r2", Some("r3"));
    assert_eq!(end_of_turn(&window, "r1"), "r3: renewed");
    advance(SECOND).await;
    assert_eq!(turn(&window, "r1").0, "reused r3");
    assert_eq!(end_of_turn(&window, "r2"), "r3: renewed");
    advance(WINDOW).await;
    assert_eq!(turn(&window, "r2").0, "reused r3");
    assert_eq!(turn(&window, "r3").0, "call", "the newest one is good");
    let Claim::Mine(_) = window.claim(SessionKey::new(OTHER_CLIENT, "r1"), FOLLOWED) else {
        panic!("another app")
    };
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_nobody_uses_makes_no_thief_of_who_comes_later() {
    let window = ReplayWindow::new(WINDOW);
    refresh_for_nobody(&window, "r1", Some("r2"));
    advance(WINDOW).await;
    assert_eq!(end_of_turn(&window, "r1"), "r2: renewed", "without another call");
    advance(WINDOW * 20).await;
    assert_eq!(end_of_turn(&window, "r1"), "r2: call", "its JWT has expired");
    window.finish(key("r2"), renewed_as(Some("r3")), GAIN);
    advance(WINDOW * 20).await;
    for old in ["r1", "r2"] {
        assert_eq!(turn(&window, old).0, "replaced r3");
    }
    window.brought(key("r2"));
    assert_eq!(turn(&window, "r1").0, "replaced r3", "within the window");
    advance(WINDOW).await;
    assert_eq!(turn(&window, "r1").0, "reused r3", "two have used one");
    assert_eq!(turn(&window, "r2").0, "replaced r3");
    window.brought(key("r3"));
    // What is used again, or was used before, moves no window.
    advance(WINDOW.saturating_sub(SECOND)).await;
    for used in ["r3", "r1", "r2"] {
        window.brought(key(used));
    }
    assert_eq!(turn(&window, "r2").0, "replaced r3");
    advance(SECOND).await;
    for old in ["r1", "r2"] {
        assert_eq!(turn(&window, old).0, "reused r3");
    }
}

#[tokio::test(start_paused = true)]
async fn the_new_jwt_tells_that_the_refresh_token_beside_it_was_delivered() {
    let window = ReplayWindow::new(WINDOW);
    let first = refresh_for_nobody(&window, "r1", Some("r2"));
    advance(WINDOW * 3).await;
    window.brought_jwt(Mark::token(PROVIDER, "another"));
    assert_eq!(end_of_turn(&window, "r1"), "r2: renewed");
    window.brought_jwt(first);
    advance(WINDOW.saturating_sub(SECOND)).await;
    window.brought_jwt(first);
    assert_eq!(end_of_turn(&window, "r1"), "r2: renewed");
    advance(SECOND).await;
    assert_eq!(turn(&window, "r1").0, "reused r2");
}

#[tokio::test(start_paused = true)]
async fn a_jwt_that_is_given_again_says_nothing_of_its_refresh_token() {
    let window = ReplayWindow::new(WINDOW);
    let same = renewed_as(Some("r2"));
    let Outcome::Renewed(tokens) = &same else { panic!() };
    let jwt = tokens.identity.marks().token;
    window.begin(key("r1"), jwt_of(&tokens.identity), NOW);
    let _sender = turn(&window, "r1").1;
    window.finish(key("r1"), same.clone(), GAIN);
    window.brought_jwt(jwt);
    advance(WINDOW * 2).await;
    assert_eq!(turn(&window, "r1").0, "replaced r2", "the browser has had that JWT since its login");
    window.brought(key("r2"));
    advance(WINDOW).await;
    assert_eq!(turn(&window, "r1").0, "reused r2");
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_sleeps_for_days_after_a_lost_answer_keeps_its_session() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let window = ReplayWindow::new(WINDOW);
    refresh(&window, "r1", Some("r2"));
    window.given_is_stale("r2");
    refresh_for_nobody(&window, "r2", Some("r3"));
    advance(DAY * 29).await;
    assert_eq!(turn(&window, "r2").0, "replaced r3");
    assert_eq!(turn(&window, "r1").0, "call", "that one is forgotten");
    advance(DAY).await;
    assert_eq!(turn(&window, "r2").0, "call");
    // A client that keeps no cookies does not make the table grow for a month with each refresh.
    refresh_for_nobody(&window, "s1", Some("s2"));
    for number in 2..50 {
        let (token, next) = (format!("s{number}"), format!("s{}", number + 1));
        advance(SECOND * 700).await;
        assert_eq!(end_of_turn(&window, "s1"), format!("{token}: call"));
        window.finish(key(&token), renewed_as(Some(&next)), GAIN);
    }
    advance(DAY * 2).await;
    let known = (1..=50).filter(|number| window.is_known(key(&format!("s{number}")))).collect::<Vec<_>>();
    assert_eq!(known, [1, 50]);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_does_not_rotate_has_no_reuse() {
    let window = ReplayWindow::new(WINDOW);
    for same in [None, Some("r1")] {
        refresh(&window, "r1", same);
        advance(WINDOW * 2).await;
    }
    assert_eq!(turn(&window, "r1").0, "call");
}

#[tokio::test(start_paused = true)]
async fn a_family_is_forgotten_in_the_end() {
    let window = ReplayWindow::new(WINDOW);
    refresh(&window, "r1", Some("r2"));
    advance(Duration::from_secs(24 * 3600 - 1)).await;
    assert_eq!(turn(&window, "r1").0, "reused r2");
    advance(SECOND).await;
    assert_eq!(turn(&window, "r1").0, "call");
}
