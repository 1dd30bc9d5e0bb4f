//! A model of a fleet: replicas with the protocol, an engine, a provider and browsers. Random histories try it.
//!
//! - `history` makes the histories. `world` runs them, and `events` carries out their events.
//! - `replica` and `flight` are the driver of the protocol. `link` is the network between a replica and the engine.
//! - `ledger` records what happens. It knows the causes for which the design lets a session be lost, and judges.
//! - `removed` removes each protection, and sees that a history breaks a property then.

mod events;
mod flight;
mod found;
mod history;
mod ledger;
mod link;
mod provider;
mod removed;
mod replica;
mod switches;
mod world;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use history::{History, histories};
use ledger::Violation;
use switches::Switches;
use world::World;

/// Runs random histories until one breaks a property. Returns the shrunk one.
fn search(number: u32, seed_number: u32, switches: Switches) -> Option<(History, Violation)> {
    let config = Config { cases: number, failure_persistence: None, ..Config::default() };
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&seed_number.to_be_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(config, random);
    let found = runner.run(&histories(80), |history| match World::run(&history, switches) {
        None => Ok(()),
        Some(violation) => Err(TestCaseError::fail(violation.to_string())),
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

/// Tries `MODEL_HISTORIES` histories. `MODEL_SEED` makes others.
#[test]
fn no_history_breaks_a_property() {
    let number = setting("MODEL_HISTORIES").unwrap_or(1_000);
    let seed = setting("MODEL_SEED").unwrap_or(1);
    println!("MODEL_HISTORIES={number} MODEL_SEED={seed}");
    if let Some((history, violation)) = search(number, seed, Switches::default()) {
        panic!("{violation}\n{history:#?}");
    }
}
