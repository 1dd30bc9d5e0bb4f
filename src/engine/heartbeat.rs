//! The heartbeat of a replica. It shows the others that this one lives, and shows this one that the engine answers.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::engine::answers;
use crate::engine::commands::Generation;
use crate::engine::faults::Fault;
use crate::engine::primary::Primary;
use crate::engine::redis_engine::RedisEngine;
use crate::engine::scripts;
use crate::telemetry::metrics::shared_state::ENGINE_METRICS;

/// The time between two heartbeats.
const EVERY: Duration = Duration::from_millis(500);

/// The time for which others believe a heartbeat.
const LASTS: Duration = Duration::from_secs(3);

/// The number of heartbeats in a row without an answer after which the engine counts as gone.
const MISSED: u32 = 2;

/// The number of heartbeats after which the facts about the engine are read again.
const FACTS: u32 = 20;

/// Sends heartbeats until the engine does not answer them.
pub(super) async fn beat(engine: &RedisEngine, primary: &Primary) -> Fault {
    let mut ticks = interval_at(Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let limit = engine.command_timeout.min(EVERY);
    let (mut missed, mut beats) = (0, 0);
    loop {
        ticks.tick().await;
        let started = Instant::now();
        let touched = touch(engine, primary, limit).await;
        ENGINE_METRICS.record("heartbeat", started.elapsed(), touched.as_ref().err().map(Fault::kind));
        match touched {
            Ok((generation, _)) => {
                missed = 0;
                engine.note(generation).await;
            }
            Err(Fault::TooLate) => {
                missed += 1;
                if missed >= MISSED {
                    return Fault::TooLate;
                }
            }
            Err(fault) => return fault,
        }
        beats += 1;
        if beats % FACTS == 0 && missed == 0 {
            // A server that has become a copy, or does not answer, shows at the next heartbeat.
            if let Ok(facts) = engine.look_at(primary).await {
                engine.take(facts);
            }
        }
    }
}

/// Sends one heartbeat. Returns the engine's generation, and the time until it has settled.
pub(super) async fn touch(
    engine: &RedisEngine,
    primary: &Primary,
    limit: Duration,
) -> Result<(Generation, Duration), Fault> {
    let keys = [engine.keys.generation(), engine.keys.heartbeat(&engine.owner)];
    let value = (engine.heartbeat)();
    let call = scripts::TOUCH.call(&keys).with(engine.settle).with(value.as_slice()).with(LASTS);
    answers::touch(primary.call(&call, limit).await?)
}
