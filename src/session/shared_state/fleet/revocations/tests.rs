use super::*;
use crate::access::numbers::testing::PROVIDER;
use crate::access::revocations::{EndedBy, Revocation};
use crate::config::SealKey;

const NOW: u64 = 1_800_000_000;
const SESSION: Option<Revocation> = Some(Revocation::Session(EndedBy::Revocation));

fn replica_with_key(key: u8) -> FleetRevocations {
    let keys = FleetKeys::new(&[SealKey::new([key; 32])]).unwrap();
    FleetRevocations::new(Arc::new(SessionTables::new(64, NOW)), Arc::new(keys), 3600)
}

fn replica() -> FleetRevocations {
    replica_with_key(1)
}

fn entry(errand: Errand) -> Vec<u8> {
    let Errand::Revoke(entry, _) = errand else { panic!("{errand:?}") };
    entry
}

fn entries(errands: impl IntoIterator<Item = Errand>) -> Vec<Vec<u8>> {
    errands.into_iter().map(entry).collect()
}

fn marks(sub: &str) -> TokenMarks {
    TokenMarks {
        session: None,
        token: Mark::token_id(PROVIDER, "t"),
        subject: Mark::subject(PROVIDER, sub),
        usable_until: NOW + 60,
    }
}

fn of_session(sid: &str) -> NewRevocation {
    NewRevocation::of(Mark::session(PROVIDER, sid), EndedBy::Revocation, NOW + 60)
}

fn of_subject(sub: &str, issued_until: u64) -> NewRevocation {
    let mark = Mark::subject(PROVIDER, sub);
    NewRevocation { mark, issued_until, by: EndedBy::Revocation, kept_until: NOW + 60 }
}

impl FleetRevocations {
    fn session(&self, sid: &str) -> Option<Revocation> {
        self.memory.revocations.of_session(Mark::session(PROVIDER, sid), NOW)
    }

    fn token(&self, sub: &str, issued_at: u64) -> Option<Revocation> {
        self.memory.revocations.of_token(&marks(sub), Some(issued_at), NOW)
    }
}

#[test]
fn lists_over_one_stream_become_equal() {
    let [one, other] = [replica(), replica()];
    let mut stream = Vec::new();
    for number in 0..1000 {
        let replica = if number % 2 == 0 { &one } else { &other };
        stream.extend(entries(replica.revoke(of_session(&number.to_string()), NOW)));
    }
    for replica in [&one, &other] {
        assert_eq!(replica.len(), 500);
        for some in stream.chunks(300) {
            assert_eq!(replica.received(some, NOW), 0);
        }
        assert_eq!(replica.len(), 1000);
        assert!((0..1000).all(|number| replica.session(&number.to_string()) == SESSION));
    }
    let late = replica();
    late.received(&entries(one.all(NOW)), NOW);
    assert_eq!(late.len(), 1000, "the whole list again, for a new generation");
    for replica in [&one, &other, &late] {
        replica.received(&stream, NOW + 59);
        assert_eq!((replica.len(), replica.memory.revocations.len()), (1000, 1000), "doubles change nothing");
    }
}

#[test]
fn an_entry_leaves_only_when_its_time_is_over_and_then_it_does_not_come_again() {
    let [one, other] = [replica(), replica()];
    let stream = entries(one.revoke(of_session("s1"), NOW));
    other.received(&stream, NOW + 60);
    assert_eq!(other.len(), 0);
    other.received(&stream, NOW + 59);
    other.received(&[], NOW + 59);
    assert_eq!(other.session("s1"), SESSION);
}

#[test]
fn a_login_is_admitted_everywhere_unless_it_was_revoked_elsewhere_since() {
    let [one, other, late] = [replica(), replica(), replica()];
    let mut stream = Vec::new();
    for sub in ["alice", "bob", "carol"] {
        stream.extend(entries(one.revoke(of_subject(sub, NOW + 5), NOW)));
    }
    other.received(&stream, NOW);
    // The same revocation once more changes nothing here, but it is a later one.
    let revoked = entries(other.revoke(of_subject("bob", NOW + 5), NOW));
    let admitted: Vec<_> =
        ["alice", "bob"].iter().flat_map(|sub| entries(one.admit(&marks(sub), Some(NOW), NOW))).collect();
    assert_eq!(one.token("bob", NOW), None);
    // The stream has them in this order. The second replica reads it from its start twice, and the third one late.
    stream.extend(admitted);
    stream.extend(revoked);
    for replica in [&one, &other, &other, &late] {
        replica.received(&stream, NOW);
        assert_eq!(replica.token("alice", NOW), None);
        assert_eq!(replica.token("alice", NOW - 1), SESSION);
        assert_eq!(replica.token("bob", NOW), SESSION, "revoked since");
        assert_eq!(replica.token("carol", NOW), SESSION, "not admitted");
    }
}

