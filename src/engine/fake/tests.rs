//! Tests of the engine in memory, and of what the operations mean.

use super::*;
use crate::engine::commands::{RecordState, Verdict};

const SETTLE: Duration = Duration::from_secs(3);
const CLAIM: Duration = Duration::from_secs(60);

fn name(number: u8) -> Name {
    Name::from_bytes([number; 16])
}

fn claiming(names: &[u8], nonce: &str) -> Claiming {
    let names = names.iter().map(|number| name(*number)).collect();
    Claiming { names, nonce: nonce.to_owned(), lasts: CLAIM, refresh_grace: Duration::ZERO }
}

fn assertion(names: &[u8], state: RecordState) -> Assertion {
    let names = names.iter().map(|number| name(*number)).collect();
    let (value, message) = (b"value".to_vec(), b"message".to_vec());
    Assertion { names, state, value, nonce: String::new(), lasts: Duration::from_secs(30), message }
}

async fn settled() -> FakeServer {
    let server = FakeServer::new(SETTLE);
    tokio::time::sleep(SETTLE).await;
    server
}

async fn verdict(engine: &FakeEngine, claiming: &Claiming) -> Verdict {
    engine.claim(claiming).await.unwrap().verdict
}

fn all(events: &mut mpsc::Receiver<EngineEvent>) -> Vec<EngineEvent> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_new_engine_grants_nothing_until_it_has_settled() {
    let server = FakeServer::new(SETTLE);
    let (engine, _events) = server.connect("a");
    assert_eq!(verdict(&engine, &claiming(&[1], "n")).await, Verdict::Settling(SETTLE));
    tokio::time::sleep(SETTLE).await;
    assert_eq!(verdict(&engine, &claiming(&[1], "n")).await, Verdict::Mine);
    server.lose_everything();
    assert_eq!(verdict(&engine, &claiming(&[1], "n")).await, Verdict::Settling(SETTLE));
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_granted_once_and_again_to_the_same_nonce() {
    let server = settled().await;
    let ((a, _a_events), (b, _b_events)) = (server.connect("a"), server.connect("b"));
    assert_eq!(verdict(&a, &claiming(&[1, 2], "n")).await, Verdict::Mine);
    assert_eq!(verdict(&a, &claiming(&[1, 2], "n")).await, Verdict::Mine);
    let busy = Verdict::Busy { owner: String::from("a") };
    assert_eq!(verdict(&b, &claiming(&[1, 2], "m")).await, busy);
    assert_eq!(verdict(&b, &claiming(&[3, 1], "m")).await, busy, "its other name counts");
    b.release(&[name(1)], "m").await.unwrap();
    assert_eq!(verdict(&b, &claiming(&[1], "m")).await, busy, "another nonce releases nothing");
    a.release(&[name(2), name(1)], "n").await.unwrap();
    assert_eq!(verdict(&b, &claiming(&[1], "m")).await, Verdict::Mine);
    b.shorten(&[name(1)], "m", Duration::from_secs(5)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(verdict(&a, &claiming(&[1], "n")).await, Verdict::Mine);
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_taken_over_within_the_grace_period_of_a_dead_owner_only() {
    let server = settled().await;
    let ((a, _a_events), (b, _b_events)) = (server.connect("a"), server.connect("b"));
    verdict(&a, &claiming(&[1], "n")).await;
    let with_grace = Claiming { refresh_grace: Duration::from_secs(10), ..claiming(&[1], "m") };
    let busy = Verdict::Busy { owner: String::from("a") };
    assert_eq!(verdict(&b, &with_grace).await, busy);
    a.go_away();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(verdict(&b, &claiming(&[1], "m")).await, busy, "a strict provider");
    assert_eq!(verdict(&b, &with_grace).await, Verdict::Mine);
    b.go_away();
    a.come_back();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let busy = Verdict::Busy { owner: String::from("b") };
    assert_eq!(verdict(&a, &Claiming { nonce: String::from("o"), ..with_grace }).await, busy, "too late");
}

#[tokio::test(start_paused = true)]
async fn a_record_gives_way_to_a_stronger_one_only() {
    use RecordState::{Claimed, Dead, Ended, Replaced, Tokens};
    let states = [Claimed, Dead, Tokens, Ended, Replaced];
    for first in states {
        for second in states {
            let server = settled().await;
            let (engine, mut events) = server.connect("a");
            assert_eq!(engine.assert(&assertion(&[1, 2], first)).await.unwrap(), Asserted::Written);
            all(&mut events);
            let answer = engine.assert(&assertion(&[3, 1], second)).await.unwrap();
            if second > first {
                assert_eq!(answer, Asserted::Written);
                assert_eq!(all(&mut events), [EngineEvent::Message(b"message".to_vec())]);
            } else {
                let known = Known { state: first, key: 1, value: b"value".to_vec() };
                assert_eq!(answer, Asserted::Kept(known));
                assert_eq!(all(&mut events), []);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_shows() {
    let server = settled().await;
    let (engine, mut events) = server.connect("a");
    all(&mut events);
    engine.lose_requests(1);
    assert!(matches!(engine.claim(&claiming(&[1], "n")).await, Err(EngineError::NoAnswer(_))));
    assert_eq!(engine.look(&[name(1)]).await.unwrap(), None);
    engine.lose_answers(1);
    assert!(matches!(engine.claim(&claiming(&[1], "n")).await, Err(EngineError::NoAnswer(_))));
    assert_eq!(engine.look(&[name(1)]).await.unwrap().unwrap().state, RecordState::Claimed);
    let data = server.data();
    engine.release(&[name(1)], "n").await.unwrap();
    server.restore(data);
    assert!(engine.look(&[name(1)]).await.unwrap().is_some(), "old data is back");
    server.go_away();
    assert_eq!(engine.look(&[name(1)]).await, Err(EngineError::Away));
    assert!(!engine.is_up());
    server.lose_everything();
    server.come_back();
    let generation = |number| Generation(format!("generation{number}"));
    let expected = [
        EngineEvent::NewGeneration(generation(2)),
        EngineEvent::CaughtUp,
        EngineEvent::Disconnected(EngineError::Away),
        EngineEvent::Connected { generation: generation(3), settling: SETTLE },
        EngineEvent::NewGeneration(generation(3)),
        EngineEvent::CaughtUp,
        EngineEvent::MissedMessages,
        EngineEvent::CaughtUp,
    ];
    assert_eq!(all(&mut events), expected);
}

#[tokio::test(start_paused = true)]
async fn buckets_fill_and_leak() {
    let server = settled().await;
    let (engine, _events) = server.connect("a");
    let bucket = |number, leak, most| Bucket { name: name(number), leak: Duration::from_secs(leak), most };
    let buckets = [bucket(1, 30, 2), bucket(2, 5, 3)];
    assert_eq!(engine.reserve(&buckets).await, Ok(Reserved::Yes));
    assert_eq!(engine.reserve(&buckets).await, Ok(Reserved::Yes));
    assert_eq!(engine.reserve(&buckets).await, Ok(Reserved::OnTheirWay));
    engine.settle(&buckets, Settled::Failed).await.unwrap();
    engine.settle(&buckets, Settled::Failed).await.unwrap();
    assert_eq!(engine.reserve(&buckets).await, Ok(Reserved::Failed(Duration::from_secs(30))));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(engine.reserve(&buckets).await, Ok(Reserved::Yes));
    engine.settle(&buckets, Settled::Succeeded).await.unwrap();
    assert_eq!(engine.reserve(&buckets).await, Ok(Reserved::Yes));
    assert_eq!(engine.reserve(&buckets).await, Ok(Reserved::Yes), "a success forgets the failures");
    assert_eq!(engine.reserve(&buckets).await, Ok(Reserved::OnTheirWay));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(engine.reserve(&buckets).await, Ok(Reserved::Yes), "a dead replica settles nothing");
}

#[tokio::test(start_paused = true)]
async fn turns_and_firsts_belong_to_one() {
    let server = settled().await;
    let ((a, _a_events), (b, mut b_events)) = (server.connect("a"), server.connect("b"));
    let lasts = Duration::from_secs(10);
    assert_eq!(a.take_turn(&name(1), "x", lasts).await, Ok(true));
    assert_eq!(b.take_turn(&name(1), "y", lasts).await, Ok(false));
    b.give_turn(&name(1), "y").await.unwrap();
    assert_eq!(b.take_turn(&name(1), "y", lasts).await, Ok(false));
    a.give_turn(&name(1), "x").await.unwrap();
    assert_eq!(b.take_turn(&name(1), "y", lasts).await, Ok(true));
    let generation = Generation(String::from("g"));
    assert_eq!(a.is_first_of_generation(&generation).await, Ok(true));
    assert_eq!(b.is_first_of_generation(&generation).await, Ok(false));
    all(&mut b_events);
    a.publish(b"m").await.unwrap();
    a.add_revocations(&[b"r".to_vec()], lasts).await.unwrap();
    let expected = [
        EngineEvent::Message(b"m".to_vec()),
        EngineEvent::Revocations(vec![b"r".to_vec()]),
        EngineEvent::CaughtUp,
    ];
    assert_eq!(all(&mut b_events), expected);
}
