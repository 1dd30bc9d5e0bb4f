//! Examines an engine for `doctor`. It writes under names of its own, and removes them.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use redis::Value;
use tokio::time::{Instant, timeout};

use crate::config::SharedState;
use crate::engine::answers;
use crate::engine::attendance::Attached;
use crate::engine::commands::{
    Assertion, Bucket, Claiming, Engine, EngineError, Generation, RecordState, Settled, Verdict,
};
use crate::engine::facts::EngineFacts;
use crate::engine::faults::Fault;
use crate::engine::keyspace::Keyspace;
use crate::engine::names::Name;
use crate::engine::primary::Primary;
use crate::engine::redis_engine::RedisEngine;
use crate::system::clock::Clock;

/// The time for which messages of the fleet are collected. Each replica sends one in every second.
const LISTEN: Duration = Duration::from_millis(1200);

/// The number of questions for the round trip.
const PINGS: usize = 20;

/// The shortest time limit of a command.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lifetime of what the examination writes.
const LASTS: Duration = Duration::from_secs(10);

/// The findings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Examination {
    /// The facts. Only the address is set if the engine was not reached.
    pub(crate) facts: EngineFacts,
    /// The reason why the engine cannot be used.
    pub(crate) failed: Option<EngineError>,
    /// The operations that were tried, with the reason if one does not work.
    pub(crate) operations: Vec<(&'static str, Option<EngineError>)>,
    /// The median time of a question and its answer.
    pub(crate) round_trip: Duration,
    /// The seconds by which the engine's clock is ahead of this machine's. Negative if it is behind.
    pub(crate) clock_ahead: i64,
    /// The messages that replicas have sent meanwhile. They are sealed.
    pub(crate) messages: Vec<Vec<u8>>,
}

/// Examines the engine.
pub(crate) async fn examine(settings: &SharedState, clock: &dyn Clock) -> Examination {
    let channel = Keyspace::new(&settings.prefix).channel();
    let id = format!("{:016x}", fastrand::u64(..));
    let mut patient = settings.clone();
    patient.settle = Duration::ZERO;
    patient.command_timeout = patient.command_timeout.max(PATIENCE);
    let keys = Keyspace::for_trial(&settings.prefix, &id);
    let (engine, _events) = RedisEngine::with_keys(&patient, &id, Arc::new(Vec::new), keys);
    let attached = match engine.attach().await {
        Ok(attached) => attached,
        Err(error) => {
            return Examination {
                facts: (*engine.facts()).clone(),
                failed: Some(error),
                ..Examination::default()
            };
        }
    };
    let Attached { primary, facts, generation, .. } = attached;
    let primary = Arc::new(primary);
    engine.primary.store(Some(Arc::clone(&primary)));
    let messages = listen(&engine, &primary, &channel);
    let tried = async {
        let operations = try_all(&engine, &generation).await;
        (operations, measure(&primary, clock).await)
    };
    let (messages, (mut operations, measured)) = tokio::join!(messages, tried);
    operations.push(("subscribe", messages.as_ref().err().cloned()));
    let (round_trip, clock_ahead) = measured.unwrap_or_default();
    remove(&engine, &primary, &generation).await;
    Examination {
        facts,
        failed: None,
        operations,
        round_trip,
        clock_ahead,
        messages: messages.unwrap_or_default(),
    }
}

/// Collects the messages of the fleet.
async fn listen(engine: &RedisEngine, primary: &Primary, channel: &str) -> Result<Vec<Vec<u8>>, EngineError> {
    let messages = engine.connector.subscribe(&primary.host, primary.port, channel).await;
    let mut messages = messages.map_err(Fault::reason)?.into_on_message();
    let mut heard = Vec::new();
    let listening = async {
        while let Some(message) = poll_fn(|context| Pin::new(&mut messages).poll_next(context)).await {
            heard.push(message.get_payload_bytes().to_vec());
        }
    };
    // It ends only if the engine closes the connection.
    let _ = timeout(LISTEN, listening).await;
    Ok(heard)
}

const NAME: Name = Name::from_bytes([0; 16]);

fn bucket() -> Bucket {
    Bucket { name: NAME, leak: Duration::from_secs(1), most: 5 }
}

/// Tries each operation once.
async fn try_all(engine: &RedisEngine, generation: &Generation) -> Vec<(&'static str, Option<EngineError>)> {
    let names = [NAME];
    let claiming = Claiming {
        names: names.to_vec(),
        nonce: String::from("doctor"),
        lasts: LASTS,
        refresh_grace: Duration::ZERO,
    };
    let assertion = Assertion {
        names: names.to_vec(),
        state: RecordState::Dead,
        value: Vec::new(),
        nonce: claiming.nonce.clone(),
        lasts: LASTS,
        message: b"doctor".to_vec(),
    };
    let claim = match engine.claim(&claiming).await {
        Ok(answer) if answer.verdict == Verdict::TooFewNodes => Some(EngineError::Refused(String::from(
            "fewer nodes than `wait_replicas` have the claim in time",
        ))),
        answer => answer.err(),
    };
    vec![
        ("claim", claim),
        ("assert", engine.assert(&assertion).await.err()),
        ("release", engine.release(&names, "doctor").await.err()),
        ("shorten", engine.shorten(&names, "", LASTS).await.err()),
        ("look", engine.look(&names).await.err()),
        ("forget_end", engine.forget_end(&names).await.err()),
        ("publish", engine.publish(b"doctor").await.err()),
        ("add_revocations", engine.add_revocations(&[Vec::new()], LASTS).await.err()),
        ("is_first", engine.is_first_of_generation(generation).await.err()),
        ("reserve", engine.reserve(&[bucket()]).await.err()),
        ("settle", engine.settle(&[bucket()], Settled::Unknown).await.err()),
        ("take_turn", engine.take_turn(&NAME, "doctor", LASTS).await.err()),
        ("give_turn", engine.give_turn(&NAME, "doctor").await.err()),
    ]
}

/// Measures the round trip, and compares the clocks.
async fn measure(primary: &Primary, clock: &dyn Clock) -> Option<(Duration, i64)> {
    let mut trips = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let began = Instant::now();
        primary.ask(&redis::cmd("PING"), PATIENCE).await.ok()?;
        trips.push(began.elapsed());
    }
    trips.sort_unstable();
    let Value::Array(time) = primary.ask(&redis::cmd("TIME"), PATIENCE).await.ok()? else { return None };
    let seconds: i64 = answers::text(time.into_iter().next()?).ok()?.parse().ok()?;
    let here = i64::try_from(clock.now()).ok()?;
    Some((trips.get(PINGS / 2).copied()?, seconds - here))
}

/// Removes what the examination has written.
async fn remove(engine: &RedisEngine, primary: &Primary, generation: &Generation) {
    let keys = &engine.keys;
    let mut command = redis::cmd("DEL");
    command.arg(keys.generation()).arg(keys.records(&[NAME])).arg(keys.heartbeat(&engine.owner));
    command.arg(keys.revocations()).arg(keys.bucket(&NAME)).arg(keys.turn(&NAME)).arg(keys.first(generation));
    // Most of it ends by itself.
    let _ = primary.ask(&command, PATIENCE).await;
}
