//! The key of a session: a digest of its refresh token.

use aws_lc_rs::digest::{SHA256, digest};

use crate::access::numbers::ClientNumber;
use crate::engine::names::Name;
use crate::engine::sealing::FleetKeys;

/// Identifies a refresh token of a client. It does not contain the token itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionKey {
    pub(super) client_number: ClientNumber,
    digest: [u8; 32],
}

impl SessionKey {
    /// Returns the key of a refresh token of a client.
    pub(crate) fn new(client_number: ClientNumber, refresh_token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, refresh_token.as_bytes()).as_ref());
        Self { client_number, digest: bytes }
    }

    /// Returns the key as bytes, for a message to another replica.
    pub(super) fn to_bytes(self) -> [u8; 40] {
        let mut bytes = [0; 40];
        let (number, digest) = bytes.split_at_mut(8);
        number.copy_from_slice(&self.client_number.bytes());
        digest.copy_from_slice(&self.digest);
        bytes
    }

    /// Restores a key from a message of another replica.
    pub(super) fn from_bytes(bytes: &[u8; 40]) -> Option<Self> {
        let (number, digest) = bytes.split_first_chunk()?;
        let client_number = ClientNumber::from_bytes(*number);
        Some(Self { client_number, digest: digest.first_chunk().copied()? })
    }

    /// Returns the names of the refresh token's record in the engine, by all keys of the fleet.
    pub(super) fn names(self, keys: &FleetKeys) -> Vec<Name> {
        keys.names("refresh token", &[&self.client_number.bytes(), self.bytes()])
    }

    /// Returns the digest of the refresh token.
    pub(crate) const fn bytes(&self) -> &[u8] {
        &self.digest
    }
}
