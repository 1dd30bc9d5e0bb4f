//! Portcullis: a reverse-proxy authentication gateway.
//!
//! Apps keep their own login form; Portcullis turns it into OAuth tokens, keeps those in `HttpOnly` cookies, verifies and
//! refreshes them on the way, and tells the app who the user is. `README.md` says what it is for, `docs/behaviour.md`
//! what happens to a request, `docs/architecture.md` why it is built like this.
//!
//! # A request's way
//!
//! 1. **Front**: [`server`] accepts the connection, reads the head within its limits, refuses what has two readings, and
//!    shows Pingora exactly one message.
//! 2. **App**: [`gateway::Gateway`] finds the app of the `Host` header in [`gateway::State`].
//! 3. **Decision**: [`access::decision::decide`] takes the head, the provider's keys and the time, and returns a
//!    [`Decision`](access::decision::Decision). It is pure. With a valid JWT it says `Forward`, and nothing else is asked.
//! 4. **What follows from it** (`gateway/admission.rs`): a refresh by [`session::Sessions::refresh`], after which
//!    [`access::decision::admit`] decides again; a login, logout or user object of our own (`gateway/endpoints.rs`); what a
//!    provider sends (`gateway/backchannel_logout.rs`, `provider_webhook.rs`); an
//!    answer with a [`respond::Problem`]; or on to the app.
//! 5. **To the app** (`gateway/upstream_request.rs`): the client's own identity and forwarding headers and the session's
//!    cookies are taken out, the headers of the [`Identity`](access::identity::Identity) put in.
//! 6. **Back**: new cookies are added to the app's response, or to the problem that takes its place
//!    (`gateway/failure.rs`).
//!
//! # Modules
//!
//! | Module | What is decided there |
//! |---|---|
//! | [`config`] | what a valid `gateway.toml` is; every error at once |
//! | [`server`] | connections, framing, deadlines, stopping |
//! | [`gateway`] | the only code that knows Pingora's phases |
//! | [`access`] | who may pass: paths, routes, cookies, tokens, identity, cross-site; no I/O |
//! | [`session`] | login, refresh, logout; what replicas share goes through `session/shared_state.rs` |
//! | [`identity_provider`] | everything that leaves for a provider, and what its answers mean |
//! | [`reason`] | why a request passed or was refused, as stable codes |
//! | [`respond`] | the codes, statuses and bodies of our own answers |
//! | `authority` | which hosts and ports are the same |
//! | `http1` | where a message of HTTP/1.1 ends; chunked coding |
//! | `tls` | certificates and which of them a client is shown |
//! | `upstream`, `forwarding` | the app's addresses; what the app is told of the client's |
//! | [`command`], `admin`, [`telemetry`], [`clock`], [`lookup`] | the command line, `/readyz` and its kin, logs, the time, host names |
//!
//! # What holds it together
//!
//! - Only [`access::token::verify`] makes [`VerifiedClaims`](access::token::VerifiedClaims), only those make an
//!   [`Identity`](access::identity::Identity), and only an identity becomes identity headers.
//! - Nothing that a client or a provider sends can panic; the lints deny `unwrap`, `expect` and indexing.
//! - Time comes from a [`clock::Clock`]; secrets are in no log line, error or `Debug` output.

pub mod access;
mod admin;
pub mod answer;
#[cfg(test)]
mod architecture_tests;
pub mod command;
pub mod config;
mod connection;
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
