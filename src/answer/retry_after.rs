//! `Retry-After` of an answer that says 503 (RFC 9110 section 10.2.3).

/// The seconds after which a client may try again, if the identity provider has not given another time.
pub const RETRY_AFTER: u64 = 5;
