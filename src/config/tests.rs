//! The configuration as a whole.

mod agreement;
mod arbitrary_input;
mod refused;
mod shared_state;
mod tls;
mod warnings;
mod whole_file;

use crate::config::load::{Loaded, parse};

fn accepted(text: &str) -> Loaded {
    parse(text).unwrap_or_else(|error| panic!("{}", error.report("gateway.toml")))
}

#[test]
fn the_reference_parses_with_the_warnings_of_its_demo_secrets_alone() {
    let loaded = accepted(include_str!("../../gateway.toml"));
    let warned: Vec<&str> = loaded.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(warned, ["session.seal_keys[0]", "apps.store.client_secret", "apps.forums.client_secret"]);
}

#[test]
fn the_contract_s_example_parses_without_warnings() {
    assert_eq!(accepted(include_str!("tests/fixtures/contract.toml")).warnings, []);
}
