//! The gateway's own answers: their codes, statuses and bodies, and the reasons behind them.

pub mod problem;
pub mod reason;
