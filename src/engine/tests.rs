//! Tests with a real engine. They start `redis-server` on free ports of this machine.

mod examination;
mod failures;
mod fake_and_real;
mod operations;
mod reached;
mod server;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use crate::config::{EngineAddress, EnginePlace, SharedState};
use crate::engine::commands::{
    Assertion, Claiming, Engine, EngineError, EngineEvent, Generation, RecordState, Verdict,
};
use crate::engine::names::Name;
use crate::engine::redis_engine::RedisEngine;

/// The longest time that a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(15);

/// A client that runs until it is dropped.
struct Replica {
    engine: Arc<RedisEngine>,
    events: mpsc::Receiver<EngineEvent>,
    is_over: watch::Sender<bool>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.is_over.send_replace(true);
    }
}

impl Replica {
    fn start(settings: &SharedState, owner: &str) -> Self {
        let (engine, events) = RedisEngine::new(settings, owner, Arc::new(|| b"heartbeat".to_vec()));
        let (is_over, receiver) = watch::channel(false);
        tokio::spawn(Arc::clone(&engine).run(receiver));
        Self { engine, events, is_over }
    }

    /// Starts a client and waits until it is connected. The events of its start are taken.
    async fn connected(settings: &SharedState, owner: &str) -> Self {
        let mut replica = Self::start(settings, owner);
        replica.until(|event| matches!(event, EngineEvent::CaughtUp)).await;
        replica
    }

    /// Returns the next event that is meant. All events before it are dropped.
    async fn until(&mut self, is_meant: impl Fn(&EngineEvent) -> bool) -> EngineEvent {
        let (deadline, mut before) = (Instant::now() + PATIENCE, Vec::new());
        loop {
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) if is_meant(&event) => return event,
                Ok(Some(event)) => before.push(event),
                Ok(None) | Err(_) => panic!("it did not come; before: {before:?}"),
            }
        }
    }

    async fn generation(&mut self) -> Generation {
        match self.until(|event| matches!(event, EngineEvent::NewGeneration(_))).await {
            EngineEvent::NewGeneration(generation) => generation,
            other => panic!("{other:?}"),
        }
    }

    async fn verdict(&self, claiming: &Claiming) -> Verdict {
        self.engine.claim(claiming).await.unwrap().verdict
    }

    /// Claims until the engine has settled.
    async fn settled_verdict(&self, claiming: &Claiming) -> Verdict {
        self.verdict_that(claiming, |verdict| !matches!(verdict, Verdict::Settling(_))).await
    }

    /// Claims until the answer is meant.
    async fn verdict_that(&self, claiming: &Claiming, is_meant: impl Fn(&Verdict) -> bool) -> Verdict {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.engine.claim(claiming).await {
                Ok(answer) if is_meant(&answer.verdict) => return answer.verdict,
                answer => assert!(Instant::now() < deadline, "{answer:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Settings for a server on this machine.
fn settings(port: u16) -> SharedState {
    let place = EnginePlace::Single { host: String::from("127.0.0.1"), port };
    SharedState {
        engine: EngineAddress { place, tls: false, database: 0 },
        username: None,
        password: None,
        ca: None,
        allow_cleartext: false,
        keys: Vec::new(),
        prefix: String::from("portcullis"),
        // Tests share their machine.
        command_timeout: Duration::from_secs(1),
        wait_replicas: 0,
        settle: Duration::from_millis(300),
        replay_cache: 1024,
    }
}

fn names(numbers: &[u8]) -> Vec<Name> {
    numbers.iter().map(|number| Name::from_bytes([*number; 16])).collect()
}

fn claiming(numbers: &[u8], nonce: &str) -> Claiming {
    Claiming {
        names: names(numbers),
        nonce: nonce.to_owned(),
        lasts: Duration::from_secs(60),
        refresh_grace: Duration::ZERO,
    }
}

fn assertion(numbers: &[u8], state: RecordState) -> Assertion {
    Assertion {
        names: names(numbers),
        state,
        value: vec![0, 255, b'\r', b'\n', 128],
        nonce: String::new(),
        lasts: Duration::from_secs(30),
        message: Vec::new(),
    }
}
