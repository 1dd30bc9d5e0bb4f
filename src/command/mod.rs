//! What the command line does beside serving, each from what it needs to the text that it prints.

pub mod check;
pub mod explain;
pub mod healthcheck;
