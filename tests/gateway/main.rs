//! The gateway on real sockets, against a provider that fails on demand. Each test is named for the rule that it checks.

#[cfg(test)]
mod support;

#[cfg(test)]
mod workflow;
