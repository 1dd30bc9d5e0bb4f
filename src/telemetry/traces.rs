//! OpenTelemetry traces: a span for each request, one for its exchange with the app, one for each call to a provider.
//!
//! Traces are off unless `server.tracing.otlp_endpoint` is set. A span has no token, cookie, password, query or user
//! name. Of the texts that a client wrote, it has only the path. Spans go into a bounded queue (`export.rs`) and never
//! delay a request.

mod call;
mod export;
mod request;
mod tracer;
mod w3c;

pub(crate) use call::{CallSpan, parent, propagate, trace_id, under, waiting};
pub(crate) use request::{RequestEnd, RequestTrace};
pub(crate) use tracer::{Parent, Traces};
