//! One identity provider: its endpoints, its keys, its grants, and the meaning of its answers.
//!
//! | File | Its subject |
//! |---|---|
//! | `provider` | [`IdentityProvider`]: the knowledge about it, and the background task |
//! | `grants` | its calls for a client: login, refresh and logout |
//! | `client`, `outcome`, `token_fate` | the client and the user; the outcomes of a login, a refresh and a logout |
//! | `endpoints`, `discovery`, `discovery_error`, `metadata`, `metadata_url` | the provider's endpoints |
//! | `jwks`, `jwks_backoff` | its keys, and the times at which they are fetched |
//! | `classify`, `error_answer`, `token_answer`, `retry_after` | the meaning of an answer; pure |
//! | `dialect` | everything in which kinds of providers differ: a file for each |
//! | `webhook` | what a provider's webhook says, whatever kind it is |
//! | `codes`, `code_row`, `client_fix` | the meaning of providers' codes, and the remedy for a refusal |
//! | `form_body`, `client_authentication` | request bodies, and how a client proves who it is |
//! | `http_client`, `provider_answer`, `call_error` | the one HTTP client: no redirects, time-outs, size caps |
//! | `shared_fetch` | work whose outcome is shared by all callers that ask for it |
//! | `doctor_questions` | the questions that `portcullis doctor` asks |

mod call_error;
mod classify;
mod client;
mod client_authentication;
mod client_fix;
mod code_row;
mod codes;
mod dialect;
mod discovery;
mod discovery_error;
pub mod doctor_questions;
mod endpoints;
mod error_answer;
mod form_body;
mod grants;
mod http_client;
mod jwks;
mod jwks_backoff;
mod log_text;
mod metadata;
mod metadata_url;
mod not_ready;
mod outcome;
mod provider;
mod provider_answer;
mod retry_after;
mod shared_fetch;
mod token_answer;
mod token_fate;
mod webhook;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use client::{Client, Credentials};
pub use discovery_error::DiscoveryError;
pub use jwks_backoff::UnknownKeySource;
pub use not_ready::{NotReady, SetupError};
pub use outcome::{ChallengeKind, ClientRefusal, LoginError, RefreshError, RevokeError, TokenSet};
pub use provider::IdentityProvider;
pub use retry_after::RetryAfter;
pub use token_fate::TokenFate;
pub use webhook::{Webhook, WebhookError, WebhookEvent};
