//! A model of a fleet: replicas with the protocol, an engine, a provider and browsers. Random histories try it.

mod flight;
mod found;
mod history;
mod ledger;
mod link;
mod provider;
mod replica;
mod switches;
mod world;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use history::{History, histories};
use ledger::Violation;
use switches::Switches;
use world::World;

/// Runs histories until one breaks a property. Returns the shrunk one.
fn search(number: u32, switches: Switches) -> Option<(History, Violation)> {
    let config = Config { cases: number, failure_persistence: None, ..Config::default() };
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&setting("MODEL_SEED").unwrap_or(1).to_be_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(config, random);
    let found = runner.run(&histories(80), |history| match World::run(&history, switches) {
        None => Ok(()),
        Some(violation) => Err(TestCaseError::fail(format!("{violation:?}"))),
    });
    match found {
        Ok(()) => None,
        Err(TestError::Fail(_, history)) => {
            let violation = World::run(&history, switches)?;
            Some((history, violation))
        }
        Err(error) => panic!("{error}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "the program is not concerned: it says how this test runs")]
fn setting(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_history_breaks_a_property() {
    let number = setting("MODEL_HISTORIES").unwrap_or(1_000);
    if let Some((history, violation)) = search(number, Switches::default()) {
        panic!("{violation:#?}\n{history:#?}");
    }
}

/// Each protection that is removed breaks a property.
#[test]
fn each_protection_is_needed() {
    let with = |remove: fn(&mut Switches)| {
        let mut switches = Switches::default();
        remove(&mut switches);
        switches
    };
    let removed = [
        ("settling", with(|it| it.has_no_settling = true)),
        ("asserting again", with(|it| it.asserts_nothing_again = true)),
        ("the same nonce", with(|it| it.repeats_with_other_nonce = true)),
        ("the nonce's owner", with(|it| it.grants_to_anybody = true)),
        ("the age", with(|it| it.takes_old_claims = true)),
        ("taking back", with(|it| it.takes_nothing_back = true)),
        ("asserting later", with(|it| it.forgets_failed_assertions = true)),
        ("messages", with(|it| it.sends_no_messages = true)),
        ("silent owners", with(|it| it.takes_over_from_silent = true)),
        ("no engine", with(|it| it.presents_without_engine = true)),
        ("long claims", with(|it| it.has_short_claims = true)),
        ("unknown", with(|it| it.forgets_unknown = true)),
    ];
    for (what, switches) in removed {
        match search(setting("MODEL_HISTORIES").unwrap_or(1_000), switches) {
            Some((history, violation)) => println!("\n## {what}: {violation:?}\n{:?}", history.events),
            None => println!("\n## {what}: NOTHING"),
        }
    }
}
