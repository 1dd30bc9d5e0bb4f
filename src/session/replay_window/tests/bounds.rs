//! The bounds of what is remembered.

use super::*;

#[tokio::test(start_paused = true)]
async fn calls_under_way_are_bounded() {
    let window = ReplayWindow::new(WINDOW);
    for number in 0..MAX_UNDER_WAY {
        assert_eq!(turn(&window, &number.to_string()).0, "call");
    }
    assert_eq!(turn(&window, "one more").0, "unavailable");
    window.finish(key("0"), Outcome::Dead, GAIN);
    assert_eq!(turn(&window, "one more").0, "call");
}

#[tokio::test(start_paused = true)]
async fn ends_push_out_no_outcomes() {
    let window = ReplayWindow::new(WINDOW);
    let _sender = turn(&window, "r1").1;
    window.finish(key("r1"), renewed(), GAIN);
    for number in 0..MAX_ENTRIES + 100 {
        window.end(key(&format!("made up {number}")), EndedBy::Revocation);
    }
    assert_eq!(turn(&window, "r1").0, "renewed");
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_bounded_and_the_oldest_go_first() {
    let window = ReplayWindow::new(WINDOW);
    for number in 0..MAX_ENTRIES + 100 {
        window.end(key(&number.to_string()), EndedBy::Revocation);
        advance(Duration::from_millis(1)).await;
    }
    let size = |window: &ReplayWindow| {
        let state = window.state.lock().unwrap();
        state.ended.sizes()
    };
    let (entries, expiries) = size(&window);
    assert!(entries <= MAX_ENTRIES + 1 && expiries <= MAX_ENTRIES + 1, "{entries} {expiries}");
    assert!(!window.has_ended(key("0")));
    assert!(window.has_ended(key(&(MAX_ENTRIES + 99).to_string())));
    advance(ENDED_IS_KEPT).await;
    assert!(!window.has_ended(key("none")));
    assert_eq!(size(&window), (0, 0), "nothing is left behind");
}

#[tokio::test(start_paused = true)]
async fn one_token_over_and_over_does_not_grow_the_queue() {
    let window = ReplayWindow::new(WINDOW);
    for _ in 0..2000 {
        window.end(key("r1"), EndedBy::Revocation);
        advance(SECOND).await;
    }
    let state = window.state.lock().unwrap();
    assert_eq!(state.ended.sizes(), (1, 1));
}
