//! The spans of one request: the request's own span, and the span of its exchange with the app.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanKind, Status};
use opentelemetry_sdk::trace::Span;
use pingora_http::RequestHeader;

use super::tracer::{Parent, Traces, known_method};
use super::w3c;
use crate::answer::reason::ReasonCode;
use crate::telemetry::access_log::text;

/// The most characters of a path that a span has.
const LONGEST_PATH: usize = 1024;

/// The spans of one request.
#[derive(Debug)]
pub(crate) struct RequestTrace {
    traces: Arc<Traces>,
    server: Span,
    /// The span of the exchange with the app that is under way. The flag tells whether the app has answered.
    app: Option<(Span, bool)>,
    /// The address of that exchange.
    address: Option<SocketAddr>,
    /// Tells whether the exchange has begun with a look-up of the address.
    is_postponed: bool,
}

impl RequestTrace {
    /// Begins the request's span, as a child of a trusted proxy's span or as the first span of a trace.
    pub(crate) fn begin(traces: &Arc<Traces>, request: &RequestHeader, is_from_proxy: bool) -> Box<Self> {
        let parent = if is_from_proxy { w3c::parent(&request.headers) } else { None };
        let mut server = traces.span("HTTP", SpanKind::Server, parent.as_ref(), Vec::new());
        if server.is_recording() {
            let path: String = request.uri.path().chars().take(LONGEST_PATH).collect();
            let version = match request.version {
                http::Version::HTTP_10 => "1.0",
                http::Version::HTTP_2 => "2",
                _ => "1.1",
            };
            server.set_attributes([
                KeyValue::new("http.request.method", known_method(&request.method)),
                KeyValue::new("url.path", path),
                KeyValue::new("network.protocol.version", version),
            ]);
        }
        Box::new(Self { traces: Arc::clone(traces), server, app: None, address: None, is_postponed: false })
    }

    /// Returns the span that calls on behalf of the request belong to.
    pub(crate) fn parent(&self) -> Parent {
        Parent { traces: Arc::clone(&self.traces), context: Some(self.server.span_context().clone()) }
    }

    /// Returns the trace's id, with 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> String {
        self.server.span_context().trace_id().to_string()
    }

    /// Begins an exchange with the app. If another exchange is under way, it has failed.
    pub(crate) fn begin_exchange(&mut self, method: &http::Method, app: &str, address: Option<SocketAddr>) {
        if std::mem::take(&mut self.is_postponed) && self.address == address {
            return;
        }
        self.fail_exchange("retried");
        self.address = address;
        let mut span = self.parent().span(method_name(method), SpanKind::Client, Vec::new());
        if span.is_recording() {
            span.set_attributes([
                KeyValue::new("http.request.method", known_method(method)),
                KeyValue::new("portcullis.app", app.to_owned()),
            ]);
            if let Some(address) = address {
                span.set_attributes([
                    KeyValue::new("server.address", address.ip().to_string()),
                    KeyValue::new("server.port", i64::from(address.port())),
                ]);
            }
        }
        self.app = Some((span, false));
    }

    /// Notes that nothing has been sent yet. The next exchange continues this one, if it uses the same address.
    pub(crate) fn postpone_exchange(&mut self) {
        self.is_postponed = true;
    }

    /// Tells the app which span its own spans belong to. This overwrites whatever a stranger put there.
    pub(crate) fn propagate(&self, upstream: &mut HeaderMap) {
        let span = self.app.as_ref().map_or(&self.server, |(span, _)| span);
        let (parent, state) = w3c::headers(span.span_context()).unzip();
        for (name, value) in [(w3c::TRACEPARENT, parent), (w3c::TRACESTATE, state.flatten())] {
            match value {
                Some(value) => drop(upstream.insert(name, value)),
                None => drop(upstream.remove(name)),
            }
        }
    }

    /// Notes the app's final answer. The answer's body may take a while.
    pub(crate) fn app_answered(&mut self, status: http::StatusCode) {
        if let Some((span, answered)) = &mut self.app {
            *answered = true;
            set_status_code(span, status.as_u16());
            if status.as_u16() >= 400 {
                fail(span, status.as_str().to_owned());
            }
        }
    }

    /// Ends an exchange that the app did not answer.
    pub(crate) fn fail_exchange(&mut self, error: &str) {
        if let Some((mut span, _)) = self.app.take() {
            fail(&mut span, error.to_owned());
            span.end();
        }
    }

    /// Tells whether the request's span is recorded.
    pub(crate) fn is_recording(&self) -> bool {
        self.server.is_recording()
    }

    /// Ends the request's spans after the end of the request.
    pub(crate) fn end(mut self: Box<Self>, end: &RequestEnd<'_>) {
        let client_is_gone = end.reason == Some(ReasonCode::ClientGone);
        let code = end.reason.map_or("internal_error", ReasonCode::as_str);
        match self.app.take() {
            Some((mut span, answered)) if !client_is_gone && (!answered || end.error.is_some()) => {
                fail(&mut span, end.error.unwrap_or(code).to_owned());
            }
            // The span ends when it is dropped.
            _ => {}
        }
        let span = &mut self.server;
        describe(span, end);
        if let Some(status) = end.status {
            set_status_code(span, status);
        }
        if !client_is_gone && (end.error.is_some() || end.status.is_none_or(|status| status >= 500)) {
            fail(span, code.to_owned());
        }
        span.end();
    }
}

/// The facts of a request that is over.
pub(crate) struct RequestEnd<'a> {
    /// The request's method.
    pub(crate) method: &'a http::Method,
    /// The route that it was on, as the configuration writes it. `None` if it was on no route.
    pub(crate) route: Option<&'a str>,
    /// Tells whether it came over TLS.
    pub(crate) is_tls: bool,
    /// The name of its host. `None` if no app has that host, because such a name could be any text.
    pub(crate) host: Option<&'a str>,
    /// The app that it was for.
    pub(crate) app: Option<&'a str>,
    /// The reason why it passed or was refused.
    pub(crate) reason: Option<ReasonCode>,
    /// Its id.
    pub(crate) request_id: Option<&'a HeaderValue>,
    /// The status of its answer. `None` if it had none.
    pub(crate) status: Option<u16>,
    /// The kind of error that ended it.
    pub(crate) error: Option<&'a str>,
}

/// Adds the facts that are known at the end of a request.
fn describe(span: &mut Span, end: &RequestEnd<'_>) {
    let method = method_name(end.method);
    match end.route {
        Some(route) => span.update_name(format!("{method} {route}")),
        None => span.update_name(method),
    }
    span.set_attribute(KeyValue::new("url.scheme", if end.is_tls { "https" } else { "http" }));
    let texts = [
        ("server.address", end.host),
        ("http.route", end.route),
        ("portcullis.app", end.app),
        ("portcullis.reason", end.reason.map(ReasonCode::as_str)),
        ("portcullis.request_id", text(end.request_id)),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            span.set_attribute(KeyValue::new(key, value.to_owned()));
        }
    }
}

fn method_name(method: &http::Method) -> &'static str {
    match known_method(method) {
        "_OTHER" => "HTTP",
        known => known,
    }
}

pub(super) fn set_status_code(span: &mut Span, status: u16) {
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
}

/// Notes the kind of a failure.
pub(super) fn fail(span: &mut Span, kind: String) {
    span.set_attribute(KeyValue::new("error.type", kind));
    span.set_status(Status::error(""));
}
