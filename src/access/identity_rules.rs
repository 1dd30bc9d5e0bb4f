//! How an app wants to see identities.

use http::HeaderName;

use crate::config::{ClaimPath, IdentityHeader};

/// How an app wants to see identities.
#[derive(Debug, Clone)]
pub struct IdentityRules {
    /// Where the roles are.
    pub roles_claim: ClaimPath,
    /// Which headers the app receives.
    pub headers: Vec<HeaderRule>,
    /// Bytes of one header; a longer one is left out.
    pub max_header_size: usize,
    /// What the user object shows.
    pub user_claims: Vec<ClaimPath>,
}

/// One identity header.
#[derive(Debug, Clone)]
pub struct HeaderRule {
    /// All identities share the one copy, which so stays in the processor's cache.
    pub(super) name: HeaderName,
    pub(super) claim: ClaimPath,
}

impl From<&IdentityHeader> for HeaderRule {
    fn from(header: &IdentityHeader) -> Self {
        Self { name: header.name.clone(), claim: header.claim.clone() }
    }
}
