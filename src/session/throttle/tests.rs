use std::collections::HashMap;
use std::net::IpAddr;

use proptest::prelude::*;
use tokio::time::advance;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn name(username: &str, address: &str) -> LoginName {
    LoginName::new("main", username, address.parse::<IpAddr>().ok())
}

fn throttle(per_name: u32, per_address: u32) -> Arc<Throttle> {
    Arc::new(Throttle::new(per_name, per_address))
}

fn fail(throttle: &Arc<Throttle>, name: &LoginName) {
    throttle.reserve(name).unwrap().failed();
}

fn refusal(throttle: &Arc<Throttle>, name: &LoginName) -> Option<Refused> {
    throttle.reserve(name).err()
}

#[tokio::test(start_paused = true)]
async fn a_name_from_one_address_is_slowed_down_and_nobody_else() {
    let throttle = throttle(3, 1000);
    let guessed = name("alice", "192.0.2.1");
    for _ in 0..3 {
        assert_eq!(throttle.check(&guessed), Ok(()));
        fail(&throttle, &guessed);
    }
    let wait = throttle.check(&guessed).unwrap_err();
    assert!(wait <= NAME_LEAK, "{wait:?}");
    assert_eq!(refusal(&throttle, &guessed), Some(Refused::Failed(wait)));
    assert!(throttle.check(&name(" ALICE ", "192.0.2.1")).is_err(), "the same name to a provider");
    assert_eq!(throttle.check(&name("alice", "192.0.2.2")), Ok(()), "its owner, elsewhere");
    assert_eq!(throttle.check(&name("bob", "192.0.2.1")), Ok(()));
    advance(wait).await;
    assert_eq!(throttle.check(&guessed), Ok(()), "one more after a leak");
    throttle.reserve(&guessed).unwrap().succeeded();
    for _ in 0..2 {
        fail(&throttle, &guessed);
        assert_eq!(throttle.check(&guessed), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_tries_many_names_is_slowed_down() {
    let throttle = throttle(3, 10);
    for number in 0..10 {
        fail(&throttle, &name(&format!("user{number}"), "2001:db8::1"));
    }
    assert!(throttle.check(&name("other", "2001:db8::ffff")).unwrap_err() <= ADDRESS_LEAK, "one /64");
    assert_eq!(throttle.check(&name("other", "2001:db8:0:1::1")), Ok(()));
    advance(ADDRESS_LEAK).await;
    assert_eq!(throttle.check(&name("other", "2001:db8::1")), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn those_on_their_way_count_until_it_is_known_how_they_went() {
    let throttle = throttle(100, 5);
    let of = |number: usize| name(&format!("user{number}"), "192.0.2.1");
    let mut under_way: Vec<_> = (0..5).map(|number| throttle.reserve(&of(number)).unwrap()).collect();
    assert_eq!(refusal(&throttle, &of(5)), Some(Refused::OnTheirWay));
    assert_eq!(throttle.check(&of(5)), Ok(()), "none has failed");
    // As they end, they give their places back, or keep them.
    under_way.pop().unwrap().succeeded();
    drop(under_way.pop());
    under_way.pop().unwrap().failed();
    let two: Vec<_> = (5..7).map(|number| throttle.reserve(&of(number)).unwrap()).collect();
    assert_eq!(refusal(&throttle, &of(7)), Some(Refused::OnTheirWay));
    under_way.into_iter().chain(two).for_each(Reservation::failed);
    assert!(matches!(refusal(&throttle, &of(8)), Some(Refused::Failed(wait)) if wait <= ADDRESS_LEAK));
    // Again later: as many as were forgotten meanwhile, and no more.
    advance(ADDRESS_LEAK).await;
    let again: Vec<_> = (0..60).filter_map(|number| throttle.reserve(&of(number)).ok()).collect();
    assert_eq!(again.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_outcome_of_others_is_told() {
    let throttle = throttle(100, 1);
    let (one, other) = (name("alice", "192.0.2.1"), name("bob", "192.0.2.1"));
    for outcome in [Reservation::failed as fn(Reservation), Reservation::succeeded, drop] {
        let under_way = throttle.reserve(&one).unwrap();
        let settled = throttle.settled();
        tokio::pin!(settled);
        settled.as_mut().enable();
        assert_eq!(refusal(&throttle, &other), Some(Refused::OnTheirWay));
        outcome(under_way);
        settled.await;
        advance(ADDRESS_LEAK).await;
        assert_eq!(refusal(&throttle, &other), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_and_a_task_that_is_given_up_leave_nothing_behind() {
    let throttle = throttle(1, 1);
    let guessed = name("alice", "192.0.2.1");
    let reservation = throttle.reserve(&guessed).unwrap();
    let panicking = tokio::spawn(async move {
        let _reservation = reservation;
        panic!("on purpose");
    });
    assert!(panicking.await.is_err());
    let reservation = throttle.reserve(&guessed).unwrap();
    let given_up = tokio::spawn(async move {
        let _reservation = reservation;
        std::future::pending::<()>().await;
    });
    tokio::task::yield_now().await;
    given_up.abort();
    assert!(given_up.await.is_err());
    assert_eq!(refusal(&throttle, &guessed), None);
    assert!(throttle.table().failures.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_table_is_bounded() {
    let throttle = throttle(3, 10);
    let of = |number: u32| LoginName::new("main", &number.to_string(), Some(IpAddr::V4((number + 1).into())));
    for number in 0..65_536 {
        fail(&throttle, &of(number));
    }
    assert!(throttle.table().failures.len() <= MAX_ENTRIES);
    // One that finds no room is not counted, and gives back nothing that another has taken.
    let uncounted = throttle.reserve(&of(70_000)).unwrap();
    advance(SECOND * 3600).await;
    let counted = throttle.reserve(&of(70_000)).unwrap();
    drop(uncounted);
    assert_eq!(throttle.table().failures.len(), 2, "what has leaked away is gone");
    assert!(throttle.table().failures.values().all(|failures| failures.on_their_way == 1));
    drop(counted);
    assert!(throttle.table().failures.is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Reserve { username: u8, address: u8 },
    Fail(prop::sample::Index),
    Succeed(prop::sample::Index),
    GiveBack(prop::sample::Index),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u8..4, 0_u8..3).prop_map(|(username, address)| Step::Reserve { username, address }),
        3 => any::<prop::sample::Index>().prop_map(Step::Fail),
        1 => any::<prop::sample::Index>().prop_map(Step::Succeed),
        1 => any::<prop::sample::Index>().prop_map(Step::GiveBack),
        2 => (0_u64..40_000).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..150)
}

/// The failed logins of one subject, by when they were.
type Failed = HashMap<String, Vec<Instant>>;

/// In no time have more failed than the limit and what was forgotten in that time.
fn assert_bounded(failed: &Failed, kind: char, most: u32, leak: Duration) {
    for times in failed.iter().filter(|(subject, _)| subject.starts_with(kind)).map(|(_, times)| times) {
        for (first, from) in times.iter().enumerate() {
            for (last, to) in times.iter().enumerate().skip(first) {
                let count = u32::try_from(last - first + 1).unwrap();
                assert!(leak * count <= leak * most + (*to - *from), "{count} in {:?}", *to - *from);
            }
        }
    }
}

proptest! {
    /// Whatever overtakes what: no more guesses than one after the other, and no place is lost.
    #[test]
    fn guesses_at_once_are_as_many_as_one_after_the_other(
        steps in steps(),
        per_name in 1_u32..4,
        per_address in 1_u32..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let throttle = throttle(per_name, per_address);
            let mut under_way: Vec<(Reservation, String, String)> = Vec::new();
            let mut failed = Failed::new();
            for step in steps {
                match step {
                    Step::Reserve { username, address } => {
                        let address = format!("192.0.2.{address}");
                        let name = name(&username.to_string(), &address);
                        match throttle.reserve(&name) {
                            Ok(reservation) => {
                                under_way.push((reservation, format!("n{username}@{address}"), format!("a{address}")));
                            }
                            Err(Refused::Failed(wait)) => {
                                assert!(!wait.is_zero() && wait <= NAME_LEAK);
                                assert_eq!(throttle.check(&name).err(), Some(wait));
                            }
                            Err(Refused::OnTheirWay) => assert!(!under_way.is_empty(), "nobody is on the way"),
                        }
                    }
                    Step::Fail(index) if !under_way.is_empty() => {
                        let (reservation, name, address) = under_way.remove(index.index(under_way.len()));
                        reservation.failed();
                        for subject in [name, address] {
                            failed.entry(subject).or_default().push(Instant::now());
                        }
                    }
                    Step::Succeed(index) if !under_way.is_empty() => {
                        let (reservation, name, _) = under_way.remove(index.index(under_way.len()));
                        reservation.succeeded();
                        failed.remove(&name);
                    }
                    Step::GiveBack(index) if !under_way.is_empty() => {
                        drop(under_way.remove(index.index(under_way.len())));
                    }
                    Step::Wait(millis) => advance(Duration::from_millis(millis)).await,
                    Step::Fail(_) | Step::Succeed(_) | Step::GiveBack(_) => {}
                }
                assert_bounded(&failed, 'n', per_name, NAME_LEAK);
                assert_bounded(&failed, 'a', per_address, ADDRESS_LEAK);
            }
            drop(under_way);
            advance(SECOND * 3600).await;
            let all: Vec<_> = (0..per_address).map(|number| throttle.reserve(&name(&number.to_string(), "192.0.2.0"))).collect();
            assert!(all.iter().all(Result::is_ok), "a place was lost");
            drop(all);
            assert!(throttle.table().failures.values().all(|failures| failures.is_over(Instant::now())));
        });
    }
}
