//! How often a decision asks the allocator: the hot path must stay as lean as it is.

#[path = "../benches/support/decisions.rs"]
mod decisions;
#[path = "../benches/support/issuer.rs"]
mod issuer;

use decisions::Prepared;
use issuer::Issuer;
use portcullis::access::decision::{Decision, decide};

#[test]
fn a_decision_about_a_known_session_allocates_nothing() {
    let prepared = Prepared::new(&Issuer::new("RS256").unwrap()).unwrap();
    let decide_once = || decide(&prepared.rules, &prepared.request(), &prepared.known());
    let first = allocation_counter::measure(|| {
        assert!(matches!(decide_once(), Decision::Forward(Some(_))));
    });
    assert!(first.count_total > 0, "the verification is counted: {first:?}");
    let later = allocation_counter::measure(|| {
        assert!(matches!(decide_once(), Decision::Forward(Some(_))));
    });
    assert_eq!(later.count_total, 0, "{later:?}");
}
