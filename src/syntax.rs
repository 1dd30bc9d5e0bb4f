//! The parts of HTTP that can be read in one way only, or are refused: hosts, paths, lists, heads, and bodies of
//! logins. Nothing here depends on apps, sessions or providers.

pub(crate) mod app_head;
pub(crate) mod authority;
pub(crate) mod form;
pub(crate) mod framing_fields;
pub(crate) mod grpc;
pub(crate) mod header_name;
pub(crate) mod json;
pub(crate) mod list_field;
pub(crate) mod log_text;
pub(crate) mod media_type;
pub(crate) mod multipart;
pub mod path;
pub mod redacted;
pub(crate) mod web_socket;
