//! The messages of other replicas, on a connection of their own.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use redis::Value;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use tokio::time::{interval, timeout};

use crate::engine::commands::EngineEvent;
use crate::engine::faults::Fault;
use crate::engine::primary::Primary;
use crate::engine::redis_engine::RedisEngine;

/// The time between two questions whether the connection still lives, and the longest time for an answer.
const PING: Duration = Duration::from_secs(2);

/// Passes messages on. If only this connection fails, it is made once more.
pub(super) async fn receive(engine: &RedisEngine, primary: &Primary, mut messages: PubSub) -> Fault {
    loop {
        let (mut sink, mut stream) = messages.split();
        tokio::select! {
            () = pass_on(engine, &mut stream) => {}
            () = until_silent(&mut sink) => {}
        }
        tracing::warn!("the engine has closed the connection for messages; it is made again");
        messages = match engine.connector.subscribe(&primary.host, primary.port, &engine.keys.channel()).await
        {
            Ok(messages) => messages,
            Err(fault) => return fault,
        };
        engine.emit(EngineEvent::MissedMessages).await;
    }
}

async fn pass_on(engine: &RedisEngine, stream: &mut PubSubStream) {
    while let Some(message) = poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await {
        engine.emit(EngineEvent::Message(message.get_payload_bytes().to_vec())).await;
    }
}

/// Waits until the connection does not answer any more.
async fn until_silent(sink: &mut PubSubSink) {
    let mut ticks = interval(PING);
    loop {
        ticks.tick().await;
        if !matches!(timeout(PING, sink.ping::<Value>()).await, Ok(Ok(_))) {
            return;
        }
    }
}
