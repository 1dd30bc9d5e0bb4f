//! The protocol of an upgrade: the words that two processes say to each other, and the time that they wait for them.

use std::time::Duration;

/// Bytes of what a process says in words.
pub(super) const MAX_WORDS: usize = 1024;

/// The old process can tell what was revoked, and the new one asks for it. Its number changes with the form of records.
pub(super) const REVOCATIONS: &str = "revocations 1";

/// The old process takes what the new one revokes, in the same form.
pub(super) const HEARS_REVOCATIONS: &str = "hear revocations 1";

/// The new process accepts connections.
pub(super) const READY: &str = "ready";

/// The time that the other process may take to answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
