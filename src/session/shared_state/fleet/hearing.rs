//! Reads messages of running replicas for `doctor`, which is no replica itself.

use crate::config;
use crate::engine::sealing::FleetKeys;
use crate::session::shared_state::fleet::members::{Member, Members};
use crate::session::shared_state::fleet::message::{AliveMessage, Message, PURPOSE};
use crate::system::elapsed::elapsed;

/// The running replicas.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    pub(crate) members: Vec<Member>,
    /// The reason why a replica with this configuration cannot join them.
    pub(crate) conflict: Option<String>,
}

/// Reads messages. `agreed` are the settings that must be the same at all replicas. Returns `None` if there is no key.
pub(crate) fn hear(
    settings: &config::SharedState,
    agreed: Vec<(String, String)>,
    messages: &[Vec<u8>],
) -> Option<Heard> {
    let keys = FleetKeys::new(&settings.keys)?;
    let (members, now) = (Members::default(), elapsed());
    for sealed in messages {
        match keys.open_message(PURPOSE, sealed).as_deref().map(Message::read) {
            Some(Some((_, Message::Alive(alive), _))) => members.alive(alive, now),
            Some(_) => {}
            None => members.unreadable(sealed, now),
        }
    }
    let own = AliveMessage { settings: agreed, ..AliveMessage::new("doctor", &keys) };
    Some(Heard { members: members.living(now), conflict: members.conflict(&own, now) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(keys: &str) -> config::SharedState {
        let text = format!(
            "shared_state = {{ url = 'redis://127.0.0.1:1', keys = [{keys}] }}
             [identity_providers.main]
             issuer = 'https://id.example.com'
             [apps.store]
             hosts = ['store.example.com']
             upstreams = ['http://127.0.0.1:3001']
             client_id = 'store'
             client_secret = 's'"
        );
        config::parse(&text).unwrap().config.shared_state.unwrap()
    }

    const KEY: &str = "'aHVudGVyNGh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ='";
    const OTHER: &str = "'aHVudGVyNWh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ='";

    #[test]
    fn a_replica_is_heard_and_compared() {
        let agreed = |value: &str| vec![(String::from("shared_state.settle"), String::from(value))];
        let settings_of_replica = settings(KEY);
        let keys = FleetKeys::new(&settings_of_replica.keys).unwrap();
        let alive = AliveMessage { settings: agreed("3000 ms"), ..AliveMessage::new("0011", &keys) };
        let message = Message::Alive(alive).write("0011", &[]).unwrap();
        let sent = [keys.seal_message(PURPOSE, &message).unwrap()];
        let heard = hear(&settings(KEY), agreed("3000 ms"), &sent).unwrap();
        assert_eq!((heard.members[0].replica.as_str(), heard.conflict), ("0011", None));
        let other_settings = hear(&settings(KEY), agreed("1000 ms"), &sent).unwrap();
        assert!(other_settings.conflict.unwrap().contains("shared_state.settle"));
        let other_key = hear(&settings(OTHER), agreed("3000 ms"), &sent).unwrap();
        assert!(other_key.members.is_empty() && other_key.conflict.unwrap().contains("shared_state.keys"));
    }
}
