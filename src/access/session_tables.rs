//! The tables that decisions keep from one request to the next. All tables are bounded. A request with a JWT that was
//! verified before takes no lock.

use crate::access::identity::Identity;
use crate::access::lifetime::Activities;
use crate::access::numbers::ProviderNumber;
use crate::access::revocations::Revocations;
use crate::access::verified_tokens::VerifiedTokens;

/// The tables.
#[derive(Debug)]
pub struct SessionTables {
    /// The tokens that were verified before.
    pub verified: VerifiedTokens,
    /// The revocation list.
    pub revocations: Revocations,
    /// The times at which sessions were last in use.
    pub activities: Activities,
}

impl SessionTables {
    /// Makes empty tables for about `verified_tokens` tokens, at `now` (Unix seconds).
    pub fn new(verified_tokens: usize, now: u64) -> Self {
        Self {
            verified: VerifiedTokens::new(verified_tokens),
            revocations: Revocations::default(),
            activities: Activities::new(now),
        }
    }

    /// A JWT of a provider (by its number) was verified at `now` (Unix seconds), for the first time here.
    pub fn saw(&self, provider: ProviderNumber, identity: &Identity, now: u64) {
        self.revocations.saw(provider, identity.marks(), identity.issued_at(), now);
    }
}
