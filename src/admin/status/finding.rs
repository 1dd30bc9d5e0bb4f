//! A fact of the status that somebody should look at.

use serde::Serialize;

/// A fact that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// The subject, such as `app store`.
    pub(super) about: String,
    pub(super) text: String,
}

/// The severity. The most severe value is the least in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// Users notice it, or a change of the configuration was refused.
    Problem,
    /// It may become a problem.
    Warning,
}

/// The validity of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    EndsSoon,
    Expired,
    /// Not valid yet.
    Early,
}