#[test]
fn an_admitted_login_stays_admitted_while_the_stream_is_read_again() {
    let [one, other] = [replica(), replica()];
    let revoked = entries(one.revoke(of_session("s1"), NOW));
    other.received(&revoked, NOW);
    // The other replica adds its whole list before it knows of the admission.
    let again = entries(other.all(NOW));
    let jwt = TokenMarks { session: Some(Mark::session(PROVIDER, "s1")), ..marks("alice") };
    let admitted = entries(one.admit(&jwt, Some(NOW), NOW));
    other.received(&admitted, NOW);
    for replica in [&one, &other] {
        for entries in [&revoked, &again, &revoked] {
            replica.received(entries, NOW);
            assert_eq!(replica.memory.revocations.of_token(&jwt, Some(NOW), NOW), None);
        }
    }
    let revoked = entries(other.revoke(of_session("s1"), NOW));
    one.received(&revoked, NOW);
    one.received(&admitted, NOW);
    assert_eq!(one.memory.revocations.of_token(&jwt, Some(NOW + 9), NOW), SESSION, "revoked again");
}

#[test]
fn nothing_is_sent_if_nothing_was_admitted() {
    let one = replica();
    assert_eq!(one.admit(&marks("alice"), Some(NOW), NOW), None);
    one.revoke(of_subject("alice", NOW - 5), NOW);
    assert_eq!(one.admit(&marks("alice"), Some(NOW), NOW), None);
}

#[test]
fn a_logout_token_counts_once_in_the_whole_fleet_and_its_revocation_goes_with_it() {
    let [one, other] = [replica(), replica()];
    let token = (Mark::logout_token(PROVIDER, "a.b.c"), NOW + 60);
    let (is_first, errand) = one.revoke_once(token, of_session("s1"), NOW);
    assert!(is_first);
    let stream = entries(errand);
    assert_eq!(stream.len(), 1, "nobody gets one without the other");
    other.received(&stream, NOW);
    assert_eq!(other.session("s1"), SESSION);
    for replica in [&one, &other] {
        assert_eq!(replica.revoke_once(token, of_session("s2"), NOW), (false, None));
        assert_eq!(replica.session("s2"), None);
    }
}

#[test]
fn what_another_key_has_sealed_is_ignored_and_counted() {
    let [one, stranger] = [replica(), replica_with_key(2)];
    let mut stream = entries(stranger.revoke(of_session("s1"), NOW));
    stream.push(one.keys.seal_message(PURPOSE, b"no record").unwrap());
    stream.push(one.keys.seal_message("other purpose", &[]).unwrap());
    stream.extend(entries(replica().revoke(of_session("s2"), NOW)));
    assert_eq!(one.received(&stream, NOW), 3);
    assert_eq!((one.session("s1"), one.session("s2")), (None, SESSION));
    let text = String::from_utf8_lossy(&stream[3]).into_owned();
    assert!(!text.contains("s2"));
}

#[test]
fn a_revocation_that_refused_a_jwt_is_kept_for_as_long_elsewhere() {
    let [one, other] = [replica(), replica()];
    other.received(&entries(one.revoke(of_subject("alice", NOW), NOW)), NOW);
    let jwt = TokenMarks { usable_until: NOW + 900, ..marks("alice") };
    assert!(one.prolonged(NOW).is_empty());
    assert_eq!(one.memory.revocations.of_token(&jwt, Some(NOW), NOW), SESSION);
    other.received(&entries(one.prolonged(NOW)), NOW);
    assert!(one.prolonged(NOW).is_empty());
    assert_eq!(other.memory.revocations.of_token(&jwt, Some(NOW), NOW + 899), SESSION);
}

#[test]
fn the_stream_keeps_entries_for_as_long_as_the_longest_one_counts() {
    let kept = |errand: Option<Errand>| match errand {
        Some(Errand::Revoke(_, kept)) => kept.as_secs(),
        other => panic!("{other:?}"),
    };
    let [one, other] = [replica(), replica()];
    assert_eq!(kept(one.revoke(of_session("s1"), NOW)), LONGEST + CLOCK_DIFFERENCE, "nothing is known yet");
    one.caught_up();
    assert_eq!(kept(one.revoke(of_session("s1"), NOW)), 3600 + CLOCK_DIFFERENCE);
    let long = NewRevocation { kept_until: NOW + 9000, ..of_session("s2") };
    let stream = entries(other.revoke(long, NOW));
    one.received(&stream, NOW);
    assert_eq!(kept(one.revoke(of_session("s1"), NOW)), 9000 + CLOCK_DIFFERENCE);
}

#[tokio::test(start_paused = true)]
async fn the_staleness_is_the_time_since_the_end_was_read() {
    let one = replica();
    assert_eq!(one.staleness(), None);
    one.caught_up();
    tokio::time::advance(Duration::from_secs(7)).await;
    assert_eq!(one.staleness(), Some(Duration::from_secs(7)));
    one.caught_up();
    assert_eq!(one.staleness(), Some(Duration::ZERO));
}
