//! OpenTelemetry traces: a span for each request, one for its exchange with the app, one for each call to a provider.
//!
//! Off unless `server.tracing.otlp_endpoint` is set. No span has a token, a cookie, a password, a query or a user name, nor
//! anything else that a client wrote but for the path. Spans go into a bounded queue (`export.rs`) and never delay a request.

mod call;
mod export;
mod request;
mod tracer;
mod w3c;

pub(crate) use call::{CallSpan, parent, propagate, trace_id, under, waiting};
pub(crate) use request::{RequestEnd, RequestTrace};
pub(crate) use tracer::{Parent, Traces};
