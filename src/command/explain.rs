//! `portcullis explain`: says what the gateway would do with a request, step by step, and why.
//!
//! Without cookies it says what everybody gets, and makes no connection. With a user's cookies it asks
//! [`decide`](crate::access::decision::decide) itself, as the gateway does, and shows the grounds of the decision. It
//! shows no part of tokens and cookies. Facts that only a running gateway knows (revocations, replaced refresh tokens, a session's
//! last request) are not in it.

mod cookie_file;
mod destination;
mod explain_error;
mod explanation;
mod keys;
mod question;
mod session;
mod steps;
#[cfg(test)]
mod tests;
mod verdict;

pub use explain_error::ExplainError;
pub use explanation::explain;
pub use question::Question;
