//! The status page for people, at `/`, and the same as JSON for scripts, at `/status.json`.
//!
//! `facts` gathers the data, `findings` judges them, and `page` and `tables` write the page. The page contains nothing
//! of a user: no name, session or token.

mod cells;
mod counts;
mod facts;
mod finding;
mod findings;
mod gathering;
mod html;
mod page;
mod shared_state_facts;
mod shared_state_tables;
mod sparkline;
mod tables;
mod units;

#[cfg(test)]
mod tests;

pub(super) use facts::Status;
pub(super) use page::{CONTENT_SECURITY_POLICY, WITHOUT_REFRESH, write};
