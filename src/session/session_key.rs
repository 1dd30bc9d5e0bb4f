//! The key of a session: its refresh token, without the token itself.

use aws_lc_rs::digest::{SHA256, digest};

use crate::access::numbers::ClientNumber;

/// A refresh token of a client, without the token itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionKey {
    pub(super) client_number: ClientNumber,
    digest: [u8; 32],
}

impl SessionKey {
    /// The key of a refresh token of a client.
    pub(crate) fn new(client_number: ClientNumber, refresh_token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, refresh_token.as_bytes()).as_ref());
        Self { client_number, digest: bytes }
    }

    /// Returns its digest.
    pub(crate) const fn bytes(&self) -> &[u8] {
        &self.digest
    }
}
