//! What the command line does beside serving.

pub mod explain;
pub mod healthcheck;
