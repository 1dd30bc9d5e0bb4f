//! Each operation, with both answers to each of its conditions.

use super::server::Server;
use super::*;
use crate::engine::commands::{Asserted, Bucket, Known, Reserved, Settled};

const MOMENT: Duration = Duration::from_millis(300);

async fn one() -> (Server, Replica) {
    let server = Server::start(&[]);
    let replica = Replica::connected(&settings(server.port), "a").await;
    tokio::time::sleep(MOMENT).await;
    (server, replica)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_engine_settles_before_it_grants() {
    let server = Server::start(&[]);
    let mut settings = settings(server.port);
    settings.settle = Duration::from_secs(2);
    let mut a = Replica::start(&settings, "a");
    match a.until(|event| matches!(event, EngineEvent::Connected { .. })).await {
        EngineEvent::Connected { settling, .. } => {
            assert!(settling > Duration::from_secs(1) && settling <= settings.settle);
        }
        other => panic!("{other:?}"),
    }
    assert!(a.engine.is_up());
    let answer = a.engine.claim(&claiming(&[1], "n")).await.unwrap();
    assert!(matches!(answer.verdict, Verdict::Settling(time) if time <= settings.settle));
    let mut later = Replica::start(&settings, "b");
    match later.until(|event| matches!(event, EngineEvent::Connected { .. })).await {
        EngineEvent::Connected { generation, settling } => {
            assert_eq!(generation, answer.generation);
            assert!(settling <= settings.settle, "a newcomer does not begin it again");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(a.settled_verdict(&claiming(&[1], "n")).await, Verdict::Mine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_by_two_names() {
    let (server, a) = one().await;
    let b = Replica::connected(&settings(server.port), "b").await;
    assert_eq!(a.verdict(&claiming(&[1, 2], "n")).await, Verdict::Mine);
    assert_eq!(a.verdict(&claiming(&[1, 2], "n")).await, Verdict::Mine, "again");
    assert_eq!(a.verdict(&claiming(&[9, 1], "n")).await, Verdict::Mine, "by its other name");
    let busy = Verdict::Busy { owner: String::from("a") };
    assert_eq!(b.verdict(&claiming(&[1], "m")).await, busy);
    assert_eq!(b.verdict(&claiming(&[3, 1], "m")).await, busy);
    assert_eq!(b.verdict(&claiming(&[2], "m")).await, Verdict::Mine, "the second name is not written");
    b.engine.release(&names(&[1]), "m").await.unwrap();
    assert_eq!(b.verdict(&claiming(&[1], "m")).await, busy, "another nonce releases nothing");
    a.engine.release(&names(&[9, 1]), "n").await.unwrap();
    assert_eq!(b.verdict(&claiming(&[1], "m")).await, Verdict::Mine);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_claims_at_once_one_is_granted() {
    let (server, a) = one().await;
    let b = Replica::connected(&settings(server.port), "b").await;
    let claims = (0..100).map(|number| {
        let engine = if number % 2 == 0 { &a.engine } else { &b.engine };
        let engine = Arc::clone(engine);
        tokio::spawn(async move { engine.claim(&claiming(&[1], &number.to_string())).await.unwrap().verdict })
    });
    let claims: Vec<_> = claims.collect();
    let mut granted = 0;
    for claim in claims {
        granted += usize::from(claim.await.unwrap() == Verdict::Mine);
    }
    assert_eq!(granted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_owner_loses_a_young_claim_where_the_provider_has_a_grace_period() {
    let (server, a) = one().await;
    let b = Replica::connected(&settings(server.port), "b").await;
    let grace =
        |seconds, nonce| Claiming { refresh_grace: Duration::from_secs(seconds), ..claiming(&[1], nonce) };
    let busy = Verdict::Busy { owner: String::from("a") };
    assert_eq!(a.verdict(&claiming(&[1], "n")).await, Verdict::Mine);
    assert_eq!(a.engine.assert(&assertion(&[2], RecordState::Claimed)).await, Ok(Asserted::Written));
    assert_eq!(b.verdict(&grace(20, "m")).await, busy, "it lives");
    drop(a);
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(b.verdict(&claiming(&[1], "m")).await, busy, "a strict provider");
    assert_eq!(b.verdict(&grace(5, "m")).await, busy, "too old, with two seconds to spare");
    assert_eq!(b.verdict(&grace(20, "m")).await, Verdict::Mine);
    let asserted = Claiming { names: names(&[2]), ..grace(20, "m") };
    assert_eq!(b.verdict(&asserted).await, busy, "nobody knows how old it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stronger_record_takes_the_place_of_a_weaker_one() {
    use RecordState::{Claimed, Dead, Ended, Replaced, Tokens};
    let (_server, mut a) = one().await;
    let states = [Claimed, Dead, Tokens, Ended, Replaced];
    let mut number = 0;
    for first in states {
        for second in states {
            number += 2;
            let by_first = assertion(&[number, number + 1], first);
            assert_eq!(a.engine.assert(&by_first).await, Ok(Asserted::Written));
            let by_second = Assertion {
                value: b"other".to_vec(),
                message: vec![number, 0, 255],
                ..assertion(&[number + 1, number], second)
            };
            let answer = a.engine.assert(&by_second).await.unwrap();
            let look = a.engine.look(&names(&[number, number + 1])).await.unwrap();
            if second > first {
                assert_eq!(answer, Asserted::Written);
                assert_eq!(look, Some(Known { state: second, key: 1, value: b"other".to_vec() }));
                let message = EngineEvent::Message(vec![number, 0, 255]);
                a.until(|event| *event == message).await;
            } else {
                let known = Known { state: first, key: 1, value: by_first.value.clone() };
                assert_eq!(answer, Asserted::Kept(known));
                assert_eq!(look, Some(Known { state: first, key: 0, value: by_first.value }));
            }
        }
    }
    let tokens = assertion(&[100], Tokens);
    a.engine.assert(&tokens).await.unwrap();
    let known = Known { state: Tokens, key: 1, value: tokens.value };
    assert_eq!(a.verdict(&claiming(&[101, 100], "n")).await, Verdict::Known(known));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_end_and_are_forgotten() {
    use RecordState::{Claimed, Dead, Ended, Replaced, Tokens};
    let (server, a) = one().await;
    let left = |number: u8| {
        let key = format!("{{portcullis}}:r:{}", names(&[number])[0].text());
        server.ask(&["PTTL", &key])
    };
    let left = |number| left(number).trim_start_matches("int(").trim_end_matches(')').parse::<i64>().unwrap();
    a.verdict(&claiming(&[1], "n")).await;
    assert!(left(1) > 55_000);
    a.engine.shorten(&names(&[1]), "m", Duration::from_secs(5)).await.unwrap();
    assert!(left(1) > 55_000, "another claim");
    a.engine.shorten(&names(&[2, 1]), "n", Duration::from_secs(5)).await.unwrap();
    assert!(left(1) <= 5000);
    a.engine.shorten(&names(&[1]), "n", Duration::from_secs(50)).await.unwrap();
    assert!(left(1) <= 5000, "it only shortens");
    a.engine.assert(&assertion(&[2], Tokens)).await.unwrap();
    a.engine.shorten(&names(&[2]), "", Duration::from_secs(3)).await.unwrap();
    assert!(left(2) <= 3000);
    for (number, state) in (10..).zip([Claimed, Dead, Tokens, Ended, Replaced]) {
        a.engine.assert(&assertion(&[number], state)).await.unwrap();
        a.engine.forget_end(&names(&[50, number])).await.unwrap();
        let is_there = a.engine.look(&names(&[number])).await.unwrap().is_some();
        assert_eq!(is_there, matches!(state, Claimed | Tokens), "{state:?}");
    }
    assert_eq!(a.engine.look(&names(&[60])).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_revocations_reach_all() {
    let (server, a) = one().await;
    let mut b = Replica::connected(&settings(server.port), "b").await;
    a.engine.publish(&[0, 13, 10, 255]).await.unwrap();
    b.until(|event| *event == EngineEvent::Message(vec![0, 13, 10, 255])).await;
    let entries = vec![vec![0, 255], b"second".to_vec()];
    a.engine.add_revocations(&entries, Duration::from_secs(60)).await.unwrap();
    b.until(|event| *event == EngineEvent::Revocations(entries.clone())).await;
    let many: Vec<_> = (0..1200_u32).map(|number| number.to_be_bytes().to_vec()).collect();
    for some in many.chunks(300) {
        a.engine.add_revocations(some, Duration::from_secs(60)).await.unwrap();
    }
    let mut late = Replica::start(&settings(server.port), "c");
    let mut read = Vec::new();
    while read.len() < 1202 {
        if let EngineEvent::Revocations(some) =
            late.until(|event| matches!(event, EngineEvent::Revocations(_) | EngineEvent::CaughtUp)).await
        {
            read.extend(some);
        }
    }
    assert_eq!(read, [entries, many].concat(), "from the start, and all before it has caught up");
    late.until(|event| *event == EngineEvent::CaughtUp).await;
    late.until(|event| *event == EngineEvent::CaughtUp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_entries_of_the_stream_go() {
    let (server, a) = one().await;
    let entries: Vec<_> = (0..1000_u32).map(|number| number.to_be_bytes().to_vec()).collect();
    a.engine.add_revocations(&entries, Duration::from_secs(60)).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    a.engine.add_revocations(&entries[..1], Duration::from_millis(100)).await.unwrap();
    let length = server.ask(&["XLEN", "{portcullis}:rev"]);
    assert!(
        length.trim_start_matches("int(").trim_end_matches(')').parse::<u32>().unwrap() < 200,
        "{length}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_fill_and_leak() {
    let (_server, a) = one().await;
    let bucket =
        |number, leak, most| Bucket { name: names(&[number])[0], leak: Duration::from_millis(leak), most };
    let buckets = [bucket(1, 2000, 2), bucket(2, 500, 10)];
    for _ in 0..2 {
        assert_eq!(a.engine.reserve(&buckets).await, Ok(Reserved::Yes));
    }
    assert_eq!(a.engine.reserve(&buckets).await, Ok(Reserved::OnTheirWay));
    a.engine.settle(&buckets, Settled::Unknown).await.unwrap();
    assert_eq!(a.engine.reserve(&buckets).await, Ok(Reserved::Yes));
    a.engine.settle(&buckets, Settled::Failed).await.unwrap();
    a.engine.settle(&buckets, Settled::Failed).await.unwrap();
    match a.engine.reserve(&buckets).await {
        Ok(Reserved::Failed(wait)) => {
            assert!(wait <= Duration::from_secs(2) && wait > Duration::from_secs(1));
        }
        other => panic!("{other:?}"),
    }
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(a.engine.reserve(&buckets).await, Ok(Reserved::Yes));
    a.engine.settle(&buckets, Settled::Succeeded).await.unwrap();
    assert_eq!(a.engine.reserve(&buckets[..1]).await, Ok(Reserved::Yes));
    assert_eq!(a.engine.reserve(&buckets[..1]).await, Ok(Reserved::Yes), "the failures are forgotten");
    assert_eq!(a.engine.reserve(&buckets[..1]).await, Ok(Reserved::OnTheirWay));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_guesses_at_once_as_many_as_the_limit_pass() {
    let (server, a) = one().await;
    let b = Replica::connected(&settings(server.port), "b").await;
    let buckets = [Bucket { name: names(&[1])[0], leak: Duration::from_secs(30), most: 10 }];
    let mut passed = 0;
    for number in 0..40 {
        let engine = if number % 2 == 0 { &a.engine } else { &b.engine };
        if engine.reserve(&buckets).await == Ok(Reserved::Yes) {
            passed += 1;
            engine.settle(&buckets, Settled::Failed).await.unwrap();
        }
    }
    assert_eq!(passed, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_and_firsts_belong_to_one() {
    let (server, a) = one().await;
    let b = Replica::connected(&settings(server.port), "b").await;
    let name = names(&[1])[0];
    let lasts = Duration::from_millis(700);
    assert_eq!(a.engine.take_turn(&name, "x", lasts).await, Ok(true));
    assert_eq!(a.engine.take_turn(&name, "x", lasts).await, Ok(true), "its answer may have been lost");
    assert_eq!(b.engine.take_turn(&name, "y", lasts).await, Ok(false));
    b.engine.give_turn(&name, "y").await.unwrap();
    assert_eq!(b.engine.take_turn(&name, "y", lasts).await, Ok(false));
    a.engine.give_turn(&name, "x").await.unwrap();
    assert_eq!(b.engine.take_turn(&name, "y", lasts).await, Ok(true));
    tokio::time::sleep(lasts + MOMENT).await;
    assert_eq!(a.engine.take_turn(&name, "x", lasts).await, Ok(true), "it is over");
    let generation = Generation(String::from("g"));
    assert_eq!(a.engine.is_first_of_generation(&generation).await, Ok(true));
    assert_eq!(b.engine.is_first_of_generation(&generation).await, Ok(false));
}
