//! The decision about a request. It is pure and synchronous. Its inputs are the request's head, a key set and the time.
//! A test checks that it imports no Pingora, tokio or reqwest.
//!
//! [`decision::decide`] is the entry point. An [`identity::Identity`] can only be made from verified claims, and only
//! [`token::verify`] makes verified claims. So the types keep strangers out, and not the care of programmers.

pub mod app_rules;
pub mod assessment;
mod audience;
pub mod claims;
mod client_claims;
pub mod cookie_codec;
pub mod cookies;
pub mod cross_site;
pub mod decision;
pub mod endpoint;
pub mod grant;
pub mod identity;
pub mod identity_rules;
pub mod jwk_notation;
pub mod key_set;
pub mod lifetime;
pub mod logout_token;
pub mod numbers;
pub mod omission;
pub mod preflight;
pub mod presented_session;
pub mod reason;
pub mod refusal_notes;
pub mod reserved_headers;
pub mod revocations;
pub mod routes;
pub mod seal;
pub mod session_tables;
pub(crate) mod signed_token;
pub mod token;
pub mod token_error;
pub mod token_fix;
pub mod token_rules;
pub mod tokens;
pub mod verified_tokens;

#[cfg(test)]
mod architecture_tests;
#[cfg(test)]
pub(crate) mod testing;
