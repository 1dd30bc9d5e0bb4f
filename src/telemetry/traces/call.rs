//! The spans of calls to identity providers. The code that makes the calls knows no request, so the parent span is a
//! task-local.

use std::cell::RefCell;
use std::future::Future;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanKind};
use opentelemetry_sdk::trace::Span;

use super::request::{fail, set_status_code};
use super::tracer::{Parent, known_method};
use super::w3c;

tokio::task_local! {
    static PARENT: Option<Parent>;
    static CALL: RefCell<CallSpan>;
}

/// Runs work whose calls belong to a span. `parent` is `None` if there are no traces.
pub(crate) fn under<F: Future>(parent: Option<Parent>, work: F) -> impl Future<Output = F::Output> {
    PARENT.scope(parent, work)
}

/// Returns the span that calls belong to now. Pass it on to a task that this work starts.
pub(crate) fn parent() -> Option<Parent> {
    PARENT.try_with(Clone::clone).ok().flatten()
}

/// Returns the id of the current trace, for the log.
pub(crate) fn trace_id() -> Option<String> {
    PARENT.try_with(|parent| parent.as_ref()?.trace_id()).ok().flatten()
}

/// Returns the span of a wait for work that another request has begun. The span ends when it is dropped.
pub(crate) fn waiting(name: &'static str) -> Option<impl Sized> {
    Some(parent()?.span(name, SpanKind::Internal, Vec::new()))
}

/// A call that is under way.
#[derive(Debug)]
pub(crate) struct CallSpan {
    span: Span,
    is_answered: bool,
}

impl CallSpan {
    /// Begins the span of a call, if there are traces.
    pub(crate) fn start(provider: &str, endpoint: &'static str) -> Option<Self> {
        let parent = parent()?;
        let mut span = parent.span(endpoint, SpanKind::Client, Vec::new());
        if span.is_recording() {
            span.set_attributes([
                KeyValue::new("portcullis.identity_provider", provider.to_owned()),
                KeyValue::new("portcullis.endpoint", endpoint),
            ]);
        }
        Some(Self { span, is_answered: false })
    }

    /// Makes the call. A call that is given up has a span too, which says so.
    pub(crate) async fn around<T>(
        self,
        call: impl Future<Output = T>,
        status: impl Fn(&T) -> Option<u16>,
    ) -> T {
        let call = async {
            let answer = call.await;
            if let Some(status) = status(&answer) {
                CALL.with(|call| call.borrow_mut().answer(status));
            }
            answer
        };
        CALL.scope(RefCell::new(self), call).await
    }

    fn answer(&mut self, status: u16) {
        self.is_answered = true;
        set_status_code(&mut self.span, status);
        if status >= 400 {
            fail(&mut self.span, status.to_string());
        }
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        if !self.is_answered {
            fail(&mut self.span, String::from("no_answer"));
        }
    }
}

/// Tells the provider which span the call has. Of the URL, the span has only host and port, because one provider's
/// logout has the refresh token in the URL.
pub(crate) fn propagate(request: &mut reqwest::Request) {
    let _there_are_none = CALL.try_with(|call| {
        let span = &mut call.borrow_mut().span;
        if let Some((parent, state)) = w3c::headers(span.span_context()) {
            request.headers_mut().insert(w3c::TRACEPARENT, parent);
            request.headers_mut().extend(state.map(|state| (w3c::TRACESTATE, state)));
        }
        if !span.is_recording() {
            return;
        }
        span.set_attribute(KeyValue::new("http.request.method", known_method(request.method())));
        let url = request.url();
        span.set_attribute(KeyValue::new("server.address", url.host_str().unwrap_or_default().to_owned()));
        if let Some(port) = url.port_or_known_default() {
            span.set_attribute(KeyValue::new("server.port", i64::from(port)));
        }
    });
}
