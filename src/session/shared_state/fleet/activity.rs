//! Idle times over the fleet: replicas tell each other which sessions were in use.
//!
//! A request only notes its time locally. Now and then the notes go to the other replicas. While the engine is away,
//! requests at other replicas are not known. In doubt, a session was in use.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::access::session_tables::SessionTables;
use crate::session::shared_state::fleet::message::{Bytes, Message};

/// The largest number of sessions in one message.
const MAX_SESSIONS: usize = 1000;

/// The longest time between two notes.
const LONGEST_PERIOD: Duration = Duration::from_secs(10);

/// The activities of this replica, and their messages.
#[derive(Debug)]
pub(super) struct FleetActivity {
    memory: Arc<SessionTables>,
    /// `session.idle_lifetime` in milliseconds. It is 0 if there is none.
    idle: AtomicU64,
    /// The time at which the others were last told.
    told_at: Mutex<Duration>,
}

impl FleetActivity {
    /// Tells nobody anything until there is an idle lifetime.
    pub(super) fn new(memory: Arc<SessionTables>) -> Self {
        Self { memory, idle: AtomicU64::new(0), told_at: Mutex::default() }
    }

    /// Sets `session.idle_lifetime`.
    pub(super) fn set_idle_lifetime(&self, idle: Option<Duration>) {
        let idle = idle.map_or(0, |idle| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX));
        self.idle.store(idle, Ordering::Relaxed);
    }

    /// Returns the messages that are due at `elapsed` (any clock that never jumps). `now` is in Unix seconds. If the
    /// engine is away, there are none, and all sessions count as used.
    pub(super) fn due(&self, is_up: bool, elapsed: Duration, now: u64) -> Vec<Message> {
        let idle = self.idle.load(Ordering::Relaxed);
        let period = (Duration::from_millis(idle) / 4).min(LONGEST_PERIOD);
        let mut told_at = self.told_at.lock().unwrap_or_else(PoisonError::into_inner);
        if idle == 0 || elapsed < *told_at + period {
            return Vec::new();
        }
        *told_at = elapsed;
        drop(told_at);
        if !is_up {
            self.missed(now);
            return Vec::new();
        }
        let used: Vec<_> =
            self.memory.activities.used().into_iter().map(|(id, at)| (Bytes(id), at)).collect();
        used.chunks(MAX_SESSIONS).map(|used| Message::Active(used.to_vec())).collect()
    }

    /// Takes a message of another replica. Its clock may be ahead of this one.
    pub(super) fn received(&self, used: &[(Bytes<16>, u64)], now: u64) {
        if self.idle.load(Ordering::Relaxed) > 0 {
            self.memory.activities.touch(used.iter().map(|(id, at)| (id.0, (*at).min(now))));
        }
    }

    /// Messages may have been missed until `now` (Unix seconds).
    pub(super) fn missed(&self, now: u64) {
        self.memory.activities.may_have_missed(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::lifetime::{Age, Lifetime, Lifetimes, Over};
    use crate::system::clock::{Clock, ManualClock};

    const START: u64 = 1_800_000_000;

    fn replica() -> FleetActivity {
        let activity = FleetActivity::new(Arc::new(SessionTables::new(64, START)));
        activity.set_idle_lifetime(Some(Duration::from_secs(40)));
        activity
    }

    fn lifetime(replica: &FleetActivity, id: u8, now: u64) -> Lifetime {
        let age = Age {
            id: [id; 16],
            started_at: START,
            renewed_at: START,
            usable_until: START + 3600,
            is_provisional: false,
        };
        replica.memory.activities.lifetime(Lifetimes { absolute: None, idle: Some(40) }, &age, now)
    }

    fn tell(one: &FleetActivity, other: &FleetActivity, now: u64) -> usize {
        let messages = one.due(true, Duration::from_secs(now - START + 100), now);
        for message in &messages {
            let Message::Active(used) = message else { panic!("{message:?}") };
            assert!(used.len() <= MAX_SESSIONS);
            other.received(used, now);
        }
        messages.len()
    }

    #[test]
    fn a_session_that_is_used_at_one_replica_is_not_idle_at_the_other() {
        let ([one, other], clock) = ([replica(), replica()], ManualClock::new(START));
        let [here, there] = [&one, &other].map(|replica| lifetime(replica, 1, START));
        for _ in 0..20 {
            clock.advance(10);
            assert_eq!(here.check_request(clock.now()), Ok(()));
            assert_eq!(tell(&one, &other, clock.now()), 1);
            assert_eq!(there.check(clock.now() + 39), Ok(()));
            assert_eq!(tell(&other, &one, clock.now()), 0, "it is not told back");
        }
        assert_eq!(there.check(clock.now() + 40), Err(Over::Idle));
        // One that the other replica has not seen yet.
        let [here, late] = [lifetime(&one, 2, START), lifetime(&other, 3, START)];
        assert_eq!(here.check_request(START + 30), Ok(()));
        tell(&one, &other, clock.now() + 10);
        assert_eq!(lifetime(&other, 2, START).check(START + 69), Ok(()));
        assert_eq!(late.check(START + 69), Err(Over::Idle));
    }

    #[test]
    fn many_sessions_make_some_messages_and_only_as_often_as_needed() {
        let [one, other] = [replica(), replica()];
        for number in 0..2500_u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            one.memory.activities.touch([(id, START)]);
            let age =
                Age { id, started_at: START, renewed_at: START, usable_until: START, is_provisional: false };
            let limits = Lifetimes { absolute: None, idle: Some(40) };
            one.memory.activities.lifetime(limits, &age, START).check_request(START + 1).unwrap();
        }
        assert_eq!(tell(&one, &other, START + 1), 3);
        lifetime(&one, 9, START).check_request(START + 2).unwrap();
        assert_eq!(tell(&one, &other, START + 10), 0);
        assert_eq!(tell(&one, &other, START + 11), 1);
        one.set_idle_lifetime(None);
        lifetime(&one, 9, START).check_request(START + 20).unwrap();
        assert_eq!(tell(&one, &other, START + 60), 0, "nothing is idle");
    }

    #[test]
    fn a_session_counts_as_used_while_messages_may_be_missed() {
        let [one, other] = [replica(), replica()];
        let known = lifetime(&one, 1, START);
        assert_eq!(one.due(false, Duration::from_secs(100), START + 35).len(), 0);
        assert_eq!(known.check(START + 74), Ok(()));
        assert_eq!(lifetime(&one, 2, START + 74).check(START + 74), Ok(()), "a new one as well");
        assert_eq!(known.check(START + 75), Err(Over::Idle));
        assert_eq!(tell(&one, &other, START + 200), 0, "a guess is not told");
    }
}
