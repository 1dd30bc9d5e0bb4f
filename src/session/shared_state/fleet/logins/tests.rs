use std::net::IpAddr;

use tokio::task::yield_now;
use tokio::time::advance;

use super::*;
use crate::config::SealKey;
use crate::engine::fake::{FakeEngine, FakeServer};
use crate::session::login_queue::LoginQueue;

const MOST: u32 = 4;

struct Fleet {
    server: FakeServer,
    replicas: Vec<(Arc<FleetLogins>, Arc<FakeEngine>, LoginQueue)>,
}

impl Fleet {
    fn new(count: usize) -> Self {
        let server = FakeServer::new(Duration::ZERO);
        let replica = |number: usize| {
            let owner = number.to_string();
            let engine = server.connect(&owner).0;
            let keys = Arc::new(FleetKeys::new(&[SealKey::new([1; 32])]).unwrap());
            let throttle = Arc::new(Throttle::new(MOST, 1000));
            let seen = Arc::new(AtomicUsize::new(count));
            let logins = FleetLogins::new((Arc::clone(&engine) as _, keys), &owner, throttle, seen);
            (Arc::new(logins), engine, LoginQueue::default())
        };
        let replicas = (0..count).map(replica).collect();
        Self { server, replicas }
    }

    fn logins(&self, number: usize) -> &Arc<FleetLogins> {
        &self.replicas[number % self.replicas.len()].0
    }

    async fn turn(&self, number: usize, name: &LoginName) -> Turn {
        let (logins, _, queue) = &self.replicas[number];
        let waiting = queue.enter(name, false, 10).unwrap();
        logins.turn(name, waiting).await.unwrap()
    }
}

fn name(username: &str) -> LoginName {
    LoginName::new("main", username, "192.0.2.1".parse::<IpAddr>().ok())
}

