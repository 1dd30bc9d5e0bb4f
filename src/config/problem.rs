//! The problems of a configuration, and the report of them.

use std::fmt::Write;

use crate::config::quoting::escaped;
use crate::config::source_files::Files;

/// An error or a warning about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, such as `apps.store.cookies.secure`. It is empty if the problem is about the whole file.
    pub key: String,
    /// The line in the file, from 1. If the key is missing, it is the line of its table.
    pub line: Option<usize>,
    /// The value and its fault. It never contains a secret.
    pub message: String,
    /// The text to write instead.
    pub hint: String,
}

impl Problem {
    /// Makes a problem. Each text may quote the file or the name of another file. So this function escapes characters
    /// that would garble a terminal or break a log line in two.
    pub(super) fn new(key: String, line: Option<usize>, message: String, hint: String) -> Self {
        Self { key: escaped(key), line, message: escaped(message), hint: escaped(hint) }
    }

    /// Returns the problem in three lines. `severity` is `error` or `warning`. `file` is the user's name of the file.
    pub fn report(&self, severity: &str, file: &str) -> String {
        let mut text = match self.key.as_str() {
            "" => format!("{severity}: {}\n", self.message),
            key => format!("{severity}: `{key}`: {}\n", self.message),
        };
        // Writing to a string cannot fail.
        let _ = match self.line {
            Some(line) => writeln!(text, "  --> {file}:{line}"),
            None => writeln!(text, "  --> {file}"),
        };
        let _ = writeln!(text, "  hint: {}", self.hint);
        text
    }
}

/// All errors of a configuration.
#[derive(Debug, thiserror::Error)]
#[error("{} in the configuration", count(problems.len()))]
pub struct ConfigError {
    /// The errors, in the order of the file. There is at least one.
    pub problems: Vec<Problem>,
    /// The files that were read, and those that could not be read. A change of any of these may correct the errors.
    pub files: Files,
}

impl ConfigError {
    pub(super) fn single(problem: Problem) -> Self {
        Self { problems: vec![problem], files: Files::default() }
    }

    /// Returns all problems as text for people. `file` is the user's name of the file.
    pub fn report(&self, file: &str) -> String {
        let problems: Vec<String> =
            self.problems.iter().map(|problem| problem.report("error", file)).collect();
        format!(
            "{}\n{} in `{file}`; nothing has been started\n",
            problems.join("\n"),
            count(self.problems.len())
        )
    }
}

fn count(problems: usize) -> String {
    if problems == 1 { String::from("1 problem") } else { format!("{problems} problems") }
}
