//! Faults that random search has found, each as its shrunk history or as its last step.

use std::time::Duration;

use super::history::Event::{CopyLags, Disturb, Pass, Requests};
use super::history::{Event, Fate, History, Part};
use super::switches::Switches;
use super::world::World;
use crate::engine::commands::RecordState;
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
    let violation = World::run(&history, Switches::default());
    assert!(violation.is_none(), "{violation:?}");
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
