//! How an app wants to see identities.

use bytes::Bytes;

use crate::config::{ClaimPath, IdentityHeader};

/// How an app wants to see identities.
#[derive(Debug, Clone)]
pub struct IdentityRules {
    /// Where the roles are.
    pub roles_claim: ClaimPath,
    /// Which headers the app receives.
    pub headers: Vec<HeaderRule>,
    /// What the user object shows.
    pub user_claims: Vec<ClaimPath>,
}

/// One identity header.
#[derive(Debug, Clone)]
pub struct HeaderRule {
    /// Spelled as in the file. All identities share the one copy, which so stays in the processor's cache.
    pub(super) name: Bytes,
    pub(super) claim: ClaimPath,
}

impl From<&IdentityHeader> for HeaderRule {
    fn from(header: &IdentityHeader) -> Self {
        let name = Bytes::copy_from_slice(header.display_name.as_bytes());
        Self { name, claim: header.claim.clone() }
    }
}
