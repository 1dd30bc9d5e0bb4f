//! The configuration from the command line: the output of `check` and of a refused `run`, and their exit codes.
#![cfg(test)]

mod support;

mod command_line;
mod files;
mod messages;
mod warnings;
