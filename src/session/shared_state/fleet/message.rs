//! The messages by which replicas keep each other up to date. They hold digests, times and sealed tokens. Each message
//! is sealed for the fleet before it is sent.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::access::revocations::{EndedBy, Mark, TokenMarks};
use crate::engine::commands::RecordState;
use crate::engine::names::Name;
use crate::engine::sealing::FleetKeys;
use crate::session::reuse_detection::Jwt;
use crate::session::session_key::SessionKey;
use crate::system::host_name::host_name;

/// The purpose for which messages are sealed.
pub(super) const PURPOSE: &str = "message";

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// A refresh has a result. The sealed tokens follow the message.
    Result(ResultMessage),
    /// A request has brought a refresh token for the first time.
    Used(Bytes<40>),
    /// A login has begun a session.
    Begun {
        /// The session's refresh token.
        key: Bytes<40>,
        /// Its first JWT.
        jwt: JwtMessage,
        /// Unix seconds.
        started_at: u64,
    },
    /// A session was ended.
    Ended {
        /// The session's refresh token.
        key: Bytes<40>,
        /// By another login in the same browser.
        is_replaced: bool,
    },
    /// Sessions were in use: their ids, and Unix seconds.
    Active(Vec<(Bytes<16>, u64)>),
    /// A replica lives.
    Alive(AliveMessage),
}

/// The result of a refresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ResultMessage {
    /// The record's name.
    pub(super) name: Bytes<16>,
    /// The word of the record's state.
    pub(super) state: String,
    /// The time for which a replica keeps it, in milliseconds.
    pub(super) lasts: u64,
    /// The time for which the engine keeps it, in milliseconds.
    pub(super) asserts: u64,
    /// The refresh token that was presented.
    pub(super) old: Bytes<40>,
    /// The refresh token that was given, if it is a new one.
    pub(super) next: Option<Bytes<40>>,
    /// The JWT that was given, if it could be verified.
    pub(super) jwt: Option<JwtMessage>,
}

/// The marks of a JWT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JwtMessage {
    session: Option<Bytes<16>>,
    token: Bytes<16>,
    subject: Bytes<16>,
    usable_until: u64,
    expires_at: u64,
}

/// A replica, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AliveMessage {
    /// Its id: random for each start.
    pub(super) replica: String,
    /// The name of its host.
    pub(super) host: String,
    /// The version of its program.
    pub(super) version: String,
    /// The fingerprints of its keys.
    pub(super) keys: Vec<Bytes<8>>,
    /// The settings that must be the same at all replicas: names and values.
    pub(super) settings: Vec<(String, String)>,
    /// It stops, and takes no more requests.
    pub(super) is_leaving: bool,
}

/// Bytes that are written as base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Serialize for Bytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(de::Error::custom)?;
        bytes.try_into().map(Self).map_err(|_| de::Error::custom("another length"))
    }
}

impl From<SessionKey> for Bytes<40> {
    fn from(key: SessionKey) -> Self {
        Self(key.to_bytes())
    }
}

impl Bytes<40> {
    /// Returns the refresh token's key.
    pub(super) fn key(&self) -> Option<SessionKey> {
        SessionKey::from_bytes(&self.0)
    }
}

impl From<Name> for Bytes<16> {
    fn from(name: Name) -> Self {
        Self(*name.bytes())
    }
}

impl From<Jwt> for JwtMessage {
    fn from((marks, expires_at): Jwt) -> Self {
        let TokenMarks { session, token, subject, usable_until } = marks;
        let bytes = |mark: Mark| Bytes(mark.bytes());
        Self {
            session: session.map(bytes),
            token: bytes(token),
            subject: bytes(subject),
            usable_until,
            expires_at,
        }
    }
}

impl From<JwtMessage> for Jwt {
    fn from(message: JwtMessage) -> Self {
        let mark = |bytes: Bytes<16>| Mark::from_bytes(bytes.0);
        let JwtMessage { session, token, subject, usable_until, expires_at } = message;
        let marks = TokenMarks {
            session: session.map(mark),
            token: mark(token),
            subject: mark(subject),
            usable_until,
        };
        (marks, expires_at)
    }
}

impl ResultMessage {
    /// Returns the state.
    pub(super) fn state(&self) -> Option<RecordState> {
        RecordState::of_word(&self.state)
    }

    /// Returns the times for which a replica and the engine keep the result.
    pub(super) const fn lasts(&self) -> (Duration, Duration) {
        (Duration::from_millis(self.lasts), Duration::from_millis(self.asserts))
    }
}

/// Returns the cause of an end.
pub(super) const fn ended_by(is_replaced: bool) -> EndedBy {
    if is_replaced { EndedBy::AnotherLogin } else { EndedBy::Revocation }
}

impl AliveMessage {
    /// Makes the message of a replica that has no settings yet.
    pub(super) fn new(replica: &str, keys: &FleetKeys) -> Self {
        Self {
            replica: replica.to_owned(),
            host: host_name(),
            version: String::from(env!("CARGO_PKG_VERSION")),
            keys: keys.fingerprints().into_iter().map(Bytes).collect(),
            settings: Vec::new(),
            is_leaving: false,
        }
    }
}

impl Message {
    /// Writes the sender's id, the message, and the sealed tokens after it.
    pub(super) fn write(&self, sender: &str, value: &[u8]) -> Option<Vec<u8>> {
        let head = serde_json::to_vec(&(sender, self)).ok()?;
        let length = u32::try_from(head.len()).ok()?;
        Some([length.to_be_bytes().as_slice(), &head, value].concat())
    }

    /// Reads the sender's id, the message, and the sealed tokens after it.
    pub(super) fn read(bytes: &[u8]) -> Option<(String, Self, &[u8])> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (head, value) = rest.split_at_checked(length)?;
        let (sender, message) = serde_json::from_slice(head).ok()?;
        Some((sender, message, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::numbers::testing::CLIENT;

    #[test]
    fn what_was_written_is_read() {
        let key = SessionKey::new(CLIENT, "token");
        let mark = |number| Mark::from_bytes([number; 16]);
        let marks = TokenMarks { session: None, token: mark(1), subject: mark(2), usable_until: 7 };
        let messages = [
            Message::Result(ResultMessage {
                name: Bytes([3; 16]),
                state: String::from("ok"),
                lasts: 30_000,
                asserts: 5000,
                old: key.into(),
                next: Some(key.into()),
                jwt: Some((marks, 8).into()),
            }),
            Message::Used(key.into()),
            Message::Active(vec![(Bytes([1; 16]), 5)]),
        ];
        for message in messages {
            let bytes = message.write("a", b"sealed").unwrap();
            assert_eq!(Message::read(&bytes).unwrap(), (String::from("a"), message, b"sealed".as_slice()));
            for length in 0..bytes.len() - 6 {
                assert_eq!(Message::read(&bytes[..length]), None);
            }
        }
        assert_eq!(Bytes::from(key).key(), Some(key));
        assert_eq!(Jwt::from(JwtMessage::from((marks, 8))), (marks, 8));
    }
}
