//! The findings of the checks.

use std::fmt;

use crate::system::explained::Explained;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything is as it should be.
    Ok,
    /// It works, or the check cannot decide. Somebody should look at it.
    Warning,
    /// Users cannot sign in, or will soon be unable to.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its severity.
    pub level: Level,
    /// The table of the configuration, such as `apps.store`.
    pub subject: String,
    /// The finding in words.
    pub message: String,
    /// The advice; empty if there is nothing to do.
    pub fix: String,
}

/// Every finding, in the order of the checks. Its `Display` is what the command prints.
#[derive(Debug, Clone, Default)]
pub struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// The findings.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns the process's exit code: 1 if there is an error, else 0.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.count(Level::Error) > 0)
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    pub(super) fn ok(&mut self, subject: &str, message: impl Into<Explained>) {
        self.add(Level::Ok, subject, message.into(), "");
    }

    pub(super) fn warning(&mut self, subject: &str, message: impl Into<Explained>, fix: &str) {
        self.add(Level::Warning, subject, message.into(), fix);
    }

    pub(super) fn error(&mut self, subject: &str, message: impl Into<Explained>, fix: &str) {
        self.add(Level::Error, subject, message.into(), fix);
    }

    fn add(&mut self, level: Level, subject: &str, message: Explained, fix: &str) {
        // The message's own hint is better, because it comes from the code that tried to connect.
        let fix = message.hint.unwrap_or(fix).to_owned();
        self.findings.push(Finding { level, subject: subject.to_owned(), message: message.text, fix });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(formatter, "{:<8} {}: {}", finding.level, finding.subject, finding.message)?;
            if !finding.fix.is_empty() {
                writeln!(formatter, "{:<8} fix: {}", "", finding.fix)?;
            }
        }
        let (errors, warnings) = (self.count(Level::Error), self.count(Level::Warning));
        writeln!(formatter, "{errors} error(s), {warnings} warning(s)")
    }
}
