//! What the command line does beside serving.

pub mod check;
pub mod doctor;
pub mod explain;
pub mod healthcheck;
