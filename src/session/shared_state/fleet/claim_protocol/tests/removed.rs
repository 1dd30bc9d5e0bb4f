//! Each protection is removed, and the model sees what it protects from. So the model is able to see it.

use super::ledger::Property;
use super::search;
use super::switches::Switches;

/// The number of histories that are tried. The seed is fixed, so the result is always the same.
const HISTORIES: u32 = 20_000;

#[track_caller]
fn breaks(property: Property, remove: impl FnOnce(&mut Switches)) {
    let mut switches = Switches::default();
    remove(&mut switches);
    let (history, violation) = search(HISTORIES, 1, switches).expect("a history breaks a property");
    assert_eq!(violation.property, property, "{violation}\n{history:?}");
}

#[test]
fn without_settling_tokens_are_presented_twice() {
    breaks(Property::PresentedTwice, |switches| switches.has_no_settling = true);
}

#[test]
fn without_assertions_to_a_new_engine_tokens_are_presented_twice() {
    breaks(Property::PresentedTwice, |switches| switches.asserts_nothing_again = true);
}

#[test]
fn with_another_nonce_for_the_second_request_claims_are_left_over() {
    breaks(Property::NoTokens, |switches| switches.repeats_with_other_nonce = true);
}

#[test]
fn without_a_look_at_the_nonce_tokens_are_presented_twice() {
    breaks(Property::PresentedTwice, |switches| switches.grants_to_anybody = true);
}

#[test]
fn with_claims_of_any_age_tokens_are_presented_without_a_claim() {
    breaks(Property::PresentedWithoutClaim, |switches| switches.takes_old_claims = true);
}

#[test]
fn without_releases_claims_are_left_over() {
    breaks(Property::NoTokens, |switches| switches.takes_nothing_back = true);
}

#[test]
fn without_later_assertions_known_results_are_not_found() {
    breaks(Property::RefusedThoughKnown, |switches| switches.forgets_failed_assertions = true);
}

#[test]
fn without_messages_tokens_are_presented_twice() {
    breaks(Property::PresentedTwice, |switches| switches.sends_no_messages = true);
}

#[test]
fn with_claims_that_are_taken_from_silent_replicas_tokens_are_presented_twice() {
    breaks(Property::PresentedTwice, |switches| switches.takes_over_from_silent = true);
}

#[test]
fn without_the_engine_nothing_may_be_presented() {
    breaks(Property::PresentedWithoutClaim, |switches| switches.presents_without_engine = true);
}

#[test]
fn with_short_claims_tokens_are_presented_twice() {
    breaks(Property::PresentedTwice, |switches| switches.has_short_claims = true);
}

#[test]
fn with_a_new_try_at_once_after_an_unknown_outcome_tokens_are_presented_twice() {
    breaks(Property::PresentedTwice, |switches| switches.forgets_unknown = true);
}
