//! One rule for requests of all kinds at once. An app sees exactly the messages that were sent, each whole or visibly
//! cut. No client ever gets an answer that is not its own, however clients and apps behave and whoever shares the
//! connections.

mod http1;
mod http2;
mod play;
mod stage;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio::runtime::Runtime;

use self::play::{Expected, Outcome, Play, plays};
use self::stage::Stage;
use crate::support::strict::{POISON, TINY, digest};

/// Holds an outcome against what its client may expect.
fn judge(play: &Play, id: &str, outcome: &Outcome) -> Result<(), TestCaseError> {
    let what = format!("{id}: {play:?} {} {:?}", outcome.status, String::from_utf8_lossy(&outcome.body));
    let text = String::from_utf8_lossy(&outcome.body);
    prop_assert!(!text.contains(POISON), "{}", what);
    prop_assert!(outcome.id.as_ref().is_none_or(|own| own == id), "somebody else's answer: {}", what);
    if text.contains("id=") {
        prop_assert!(text.starts_with(&format!("id={id} ")), "somebody else's answer: {}", what);
    }
    if play.is_aborted() {
        return Ok(());
    }
    let has_text = play.method != "HEAD";
    match play.expected {
        Expected::Own | Expected::Tiny => {
            prop_assert!(outcome.status == 200 && outcome.is_whole, "{}", what);
            let own = format!("id={id} {}", digest(&play.body().concat()));
            let expected = match play.expected {
                Expected::Tiny => "x".repeat(TINY),
                _ => own,
            };
            prop_assert_eq!(text.as_ref(), if has_text { expected.as_str() } else { "" }, "{}", what);
        }
        Expected::Nothing => {
            prop_assert!(matches!(outcome.status, 204 | 304) && outcome.body.is_empty(), "{}", what);
        }
        Expected::Early => {
            let early = format!("id={id} early");
            // To a HEAD request this app answers with a body; nobody but the one who asked may be hit by that.
            let is_heard = outcome.status == 403 && (text.as_ref() == early || !has_text);
            prop_assert!(is_heard || play.kind == "early-close" && outcome.status != 200, "{}", what);
        }
        Expected::Failure => {
            prop_assert!(outcome.status != 200 || !outcome.is_whole || !has_text, "{}", what);
        }
    }
    Ok(())
}

/// Lets clients play at the same time, and holds the apps' notes against what was sent.
async fn perform(stage: &Stage, number: usize, scenes: &[Vec<Play>]) -> Result<(), TestCaseError> {
    let id = |client: usize, index: usize| format!("{number}-{client}-{index}");
    let clients = scenes.iter().enumerate().map(|(client, plays)| async move {
        let mut outcomes = Vec::new();
        for (index, play) in plays.iter().enumerate() {
            outcomes.push(stage.send(play, &format!("{number}-{client}-{index}")).await);
        }
        outcomes
    });
    let outcomes = futures_util::future::join_all(clients).await;
    for (client, (plays, outcomes)) in scenes.iter().zip(&outcomes).enumerate() {
        for (index, (play, outcome)) in plays.iter().zip(outcomes).enumerate() {
            judge(play, &id(client, index), outcome)?;
        }
    }
    prop_assert_eq!(stage.store.faults(), Vec::<String>::new());
    let (received, seen) = (stage.store.received(), stage.forums_saw.lock().unwrap().clone());
    for (client, plays) in scenes.iter().enumerate() {
        for (index, play) in plays.iter().enumerate() {
            let id = id(client, index);
            let sent = play.body().concat();
            let mine: Vec<_> = received.iter().filter(|received| received.id == id).collect();
            prop_assert!(mine.len() <= 1, "{}: seen {} times", id, mine.len());
            for got in mine {
                prop_assert!(sent.starts_with(&got.body), "{}: {:?}", id, play);
                prop_assert!(!got.is_whole || !play.is_cut() && got.body == sent, "{}: {:?}", id, play);
            }
            for (_, body) in seen.iter().filter(|(seen, _)| *seen == id) {
                prop_assert!(body.as_ref().is_none_or(|body| *body == sent), "{}: {:?}", id, play);
            }
        }
    }
    Ok(())
}

fn check(over_tls: bool, cases: u32) {
    let runtime = Runtime::new().unwrap();
    let stage = runtime.block_on(Stage::set(over_tls));
    let config = Config { cases, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let scenes = prop::collection::vec(prop::collection::vec(plays(), 1..5), 1..6);
    let number = std::cell::Cell::new(0);
    let outcome = TestRunner::new(config).run(&scenes, |scenes| {
        number.set(number.get() + 1);
        runtime.block_on(perform(&stage, number.get(), &scenes))
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let connections = stage.store.received().iter().map(|received| received.connection).max().unwrap_or(0);
    assert!(connections < stage.store.received().len(), "some connections serve several requests");
    assert!(!stage.forums.seen().is_empty());
}

#[test]
fn every_request_is_one_message_and_gets_its_own_answer() {
    check(false, 96);
}

#[test]
fn the_same_with_tls_to_the_app() {
    check(true, 32);
}
