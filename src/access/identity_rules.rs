//! The form in which an app receives identities.

use http::HeaderName;

use crate::config::{ClaimPath, IdentityHeader};

/// The form in which an app receives identities.
#[derive(Debug, Clone)]
pub struct IdentityRules {
    /// The claim with the roles.
    pub roles_claim: ClaimPath,
    /// The headers that the app receives.
    pub headers: Vec<HeaderRule>,
    /// The largest size of one header in bytes. A larger header is left out.
    pub max_header_size: usize,
    /// The claims in the user object.
    pub user_claims: Vec<ClaimPath>,
}

/// One identity header.
#[derive(Debug, Clone)]
pub struct HeaderRule {
    /// The header's name. All identities share this one copy, so it stays in the processor's cache.
    pub(super) name: HeaderName,
    pub(super) claim: ClaimPath,
}

impl From<&IdentityHeader> for HeaderRule {
    fn from(header: &IdentityHeader) -> Self {
        Self { name: header.name.clone(), claim: header.claim.clone() }
    }
}
