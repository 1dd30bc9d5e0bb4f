//! Faults that random search has found, each as its shrunk history or as its last step.

use std::time::Duration;

use super::history::Event::{CopyLags, Disturb, Down, Kill, Pass, Provider, Requests};
use super::history::{Conduct, Event, Fate, History, Memory, Part};
use super::switches::Switches;
use super::world::World;
use crate::engine::commands::{ClaimAnswer, Generation, RecordState, Verdict};
use crate::engine::names::Name;
use crate::session::shared_state::fleet::claim_protocol::{ClaimProtocol, Errand, Next, Times};
use crate::session::shared_state::fleet::results::StoredResult;

const NAME: Name = Name::from_bytes([1; 16]);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn protocol() -> ClaimProtocol {
    ClaimProtocol::new("replica", Times { claim: ms(60_000) }, 1 << 20)
}

fn check(waits_for_copy: bool, events: Vec<Event>) {
    let history = History { has_grace: false, waits_for_copy, events };
    let violation = World::run(&history, Switches::default()).map(|violation| violation.to_string());
    assert_eq!(violation, None);
}

/// The request was refused, although this replica had heard the result.
#[test]
fn a_result_that_was_heard_is_used_without_the_engine() {
    let mut protocol = protocol();
    protocol.begin(&[NAME], ms(0));
    let (state, value, until) = (RecordState::Tokens, vec![7], ms(30_000));
    let result = StoredResult { state, value, message: Vec::new(), next: None, until, engine_until: until };
    protocol.received(NAME, result, ms(100));
    assert!(matches!(protocol.unanswered(&[NAME], ms(500)), Next::Use(known) if known.value == [7]));
    assert!(matches!(protocol.not_asked(&[NAME], ms(600)), Next::Use(_)));
}

/// The first request for a claim came to the engine after the second one, whose claim was taken back. Nobody took that
/// claim back.
#[test]
fn a_claim_that_is_granted_to_a_late_request_is_taken_back() {
    let late = Disturb { replica: 2, part: Part::Request, fate: Fate::Late(253) };
    let requests = Requests { browser: 0, number: 1, spread: 53, is_old_tab: false };
    check(true, vec![CopyLags, Pass(1_000), late, requests, Pass(260)]);
}

/// The engine was stopped for longer than a claim lasts, and granted then what it had received before. The replica did
/// not take that claim back any more.
#[test]
fn a_claim_is_taken_back_even_after_a_long_stop() {
    let mut protocol = protocol();
    let nonce = protocol.begin(&[NAME], ms(0));
    assert_eq!(protocol.unanswered(&[NAME], ms(500)), Next::Refuse);
    let due = protocol.due(ms(90_000));
    let is_release = |(_, errand): &(u64, Errand)| *errand == Errand::Release(vec![NAME], nonce.clone());
    assert!(due.len() == 2 && due.iter().all(is_release), "{due:?}");
}

/// The machine has slept for longer than a claim lasts, and so has the engine. The claim is granted afterwards. The replica
/// had forgotten it, and did not take it back.
#[test]
fn a_claim_is_taken_back_even_after_a_long_sleep() {
    let mut protocol = protocol();
    let nonce = protocol.begin(&[NAME], ms(0));
    assert_eq!(protocol.due(ms(70_000)), []);
    let answer = ClaimAnswer { generation: Generation(String::from("one")), verdict: Verdict::Mine };
    assert!(protocol.is_new_generation(&answer.generation, ms(70_000)));
    assert_eq!(protocol.answered(&[NAME], answer, ms(70_000)), Next::AskAgain);
    let due: Vec<_> = protocol.due(ms(70_000)).into_iter().map(|(_, errand)| errand).collect();
    assert_eq!(due, [Errand::Release(vec![NAME], nonce)]);
}

/// A claim was granted by a primary that has been replaced meanwhile, and the replica had already told the new one
/// everything that it knew.
#[test]
fn a_claim_of_a_replaced_primary_is_not_used() {
    let late = Disturb { replica: 0, part: Part::Answer, fate: Fate::Late(200) };
    let requests = |spread| Requests { browser: 0, number: 1, spread, is_old_tab: false };
    let slow = Provider(Conduct::Slow { before: 0, after: 6_000 });
    let down = Down { lasts: 1, data: Memory::Nothing };
    check(
        false,
        vec![Pass(4_000), late, requests(0), slow, Pass(2), down, Pass(4_000), requests(1), Pass(100)],
    );
}

/// A copy with a claim that was taken back becomes the primary. Another replica has the claim by now, and the release of
/// the old claim comes once more.
#[test]
fn the_release_of_an_old_claim_leaves_another_claim() {
    let lost = || Disturb { replica: 0, part: Part::Answer, fate: Fate::Lost };
    let requests = |spread| Requests { browser: 0, number: 1, spread, is_old_tab: false };
    let slow = Provider(Conduct::Slow { before: 0, after: 8_000 });
    let down = Down { lasts: 1, data: Memory::Copy };
    let before = vec![Pass(4_000), lost(), lost(), requests(0), Pass(300), CopyLags, Pass(300)];
    let after = vec![slow, requests(1), Pass(100), down, Pass(4_000), requests(2), Pass(100)];
    check(false, [before, after].concat());
}

/// The message with a result came after its replica had told a new primary everything. All others that knew the result
/// were gone.
#[test]
fn a_result_that_comes_late_is_told_to_a_new_primary() {
    let late = Disturb { replica: 0, part: Part::Message, fate: Fate::Late(189) };
    let requests = |number| Requests { browser: 0, number, spread: 1, is_old_tab: false };
    let gone = [Kill { replica: 2 }, Kill { replica: 1 }, Down { lasts: 1, data: Memory::Nothing }];
    let before = [late, requests(1), Pass(43)];
    let after = [requests(3), Pass(1), Pass(1), Pass(1)];
    check(false, [before.as_slice(), &gone, &after].concat());
}
