//! `Retry-After` of an answer that says 503 (RFC 9110 section 10.2.3).

/// Seconds after which a client may try again, where the identity provider has not said another time.
pub const RETRY_AFTER: u64 = 5;
