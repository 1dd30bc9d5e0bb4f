use std::future::poll_fn;
use std::net::SocketAddr;

use super::*;

#[test]
fn only_waiting_counts() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut rate = BodyRate::new(10);
    assert_eq!(rate.deadline(at(0)), Some(at(10)));
    rate.add(50, at(4));
    // For 100 s the app took nothing.
    assert_eq!(rate.deadline(at(104)), Some(at(110)));
    rate.add(50, at(109));
    assert_eq!(rate.deadline(at(109)), Some(at(110)));
    assert_eq!(rate.deadline(at(110)), Some(at(120)), "100 bytes in 10 s suffice");
    rate.add(99, at(111));
    assert_eq!(rate.deadline(at(111)), Some(at(120)));
    assert_eq!(rate.deadline(at(120)), None, "99 do not");
}

#[tokio::test(start_paused = true)]
async fn fires_for_the_deadline_that_is_asked_about() {
    let start = Instant::now();
    let mut timer = Timer::default();
    let far = start + Duration::from_secs(60);
    let near = start + Duration::from_secs(10);
    // As on a connection: armed for the far one, then for the near one, which then no longer matters.
    poll_fn(|context| {
        assert!(timer.poll_deadline(context, far).is_pending());
        assert!(timer.poll_deadline(context, near).is_pending());
        Poll::Ready(())
    })
    .await;
    poll_fn(|context| timer.poll_deadline(context, far)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(60));
    let next = Instant::now() + Duration::from_secs(1);
    poll_fn(|context| timer.poll_deadline(context, next)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(61));
}

/// An exchange for which nobody does anything.
async fn ends(stage: Stage, set: impl FnOnce(&ExchangeControl)) -> (EndReason, u64) {
    let control = ExchangeControl::new(SocketAddr::from(([127, 0, 0, 1], 1)), false);
    control.begin_exchange();
    set(&control);
    let (start, mut timer, mut deadlines) = (Instant::now(), Timer::default(), Deadlines::new(100));
    let reason = poll_fn(|context| deadlines.poll(&control, stage, &mut timer, context, |_, _| None)).await;
    assert_eq!(control.ended(), Some(reason));
    (reason, start.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn the_nearest_deadline_ends_an_exchange() {
    const SECOND: Duration = Duration::from_secs(1);
    let none = Stage { awaits_body: false, is_half_closed: false, is_upgraded: false };
    let body = Stage { awaits_body: true, ..none };
    let half_closed = Stage { is_half_closed: true, ..none };
    let upgraded = Stage { is_upgraded: true, ..none };
    assert_eq!(ends(body, |_| {}).await, (EndReason::BodyTooSlow, 10));
    assert_eq!(
        ends(body, |control| control.timeouts.arm_response(9 * SECOND)).await,
        (EndReason::ResponseTimeout, 9)
    );
    assert_eq!(
        ends(body, |control| control.timeouts.set_answer(11 * SECOND)).await,
        (EndReason::BodyTooSlow, 10)
    );
    assert_eq!(
        ends(none, |control| control.timeouts.set_answer(11 * SECOND)).await,
        (EndReason::AppIdle, 11)
    );
    let exempt = |control: &ExchangeControl| {
        control.timeouts.exempt_from_body_rate();
        control.timeouts.arm_response(70 * SECOND);
    };
    assert_eq!(ends(body, exempt).await, (EndReason::ResponseTimeout, 70));
    assert_eq!(ends(half_closed, exempt).await, (EndReason::ClientLeft, 5));
    let idle = |control: &ExchangeControl| {
        control.timeouts.arm_response(SECOND);
        control.timeouts.set_answer(SECOND);
        control.timeouts.set_idle(30 * SECOND);
    };
    assert_eq!(ends(upgraded, idle).await, (EndReason::Idle, 30));
    assert_eq!(ends(body, idle).await, (EndReason::Idle, 30));
    assert_eq!(ends(none, |control| control.end(EndReason::Shutdown)).await, (EndReason::Shutdown, 0));
}
