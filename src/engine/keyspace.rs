//! The engine's keys. All have the same hash tag, so that they are in one slot of a cluster.

use crate::engine::commands::Generation;
use crate::engine::names::Name;

/// The keys with one prefix.
#[derive(Debug, Clone)]
pub(super) struct Keyspace(String);

impl Keyspace {
    pub(super) fn new(prefix: &str) -> Self {
        Self(format!("{{{prefix}}}:"))
    }

    /// Returns keys that no replica uses, under the same rights.
    pub(super) fn for_trial(prefix: &str, id: &str) -> Self {
        Self(format!("{{{prefix}}}:doctor:{id}:"))
    }

    /// Returns the key of the engine's generation.
    pub(super) fn generation(&self) -> String {
        self.key("gen")
    }

    /// Returns the keys of a record, by all names.
    pub(super) fn records(&self, names: &[Name]) -> Vec<String> {
        names.iter().map(|name| self.named("r", name)).collect()
    }

    /// Returns the beginning of the keys of heartbeats.
    pub(super) fn heartbeats(&self) -> String {
        self.key("a:")
    }

    /// Returns the key of a replica's heartbeat.
    pub(super) fn heartbeat(&self, owner: &str) -> String {
        self.heartbeats() + owner
    }

    /// Returns the key of the stream of revocations.
    pub(super) fn revocations(&self) -> String {
        self.key("rev")
    }

    /// Returns the key of a count of failed logins.
    pub(super) fn bucket(&self, name: &Name) -> String {
        self.named("t", name)
    }

    /// Returns the key of a turn.
    pub(super) fn turn(&self, name: &Name) -> String {
        self.named("l", name)
    }

    /// Returns the key of the replica that was the first one in a generation.
    pub(super) fn first(&self, generation: &Generation) -> String {
        self.key("s:") + &generation.0
    }

    /// Returns the channel of messages.
    pub(super) fn channel(&self) -> String {
        self.key("done")
    }

    fn named(&self, kind: &str, name: &Name) -> String {
        format!("{}{kind}:{}", self.0, name.text())
    }

    fn key(&self, rest: &str) -> String {
        format!("{}{rest}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_have_the_hash_tag() {
        let keys = Keyspace::new("portcullis");
        assert_eq!(keys.generation(), "{portcullis}:gen");
        assert_eq!(keys.heartbeat("ab"), "{portcullis}:a:ab");
        assert_eq!(keys.channel(), "{portcullis}:done");
        let name = Name::from_bytes([0; 16]);
        assert_eq!(keys.records(&[name]), ["{portcullis}:r:AAAAAAAAAAAAAAAAAAAAAA"]);
        assert_eq!(keys.bucket(&name), "{portcullis}:t:AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(keys.turn(&name), "{portcullis}:l:AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(keys.first(&Generation(String::from("x"))), "{portcullis}:s:x");
        assert_eq!(keys.revocations(), "{portcullis}:rev");
    }
}
