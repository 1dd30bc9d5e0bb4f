//! Reads tables key by key and collects all problems. Serde would stop at the first one.

mod item;
mod report;
mod section;

pub(super) use item::{Item, boolean};
#[cfg(test)]
pub(super) use report::Key;
pub(super) use report::{Report, Seen};
pub(super) use section::{Section, join};
