//! One fact of the status that somebody should look at.

use serde::Serialize;

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// What it is about, such as `app store`.
    pub(super) about: String,
    pub(super) text: String,
}

/// How bad it is; the worst is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// Users notice, or a change was not taken.
    Problem,
    /// It may become one.
    Warning,
}

/// How a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    EndsSoon,
    Expired,
    /// Not valid yet.
    Early,
}