/// Lets spawned tasks run, without time.
async fn settled() {
    for _ in 0..20 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_passwords_at_all_replicas_together_have_the_limit_of_one() {
    let fleet = Fleet::new(3);
    let mut passed = 0;
    for number in 0..40 {
        if let Ok(place) = fleet.logins(number).reserve(&name("alice")).await {
            place.failed();
            passed += 1;
        }
        settled().await;
    }
    assert_eq!(passed, MOST);
    for number in 0..3 {
        let wait = fleet.logins(number).check(&name("alice")).unwrap_err();
        assert!(wait <= Duration::from_secs(30), "the refusal is remembered, {wait:?}");
        assert_eq!(fleet.logins(number).check(&name("bob")), Ok(()));
    }
    advance(Duration::from_secs(30)).await;
    assert_eq!(fleet.logins(0).check(&name("alice")), Ok(()));
    fleet.logins(1).reserve(&name("alice")).await.unwrap().succeeded();
    settled().await;
    for number in [0, 2] {
        fleet.logins(number).reserve(&name("alice")).await.unwrap().failed();
        settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn those_on_their_way_elsewhere_are_waited_for() {
    let fleet = Fleet::new(2);
    let mut places = Vec::new();
    for _ in 0..MOST {
        places.push(fleet.logins(0).reserve(&name("alice")).await.unwrap());
    }
    let other = fleet.logins(1);
    let told = other.settled();
    tokio::pin!(told);
    told.as_mut().enable();
    let started = Instant::now();
    assert_eq!(other.reserve(&name("alice")).await.err(), Some(Refused::OnTheirWay));
    told.await;
    assert!(started.elapsed() >= ASK_AGAIN, "a refused login does not wake itself at once");
    drop(places.pop());
    settled().await;
    drop(other.reserve(&name("alice")).await.unwrap());
    settled().await;
    assert!(other.reserve(&name("alice")).await.is_ok(), "given back");
}

#[tokio::test(start_paused = true)]
async fn without_the_engine_each_replica_allows_its_share_and_knows_its_own_failures() {
    let fleet = Fleet::new(3);
    fleet.logins(0).reserve(&name("alice")).await.unwrap().failed();
    settled().await;
    fleet.server.go_away();
    // A third of four, rounded up.
    for (number, expected) in [(0, 1), (1, 2)] {
        let mut passed = 0;
        for _ in 0..10 {
            if let Ok(place) = fleet.logins(number).reserve(&name("alice")).await {
                place.failed();
                passed += 1;
            }
            settled().await;
        }
        assert_eq!(passed, expected);
        assert!(fleet.logins(number).check(&name("alice")).is_err());
    }
    assert_eq!(fleet.logins(2).check(&name("alice")), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_does_not_answer_is_asked_once_a_second() {
    let fleet = Fleet::new(1);
    let (logins, engine, _) = &fleet.replicas[0];
    engine.lose_requests(1000);
    let turn = fleet.turn(0, &name("alice")).await;
    assert!(logins.breaker.is_open());
    drop(logins.reserve(&name("alice")).await.unwrap());
    drop(turn);
    settled().await;
    engine.lose_requests(0);
    drop(logins.reserve(&name("alice")).await.unwrap());
    settled().await;
    assert!(logins.breaker.is_open(), "not asked");
    advance(Duration::from_secs(1)).await;
    drop(logins.reserve(&name("alice")).await.unwrap());
    assert!(!logins.breaker.is_open(), "asked again");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_never_answers_costs_one_login_100_ms() {
    let fleet = Fleet::new(1);
    let (logins, ..) = &fleet.replicas[0];
    let started = Instant::now();
    let answer = logins.ask(std::future::pending::<Result<(), EngineError>>()).await;
    assert!(matches!(answer, Answer::Lost));
    let answer = logins.ask(std::future::pending::<Result<(), EngineError>>()).await;
    assert!(matches!(answer, Answer::Away));
    drop(fleet.turn(0, &name("alice")).await);
    drop(logins.reserve(&name("alice")).await.unwrap());
    assert!(started.elapsed() < LONGEST_ANSWER * 2, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn logins_of_one_user_name_take_turns_in_the_fleet() {
    let fleet = Fleet::new(2);
    let first = fleet.turn(0, &name("alice")).await;
    drop(fleet.turn(1, &name("bob")).await);
    let wanted = name("alice");
    let second = fleet.turn(1, &wanted);
    tokio::pin!(second);
    assert!(timeout(Duration::from_secs(5), &mut second).await.is_err());
    drop(first);
    let second = timeout(POLL * 2, second).await.unwrap();
    // At one replica, the next login has its turn as soon as the turn before has been given back.
    drop(second);
    let third = timeout(POLL / 2, fleet.turn(1, &wanted)).await.unwrap();
    // A turn that is never given back is over after its time.
    std::mem::forget(third);
    assert!(timeout(TURN.saturating_sub(POLL), fleet.turn(0, &wanted)).await.is_err());
    assert!(timeout(POLL * 4, fleet.turn(0, &wanted)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_dropped_while_it_waits_leaves_nothing_behind() {
    let fleet = Fleet::new(2);
    let first = fleet.turn(0, &name("alice")).await;
    assert!(timeout(POLL, fleet.turn(1, &name("alice"))).await.is_err());
    // The answer is lost, so the turn may have been granted.
    drop(first);
    settled().await;
    fleet.replicas[1].1.lose_answers(1);
    drop(fleet.turn(1, &name("alice")).await);
    advance(Duration::from_secs(1)).await;
    settled().await;
    fleet.server.go_away();
    drop(timeout(POLL, fleet.turn(1, &name("alice"))).await.expect("only the queue of this process counts"));
}

#[tokio::test(start_paused = true)]
async fn a_place_whose_answer_was_lost_is_given_back_with_its_outcome() {
    let fleet = Fleet::new(1);
    let (logins, engine, _) = &fleet.replicas[0];
    engine.lose_answers(1);
    let place = logins.reserve(&name("alice")).await.unwrap();
    advance(Duration::from_secs(1)).await;
    place.failed();
    settled().await;
    for _ in 1..MOST {
        logins.reserve(&name("alice")).await.unwrap().failed();
        settled().await;
    }
    assert!(matches!(logins.reserve(&name("alice")).await.err(), Some(Refused::Failed(_))));
}

#[test]
fn the_engine_sees_no_user_name_and_no_address() {
    let fleet = Fleet::new(1);
    let seen = format!("{:?}", fleet.logins(0).buckets(&name("alice")));
    assert!(!seen.contains("alice") && !seen.contains("192.0.2"), "{seen}");
    assert_eq!(fleet.logins(0).buckets(&LoginName::new("main", "alice", None)).len(), 1);
}
