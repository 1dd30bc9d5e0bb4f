//! Ended sessions.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_end_holds_whatever_the_call_under_way_brings() {
    for outcome in [renewed(), Outcome::Unavailable, Outcome::Dead] {
        let window = ReplayWindow::new(WINDOW);
        let _sender = turn(&window, "r1").1;
        assert!(window.end(key("r1"), EndedBy::Revocation).is_new);
        assert_eq!(turn(&window, "r1").0, "dead", "while the call goes on");
        assert_eq!(word(&window.finish(key("r1"), outcome, GAIN)), "ended");
        advance(ENDED_IS_KEPT.saturating_sub(SECOND)).await;
        assert_eq!(turn(&window, "r1").0, "dead");
        advance(SECOND).await;
        assert_eq!(turn(&window, "r1").0, "call");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_returns_what_the_token_had_led_to() {
    let window = ReplayWindow::new(WINDOW);
    let unknown = window.end(key("unknown"), EndedBy::Revocation);
    assert!(unknown.is_new && unknown.successor.is_none() && unknown.jwts.is_empty());
    assert!(!window.end(key("unknown"), EndedBy::Revocation).is_new);
    assert_eq!(turn(&window, "unknown").0, "dead");
    refresh(&window, "r1", Some("r2"));
    window.given_is_stale("r2");
    refresh(&window, "r2", Some("r3"));
    advance(WINDOW * 100).await;
    let end = window.end(key("r1"), EndedBy::Revocation);
    assert_eq!((end.successor.as_deref(), end.jwts.len()), (Some("r3"), 2));
    let end = window.end(key("r3"), EndedBy::Revocation);
    assert!(end.is_new && end.successor.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_newest_token_is_that_of_all_before_it() {
    let window = ReplayWindow::new(WINDOW);
    refresh(&window, "r1", Some("r2"));
    window.given_is_stale("r2");
    refresh(&window, "r2", Some("r3"));
    window.end(key("r3"), EndedBy::AnotherLogin);
    for _ in 0..2 {
        for token in ["r1", "r2", "r3"] {
            assert!(window.has_ended(key(token)), "{token}");
            // Not a reuse, which would clear the cookies of the session that took its place.
            assert_eq!(turn(&window, token).0, "ended", "{token}");
        }
        advance(WINDOW * 2).await;
    }
    assert!(!window.has_ended(key("other")));
}

#[tokio::test(start_paused = true)]
async fn what_another_login_replaced_stays_replaced() {
    let window = ReplayWindow::new(WINDOW);
    window.end(key("r1"), EndedBy::AnotherLogin);
    window.end(key("r1"), EndedBy::Revocation);
    assert_eq!(turn(&window, "r1").0, "ended", "its late requests clear no cookies");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_panicked_blocks_nobody_and_undoes_no_end() {
    let window = ReplayWindow::new(WINDOW);
    drop(turn(&window, "r1").1);
    let (next, sender) = turn(&window, "r1");
    assert_eq!(next, "call");
    assert_eq!(turn(&window, "r1").0, "wait");
    window.end(key("r1"), EndedBy::Revocation);
    drop(sender);
    assert_eq!(turn(&window, "r1").0, "dead");
}
