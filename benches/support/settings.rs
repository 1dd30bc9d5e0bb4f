//! The size of a run, from the environment and the command line.

use crate::issuer::Error;

/// A number from the environment.
pub(crate) fn number(variable: &str, default: u64) -> Result<u64, Error> {
    #[expect(clippy::disallowed_methods, reason = "a benchmark has no configuration file")]
    match std::env::var(variable) {
        Ok(text) => text.parse().map_err(|_| format!("{variable}={text} is not a number").into()),
        Err(_) => Ok(default),
    }
}

/// Returns whether everything is run only once and briefly, to see that it still runs.
pub(crate) fn is_smoke(arguments: &[String]) -> bool {
    let given = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // Cargo passes `--bench` for a benchmark, and not when it only tests that benchmarks run.
    given("--smoke") || !given("--bench")
}
