//! Portcullis: a reverse-proxy authentication gateway.
//!
//! Apps keep their own login form. Portcullis turns a login into OAuth tokens and keeps these in `HttpOnly` cookies. It
//! verifies and refreshes them on the way, and tells the app who the user is. `README.md` says what it is for,
//! `docs/behaviour.md` what happens to a request, and `docs/architecture.md` why it is built like this.
//!
//! # A request's way
//!
//! 1. **Connection**: `connection` accepts it, reads the head within its limits, refuses what has two readings, and
//!    shows Pingora exactly one message.
//! 2. **App**: [`gateway::Gateway`] finds the app of the `Host` header in [`gateway::State`].
//! 3. **Decision**: `access/decision/decide.rs` takes the head, the provider's keys and the time, and returns a
//!    [`Decision`](access::decision::Decision). It is pure. With a valid JWT the decision is a permit to go to the app.
//! 4. **Consequence** (`gateway/admission.rs`): a refresh by [`session::Sessions`], after which the decision is made
//!    again; a login, logout or user object of our own (`gateway/endpoints.rs`); an answer with a
//!    [`Problem`](answer::problem::Problem); or the way to the app.
//! 5. **To the app** (`gateway/upstream_request.rs`): the client's own identity and forwarding headers and the session's
//!    cookies are removed, and the headers of the [`Identity`](access::identity::Identity) are added.
//! 6. **Back** (`gateway/app_answer.rs`): new cookies are added to the app's response, or to the problem that takes its
//!    place (`gateway/failure.rs`).
//!
//! # Modules, from the top floor to the ground
//!
//! | Module | What it holds |
//! |---|---|
//! | [`command`], [`process`], `admin` | the command line, the life of the process, the admin listener |
//! | [`gateway`] | one request, from its decision to its answer |
//! | [`session`] | login, refresh, logout; `session/shared_state.rs` is the seam to the state that replicas share |
//! | [`identity_provider`] | everything that goes to a provider, and the meaning of its answers |
//! | `engine` | the Redis or Valkey server through which replicas share state |
//! | `upstream`, `connection` | connections to apps, connections of clients |
//! | [`access`] | the decision: paths, routes, cookies, tokens, identity, cross-site requests; no I/O |
//! | [`telemetry`] | logs, metrics, traces |
//! | `http1` | the framing of HTTP/1.1, for both sides |
//! | [`config`], [`tls`] | what a valid `gateway.toml` is; certificates and keys in files |
//! | [`answer`] | the codes, header fields and bodies of our own answers, and the reasons behind them |
//! | [`system`], [`syntax`] | the operating system; bytes of HTTP that have one reading or are refused |
//!
//! A module imports only modules that stand below it: `architecture_tests.rs` holds the table.
//!
//! # What holds it together
//!
//! - Only the decision makes a [`Permit`](access::decision::Permit), and whatever writes to an app takes one.
//! - Only [`access::token::verify`] makes [`VerifiedClaims`](access::token::VerifiedClaims), only those make an
//!   [`Identity`](access::identity::Identity), and only an identity becomes identity headers.
//! - Nothing that a client or a provider sends can panic: the lints deny `unwrap`, `expect` and indexing.
//! - Time comes from a [`Clock`](system::clock::Clock). Secrets are in no log line, error or `Debug` output.

pub mod access;
mod admin;
pub mod answer;
#[cfg(test)]
mod architecture_tests;
pub mod command;
pub mod config;
mod connection;
mod engine;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod gateway;
mod http1;
pub mod identity_provider;
pub mod process;
#[cfg(test)]
mod secrets_tests;
pub mod session;
pub mod syntax;
pub mod system;
pub mod telemetry;
pub mod tls;
mod upstream;
