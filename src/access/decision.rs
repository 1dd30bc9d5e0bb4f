//! Decides about a request. The decision is a pure function of the request's head, the keys, the tokens verified before
//! and the time.

mod after_refresh;
mod decide;
mod outcome;
#[cfg(test)]
mod tests;

pub use crate::access::app_rules::{AppRules, Knowledge};
pub use crate::access::reason::Reason;
pub use after_refresh::{Renewal, decide_again, ended};
pub use decide::{RequestHead, admit, decide, decide_and_locate, is_login_variant};
pub use outcome::{Decision, Ending, Pending, Permit};
