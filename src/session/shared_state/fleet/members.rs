//! The replicas of the fleet, as their messages show them, and whether this replica may join them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::sealing::Fingerprint;
use crate::session::shared_state::fleet::message::AliveMessage;

/// The time after its last message for which a replica counts as alive.
pub(super) const IS_ALIVE: Duration = Duration::from_secs(3);

/// The time for which a replica listens before it knows all others: each sends a message every [`PERIOD`].
pub(super) const HEARS_ALL: Duration = Duration::from_millis(1200);

/// The time between two messages of a replica.
pub(super) const PERIOD: Duration = Duration::from_millis(500);

/// The largest number of replicas that are remembered.
const MAX_MEMBERS: usize = 4096;

/// A replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its id.
    pub(crate) replica: String,
    /// The name of its host.
    pub(crate) host: String,
    /// The version of its program.
    pub(crate) version: String,
    /// The time since its last message.
    pub(crate) silent_for: Duration,
}

/// The replicas that have sent messages.
#[derive(Debug, Default)]
pub(super) struct Members {
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    members: HashMap<String, (AliveMessage, Duration)>,
    /// The last message that was sealed with a key that is not known here.
    with_another_key: Option<(Fingerprint, Duration)>,
}

impl Members {
    /// Records a message.
    pub(super) fn alive(&self, message: AliveMessage, now: Duration) {
        let mut heard = self.heard();
        if message.is_leaving {
            heard.members.remove(&message.replica);
        } else if heard.members.len() < MAX_MEMBERS || heard.members.contains_key(&message.replica) {
            heard.members.insert(message.replica.clone(), (message, now));
        }
    }

    /// Records a message that does not open.
    pub(super) fn unreadable(&self, message: &[u8], now: Duration) {
        if let Some(fingerprint) = message.first_chunk() {
            self.heard().with_another_key = Some((*fingerprint, now));
        }
    }

    /// Returns the replicas that live, in the order of their host names.
    pub(super) fn living(&self, now: Duration) -> Vec<Member> {
        let mut heard = self.heard();
        heard.members.retain(|_, (_, at)| now.saturating_sub(*at) < IS_ALIVE);
        let members = heard.members.values().map(|(message, at)| Member {
            replica: message.replica.clone(),
            host: message.host.clone(),
            version: message.version.clone(),
            silent_for: now.saturating_sub(*at),
        });
        let mut members: Vec<_> = members.collect();
        drop(heard);
        members.sort_by(|one, other| (&one.host, &one.replica).cmp(&(&other.host, &other.replica)));
        members
    }

    /// Tells whether a replica lives.
    pub(super) fn is_living(&self, replica: &str, now: Duration) -> bool {
        let heard = self.heard();
        heard.members.get(replica).is_some_and(|(_, at)| now.saturating_sub(*at) < IS_ALIVE)
    }

    /// Returns the reason why a replica that sends this message cannot join those that live.
    pub(super) fn conflict(&self, own: &AliveMessage, now: Duration) -> Option<String> {
        let heard = self.heard();
        let is_recent = |at: Duration| now.saturating_sub(at) < IS_ALIVE;
        if heard.with_another_key.is_some_and(|(_, at)| is_recent(at)) {
            return Some(String::from(
                "another replica seals with a key that is not in `shared_state.keys` here: give all replicas the same keys",
            ));
        }
        let others =
            heard.members.values().filter(|(other, at)| other.replica != own.replica && is_recent(*at));
        others.filter_map(|(other, _)| differs(own, other)).min()
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the difference between two replicas that keeps them from sharing state.
fn differs(own: &AliveMessage, other: &AliveMessage) -> Option<String> {
    let host = &other.host;
    if own.keys.first().is_some_and(|first| !other.keys.contains(first)) {
        return Some(format!(
            "the replica on `{host}` does not know the first key of `shared_state.keys` here: add the key there first"
        ));
    }
    let differing = own.settings.iter().find(|setting| !other.settings.contains(setting));
    let (name, value) = differing?;
    let there = other.settings.iter().find(|(other, _)| other == name);
    let there = there.map_or("left out", |(_, value)| value);
    Some(format!(
        "`{name}` is {value} here and {there} at the replica on `{host}`: all replicas need the same value"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::shared_state::fleet::message::Bytes;

    const fn milliseconds(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn message(replica: &str, keys: &[u8], settle: &str) -> AliveMessage {
        AliveMessage {
            replica: replica.to_owned(),
            host: format!("host-{replica}"),
            version: String::from("1.0.0"),
            keys: keys.iter().map(|key| Bytes([*key; 8])).collect(),
            settings: vec![(String::from("shared_state.settle"), settle.to_owned())],
            is_leaving: false,
        }
    }

    #[test]
    fn who_is_silent_or_leaves_is_no_member() {
        let members = Members::default();
        members.alive(message("a", &[1], "3s"), milliseconds(0));
        members.alive(message("b", &[1], "3s"), milliseconds(2000));
        let names =
            |now| members.living(milliseconds(now)).into_iter().map(|one| one.replica).collect::<Vec<_>>();
        assert_eq!(names(2000), ["a", "b"]);
        assert_eq!(names(3000), ["b"]);
        members.alive(AliveMessage { is_leaving: true, ..message("b", &[1], "3s") }, milliseconds(3100));
        assert_eq!(names(3100), Vec::<String>::new());
    }

    #[test]
    fn keys_and_settings_must_fit() {
        let own = message("own", &[1, 2], "3s");
        for (other, expected) in [
            (message("b", &[1, 2], "3s"), None),
            (message("b", &[2, 1], "3s"), None),
            (message("b", &[1], "3s"), None),
            (message("b", &[2], "3s"), Some("does not know the first key")),
            (message("b", &[1, 2], "5s"), Some("`shared_state.settle` is 3s here and 5s")),
        ] {
            let members = Members::default();
            members.alive(own.clone(), milliseconds(0));
            members.alive(other, milliseconds(0));
            let conflict = members.conflict(&own, milliseconds(100));
            assert_eq!(conflict.is_some(), expected.is_some(), "{conflict:?}");
            assert!(expected.is_none_or(|text| conflict.unwrap().contains(text)));
            assert_eq!(members.conflict(&own, milliseconds(3000)), None, "it is gone");
        }
        let members = Members::default();
        members.unreadable(&[9; 40], milliseconds(0));
        assert!(members.conflict(&own, milliseconds(100)).unwrap().contains("not in `shared_state.keys`"));
    }
}
