//! The stream of revocations, read on a connection of its own.

use std::time::Duration;

use redis::Cmd;

use crate::engine::answers;
use crate::engine::commands::{EngineEvent, Generation};
use crate::engine::connection::Connection;
use crate::engine::faults::Fault;
use crate::engine::primary::Primary;
use crate::engine::redis_engine::RedisEngine;

/// The number of entries that are read at once.
const AT_ONCE: usize = 500;

/// The time for which the engine may wait for a new entry, in milliseconds.
const BLOCK: u64 = 1000;

/// The longest time for an answer.
const ANSWER: Duration = Duration::from_millis(BLOCK + 1000);

/// The place up to which the stream was read.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The generation to which the id belongs. Ids of another generation may be ahead of it.
    generation: Option<Generation>,
    /// The id of the last entry. Empty at the start of the stream.
    last: Vec<u8>,
    /// The stream was read to its end.
    has_caught_up: bool,
}

impl Cursor {
    /// Goes back to the start if the generation is another one.
    fn follow(&mut self, generation: Option<&Generation>) {
        if self.generation.as_ref() != generation {
            *self = Self { generation: generation.cloned(), ..Self::default() };
        }
    }

    fn command(&self, key: &str) -> Cmd {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(AT_ONCE);
        if self.has_caught_up {
            command.arg("BLOCK").arg(BLOCK);
        }
        let last = if self.last.is_empty() { b"0-0" } else { self.last.as_slice() };
        command.arg("STREAMS").arg(key).arg(last);
        command
    }
}

/// Finds out whether the stream may be read.
pub(super) async fn try_it(engine: &RedisEngine, primary: &Primary, limit: Duration) -> Result<(), Fault> {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(1).arg("STREAMS").arg(engine.keys.revocations()).arg("0-0");
    primary.ask(&command, limit).await.map(drop)
}

/// Reads the stream. If only this connection fails, it is made once more.
pub(super) async fn read(engine: &RedisEngine, primary: &Primary, cursor: &mut Cursor) -> Fault {
    loop {
        let connection = match engine.connector.open(&primary.host, primary.port).await {
            Ok(connection) => connection,
            Err(fault) => return fault,
        };
        cursor.has_caught_up = false;
        match read_from(engine, &connection, cursor).await {
            Fault::Broken(_) => {}
            fault => return fault,
        }
    }
}

async fn read_from(engine: &RedisEngine, connection: &Connection, cursor: &mut Cursor) -> Fault {
    let key = engine.keys.revocations();
    loop {
        cursor.follow(engine.generation.borrow().as_ref());
        let answer = connection.ask(&cursor.command(&key), ANSWER).await;
        let entries = match answer.and_then(answers::entries) {
            Ok(entries) => entries,
            Err(fault) => return fault,
        };
        let mut is_at_end = true;
        if let Some((last, values)) = entries {
            is_at_end = values.len() < AT_ONCE;
            cursor.last = last;
            engine.emit(EngineEvent::Revocations(values)).await;
        }
        let is_current = cursor.generation == *engine.generation.borrow();
        if is_at_end && is_current {
            cursor.has_caught_up = true;
            engine.emit(EngineEvent::CaughtUp).await;
        }
    }
}
