//! The types of the values that `gateway.toml` writes as strings.

pub(super) mod claim;
pub(super) mod cookie_name;
pub(super) mod duration;
pub(super) mod host_name;
pub(super) mod network;
pub(super) mod path;
pub(super) mod size;
mod text;
pub(super) mod url;

pub(super) use text::{is_table_name, plain_text, word};
