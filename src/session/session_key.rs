//! The key of a session: a digest of its refresh token.

use aws_lc_rs::digest::{SHA256, digest};

/// Identifies a refresh token of a client. It does not contain the token itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionKey {
    pub(super) app: usize,
    digest: [u8; 32],
}

impl SessionKey {
    /// Returns the key of a refresh token. `app` is the number of the app's sessions.
    pub(crate) fn new(app: usize, refresh_token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, refresh_token.as_bytes()).as_ref());
        Self { app, digest: bytes }
    }

    /// Returns the digest of the refresh token.
    pub(crate) const fn bytes(&self) -> &[u8] {
        &self.digest
    }
}
