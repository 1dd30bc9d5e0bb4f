//! `portcullis explain` says step by step how the gateway would treat a request, and why.
//!
//! Without cookies, it describes a request of a user who is not logged in, and makes no connection. With a user's
//! cookies, it asks [`decide`](crate::access::decision::decide) itself, as the gateway does, and shows the reasons of
//! the decision. It shows no part of tokens and cookies. Only a running gateway knows some facts: revocations, replaced
//! refresh tokens, and the time of a session's last request. The explanation leaves these out. With `[shared_state]`, it
//! asks the engine what the fleet knows of the refresh token.

mod cookie_file;
mod destination;
mod explain_error;
mod explanation;
mod keys;
mod question;
mod session;
mod shared_state;
mod steps;
#[cfg(test)]
mod tests;
mod verdict;

pub use explain_error::ExplainError;
pub use explanation::explain;
pub use question::Question;
