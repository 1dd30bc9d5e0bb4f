//! The gateway against three real identity providers: Keycloak, Glewlwyd and oidc-provider.
//!
//! `cargo test --features provider-suites --test providers`. Each provider is started from its directory's `run.sh`
//! when the first test asks for it, and ends with the test run. A provider that cannot start fails its tests with what
//! its start script said.
//!
//! [`workflow`] has the checks that hold for every provider; the other modules say how each is set up and what is
//! peculiar to it.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "these are tests; clippy knows only functions marked #[test] as such"
)]

mod glewlwyd;
mod harness;
mod keycloak;
mod oidc_provider;
mod workflow;
