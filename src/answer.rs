//! The gateway's own answers: their codes, statuses, header fields and bodies, and the reasons for them.

pub mod code;
pub mod headers;
pub mod problem;
pub mod reason;
pub mod retry_after;
