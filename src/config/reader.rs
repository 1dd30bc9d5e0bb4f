//! Reads tables key by key and collects every problem on the way, instead of stopping at the first one as serde does.

mod item;
mod report;
mod section;

pub(super) use item::{Item, boolean};
#[cfg(test)]
pub(super) use report::Key;
pub(super) use report::{Report, Seen};
pub(super) use section::{Section, join};
