//! `portcullis doctor` asks the live providers whether the configuration can work, and examines the engine of a fleet. So
//! problems are found before users find them.

mod app;
mod clock_skew;
mod cookie_size;
mod examination;
mod provider;
mod report;
mod shared_state;
mod test_user;
#[cfg(test)]
mod tests;

pub use examination::{run, run_at};
pub use report::{Finding, Level, Report};
