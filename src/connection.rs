//! The bytes of a client's connection: TLS, HTTP/1.1, HTTP/2, deadlines, and the control of an exchange.

pub(crate) mod connection_limit;
pub(crate) mod connection_settings;
pub(crate) mod deadlines;
pub(crate) mod exchange_control;
pub(crate) mod exchange_end;
pub(crate) mod forwarding;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod head_refusal;
pub(crate) mod http1;
mod http2;
pub(crate) mod listener;
mod other_protocols;
mod request_target;
pub(crate) mod stall;
pub(crate) mod tls;
mod web_socket_close;
