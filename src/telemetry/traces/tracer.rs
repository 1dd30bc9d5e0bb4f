//! The maker of spans.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::{SpanBuilder, SpanContext, SpanKind, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span, SpanLimits};

use crate::config;

use crate::telemetry::replica_id;
use crate::telemetry::traces::export::Exporter;

/// The maker of spans, with the queue that sends them away.
#[derive(Debug)]
pub(crate) struct Traces {
    tracer: SdkTracer,
    exporter: Exporter,
}

impl Traces {
    /// Begins to export, in a task of the current runtime.
    pub(crate) fn start(settings: &config::Tracing) -> Result<Arc<Self>, String> {
        let version = env!("CARGO_PKG_VERSION");
        // All settings that the SDK would take from environment variables are set here. Only the configuration file
        // counts.
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.name", settings.service_name.clone()),
                KeyValue::new("service.version", version),
                KeyValue::new("telemetry.sdk.name", "opentelemetry"),
                KeyValue::new("telemetry.sdk.language", "rust"),
            ])
            .with_attributes(replica_id::get().map(|id| KeyValue::new("service.instance.id", id)))
            .build();
        let (exporter, processor) = Exporter::start(settings, &resource)?;
        let sampler = Sampler::TraceIdRatioBased(settings.sample_ratio);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .with_span_limits(SpanLimits::default())
            .with_span_processor(processor)
            .build();
        let scope = InstrumentationScope::builder("portcullis").with_version(version).build();
        Ok(Arc::new(Self { tracer: provider.tracer_with_scope(scope), exporter }))
    }

    /// Sends the spans that are left. Waits at most `limit` for the end of that.
    pub(crate) async fn flush(&self, limit: Duration) {
        self.exporter.flush(limit).await;
    }

    /// Begins a span, as a child of another span or as the first span of a trace.
    pub(super) fn span(
        &self,
        name: &'static str,
        kind: SpanKind,
        parent: Option<&SpanContext>,
        attributes: Vec<KeyValue>,
    ) -> Span {
        // The parent is not the thread's current span, because a task moves between threads.
        let context = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent.clone()),
            None => Context::new(),
        };
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes);
        self.tracer.build_with_context(builder, &context)
    }
}

/// The parent of a span.
#[derive(Debug, Clone)]
pub(crate) struct Parent {
    pub(super) traces: Arc<Traces>,
    /// The context of the parent. `None` for the first span of a trace.
    pub(super) context: Option<SpanContext>,
}

impl Parent {
    /// Returns the trace's id with 32 hexadecimal digits, for the log.
    pub(crate) fn trace_id(&self) -> Option<String> {
        self.context.as_ref().map(|context| context.trace_id().to_string())
    }

    pub(super) fn span(&self, name: &'static str, kind: SpanKind, attributes: Vec<KeyValue>) -> Span {
        self.traces.span(name, kind, self.context.as_ref(), attributes)
    }
}

/// Returns a method in the form of the semantic conventions. An unknown method could be any text, so it has one common
/// name.
pub(super) fn known_method(method: &http::Method) -> &'static str {
    const KNOWN: [&str; 10] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::Span as _;

    use super::*;
    use crate::telemetry::metrics::METRICS;

    /// On this test's one thread nothing is exported while spans are made.
    #[tokio::test]
    async fn spans_beyond_the_queue_are_counted_and_dropped() {
        let traces = Traces::start(&config::Tracing {
            endpoint: "http://127.0.0.1:1/v1/traces".parse().unwrap(),
            sample_ratio: 1.0,
            service_name: String::from("test"),
            headers: Vec::new(),
            ca: None,
        });
        let traces = traces.unwrap();
        let dropped = || METRICS.spans.with_label_values(&["queue_full"]).get();
        let before = dropped();
        for _ in 0..crate::telemetry::traces::export::QUEUE {
            traces.span("GET", SpanKind::Server, None, Vec::new()).end();
        }
        assert_eq!(dropped(), before);
        for _ in 0..10 {
            traces.span("GET", SpanKind::Server, None, Vec::new()).end();
        }
        assert_eq!(dropped(), before + 10);
    }

    #[test]
    fn methods_that_could_be_anything_are_none() {
        assert_eq!(known_method(&http::Method::PATCH), "PATCH");
        assert_eq!(known_method(&http::Method::from_bytes(b"canary").unwrap()), "_OTHER");
    }
}
