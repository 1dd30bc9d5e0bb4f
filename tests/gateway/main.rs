//! The gateway on real sockets, against a provider that fails on demand. Each test is named for the rule that it checks.
#![cfg(test)]

mod support;

mod jwks;
mod login;
mod login_outcomes;
mod refresh;
mod refresh_failures;
mod token_size;
mod tokens;
mod workflow;
