//! The server: what stands between a socket and the gateway.
#![cfg_attr(not(test), expect(dead_code, reason = "nothing opens a listener yet"))]

mod body_rate;
mod chunked;
mod connection;
mod head_fields;
mod listener;
mod message;
mod message_stream;
mod request_head;
mod timer;
mod watch;
mod wire;
