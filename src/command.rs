//! The commands other than `run`.

pub mod check;
pub mod doctor;
pub mod explain;
pub mod healthcheck;
