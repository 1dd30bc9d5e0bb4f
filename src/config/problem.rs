//! What is wrong with a configuration, and how that is told.

use std::fmt::Write;

use crate::config::quoting::escaped;
use crate::config::source_files::Files;

/// One thing that is wrong with, or noteworthy in, a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, such as `apps.store.cookies.secure`; empty where the file as a whole is meant.
    pub key: String,
    /// The line in the file, from 1: the key's, or that of the table in which the key is missing.
    pub line: Option<usize>,
    /// The value, what is wrong with it. Never a secret.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl Problem {
    /// Every text may quote the file, or name another one after it: what would garble a terminal or break a log line in two
    /// is escaped here, whoever wrote the message.
    pub(super) fn new(key: String, line: Option<usize>, message: String, hint: String) -> Self {
        Self { key: escaped(key), line, message: escaped(message), hint: escaped(hint) }
    }

    /// The problem in three lines; `severity` is `error` or `warning`, `file` is what the user called the file.
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

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("{} in the configuration", count(problems.len()))]
pub struct ConfigError {
    /// At least one, in the file's order.
    pub problems: Vec<Problem>,
    /// What was read, or was to be: a change of any of these may mend it.
    pub files: Files,
}

impl ConfigError {
    pub(super) fn single(problem: Problem) -> Self {
        Self { problems: vec![problem], files: Files::default() }
    }

    /// Every problem for a person to read, with `file` as the user called it.
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
