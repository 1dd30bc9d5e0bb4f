//! HTTP/1.1 of clients: one message after the other, each checked before Pingora sees it.

mod body_read;
pub(crate) mod head_fields;
pub(crate) mod message;
pub(crate) mod message_stream;
pub(crate) mod request_head;
pub(crate) mod serve;
pub(crate) mod wire;
