//! The id of this process in its fleet. The audit log and the traces name it, so that records of several processes can be
//! told apart.

use std::sync::OnceLock;

static REPLICA: OnceLock<String> = OnceLock::new();

/// Sets the id. The first one stays.
pub(crate) fn set(id: &str) {
    let _ = REPLICA.set(id.to_owned());
}

/// Returns the id. `None` if this process is no replica of a fleet.
pub(crate) fn get() -> Option<&'static str> {
    REPLICA.get().map(String::as_str)
}
