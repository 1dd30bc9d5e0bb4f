//! The engine in memory means the same by each operation as the real one.

use fastrand::Rng;

use super::server::Server;
use super::*;
use crate::engine::commands::{Bucket, Reserved, Settled};
use crate::engine::fake::FakeServer;

const SEQUENCES: u8 = 40;
const OPERATIONS: usize = 250;

#[derive(Debug, Clone)]
enum Operation {
    Claim(Claiming),
    Assert(Assertion),
    Release(Vec<Name>, String),
    Shorten(Vec<Name>, String),
    ForgetEnd(Vec<Name>),
    Look(Vec<Name>),
    IsFirst(Generation),
    Reserve(Vec<Bucket>),
    Settle(Vec<Bucket>, Settled),
    TakeTurn(Name, String),
    GiveTurn(Name, String),
}

fn random_name(random: &mut Rng, sequence: u8) -> Name {
    let mut bytes = [sequence; 16];
    bytes[0] = random.u8(0..4);
    Name::from_bytes(bytes)
}

fn random_names(random: &mut Rng, sequence: u8) -> Vec<Name> {
    (0..random.usize(1..=3)).map(|_| random_name(random, sequence)).collect()
}

fn random_buckets(random: &mut Rng, sequence: u8) -> Vec<Bucket> {
    // So slow that nothing leaks during the test.
    let limits = [(1000, 2), (500, 4), (2000, 1), (1000, 0)];
    let number = random.usize(1..=2);
    let first = random.u8(0..4);
    (0..number)
        .map(|step| {
            let at = (usize::from(first) + step) % limits.len();
            let mut bytes = [sequence; 16];
            bytes[0] = u8::try_from(at).unwrap();
            let (leak, most) = limits[at];
            Bucket { name: Name::from_bytes(bytes), leak: Duration::from_secs(leak), most }
        })
        .collect()
}

fn random_operation(random: &mut Rng, sequence: u8) -> Operation {
    use RecordState::{Claimed, Dead, Ended, Replaced, Tokens};
    let nonce = ["x", "y", "z"][random.usize(0..3)].to_owned();
    let names = random_names(random, sequence);
    match random.u8(0..13) {
        0..3 => {
            let refresh_grace = Duration::from_secs(if random.bool() { 0 } else { 60 });
            Operation::Claim(Claiming { names, nonce, lasts: Duration::from_secs(600), refresh_grace })
        }
        3 | 4 => Operation::Assert(Assertion {
            names,
            state: [Claimed, Dead, Tokens, Replaced, Ended][random.usize(0..5)],
            value: vec![random.u8(..); random.usize(0..4)],
            nonce,
            lasts: Duration::from_secs(600),
            message: Vec::new(),
        }),
        5 => Operation::Release(names, nonce),
        6 => Operation::Shorten(names, if random.bool() { nonce } else { String::new() }),
        7 => Operation::ForgetEnd(names),
        8 => Operation::Look(names),
        9 => Operation::IsFirst(Generation(format!("{sequence}{nonce}"))),
        10 => Operation::Reserve(random_buckets(random, sequence)),
        11 => {
            let settled = [Settled::Failed, Settled::Succeeded, Settled::Unknown][random.usize(0..3)];
            Operation::Settle(random_buckets(random, sequence), settled)
        }
        _ => {
            let name = random_name(random, sequence);
            if random.bool() { Operation::TakeTurn(name, nonce) } else { Operation::GiveTurn(name, nonce) }
        }
    }
}

/// Carries an operation out, and returns its answer as text. Times are rounded.
async fn answer(engine: &dyn Engine, operation: &Operation) -> String {
    let long = Duration::from_secs(300);
    match operation.clone() {
        Operation::Claim(claiming) => {
            format!("{:?}", engine.claim(&claiming).await.map(|answer| answer.verdict))
        }
        Operation::Assert(assertion) => format!("{:?}", engine.assert(&assertion).await),
        Operation::Release(names, nonce) => format!("{:?}", engine.release(&names, &nonce).await),
        Operation::Shorten(names, nonce) => format!("{:?}", engine.shorten(&names, &nonce, long).await),
        Operation::ForgetEnd(names) => format!("{:?}", engine.forget_end(&names).await),
        Operation::Look(names) => format!("{:?}", engine.look(&names).await),
        Operation::IsFirst(generation) => format!("{:?}", engine.is_first_of_generation(&generation).await),
        Operation::Reserve(buckets) => match engine.reserve(&buckets).await {
            // All times are multiples of 500 s, less the duration of the test.
            Ok(Reserved::Failed(wait)) => format!("failed, {}", (wait.as_secs() + 250) / 500),
            other => format!("{other:?}"),
        },
        Operation::Settle(buckets, settled) => format!("{:?}", engine.settle(&buckets, settled).await),
        Operation::TakeTurn(name, owner) => format!("{:?}", engine.take_turn(&name, &owner, long).await),
        Operation::GiveTurn(name, owner) => format!("{:?}", engine.give_turn(&name, &owner).await),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_sequences_give_the_same_answers() {
    let server = Server::start(&[]);
    let a = Replica::connected(&settings(server.port), "a").await;
    let b = Replica::connected(&settings(server.port), "b").await;
    a.settled_verdict(&claiming(&[255], "n")).await;
    let fake = FakeServer::new(Duration::ZERO);
    let ((fake_a, _a_events), (fake_b, _b_events)) = (fake.connect("a"), fake.connect("b"));
    let pairs: [(&dyn Engine, &dyn Engine); 2] = [(&*a.engine, &*fake_a), (&*b.engine, &*fake_b)];
    let seed = fastrand::u64(..);
    let mut random = Rng::with_seed(seed);
    for sequence in 0..SEQUENCES {
        let mut before = Vec::new();
        for _ in 0..OPERATIONS {
            let operation = random_operation(&mut random, sequence);
            let replica = random.usize(0..2);
            let (real, fake) = pairs[replica];
            let (real, fake) = (answer(real, &operation).await, answer(fake, &operation).await);
            before.push((replica, operation));
            assert_eq!(real, fake, "seed {seed}: the last of {before:#?}");
        }
    }
}
