//! An OpenTelemetry collector: takes spans over OTLP/HTTP and shows them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::listening::Listening;
use super::wire::{Head, Wire, wait_for};

/// One span as it was exported.
#[derive(Debug, Clone)]
pub(crate) struct Exported {
    pub(crate) name: String,
    /// `server`, `client` or `internal`.
    pub(crate) kind: &'static str,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty: it is the first one of its trace.
    pub(crate) parent: String,
    pub(crate) is_error: bool,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) service: String,
    /// `service.instance.id`.
    pub(crate) instance: Option<String>,
}

impl Exported {
    fn new(span: Span, resource: &BTreeMap<String, String>) -> Self {
        let kind = ["unspecified", "internal", "server", "client"];
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano && span.start_time_unix_nano > 0);
        Self {
            name: span.name,
            kind: kind[usize::try_from(span.kind).unwrap()],
            trace: hexadecimal(&span.trace_id),
            id: hexadecimal(&span.span_id),
            parent: hexadecimal(&span.parent_span_id),
            is_error: span.status.is_some_and(|status| status.code == 2),
            attributes: attributes(span.attributes),
            service: resource["service.name"].clone(),
            instance: resource.get("service.instance.id").cloned(),
        }
    }

    /// `traceparent` of what this span calls.
    pub(crate) fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn attributes(list: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<any_value::Value>| match value {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => panic!("an attribute of another type: {other:?}"),
    };
    list.into_iter().map(|pair| (pair.key, text(pair.value.and_then(|value| value.value)))).collect()
}

#[derive(Default)]
struct Received {
    heads: Vec<Head>,
    bytes: Vec<u8>,
    spans: Vec<Exported>,
    status: Option<u16>,
}

/// The collector.
pub(crate) struct Collector {
    listening: Listening,
    received: Arc<Mutex<Received>>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let received = Arc::new(Mutex::new(Received::default()));
        let shared = received.clone();
        let listening = Listening::start(move |wire, _| serve(wire, shared.clone())).await;
        Self { listening, received }
    }

    pub(crate) fn listening(&self) -> &Listening {
        &self.listening
    }

    /// The part of a `gateway.toml` that sends spans here.
    pub(crate) fn toml(&self) -> String {
        format!("[server.tracing]\notlp_endpoint = 'http://{}'\n", self.listening.address())
    }

    /// Every batch is refused with this status from now on.
    pub(crate) fn refuse(&self, status: u16) {
        self.received.lock().unwrap().status = Some(status);
    }

    /// The heads of the requests that brought spans.
    pub(crate) fn heads(&self) -> Vec<Head> {
        self.received.lock().unwrap().heads.clone()
    }

    /// Every byte of the batches that were sent here, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap().bytes).into_owned()
    }

    /// Every span, in the order in which they ended.
    pub(crate) fn spans(&self) -> Vec<Exported> {
        self.received.lock().unwrap().spans.clone()
    }

    /// The spans of this name.
    pub(crate) fn named(&self, name: &str) -> Vec<Exported> {
        self.spans().into_iter().filter(|span| span.name == name).collect()
    }

    /// The only span of this name, once it is there.
    pub(crate) async fn span(&self, name: &str) -> Exported {
        wait_for(&format!("the span `{name}`"), || !self.named(name).is_empty()).await;
        let mut found = self.named(name);
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }

    /// The only span of this kind under another one.
    pub(crate) fn child(&self, parent: &Exported, kind: &str) -> Exported {
        let spans = self.spans().into_iter();
        let mut found: Vec<_> = spans.filter(|span| span.parent == parent.id && span.kind == kind).collect();
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].trace, parent.trace);
        found.remove(0)
    }
}

async fn serve(mut wire: Wire, received: Arc<Mutex<Received>>) {
    while let Ok(Some(head)) = wire.head().await {
        let Ok(body) = wire.body(head.request_framing(), 4 << 20).await else { return };
        // The port may have been a provider's, whose gateway has not heard of the end of its test.
        if !head.first_line.starts_with("POST /v1/traces ") {
            return;
        }
        let status = {
            let mut received = received.lock().unwrap();
            received.bytes.extend_from_slice(&body.bytes);
            received.heads.push(head);
            if received.status.is_none() {
                let request = ExportTraceServiceRequest::decode(body.bytes.as_slice()).expect("spans");
                for of_resource in request.resource_spans {
                    let resource = attributes(of_resource.resource.expect("a resource").attributes);
                    let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                    received.spans.extend(spans.map(|span| Exported::new(span, &resource)));
                }
            }
            received.status.unwrap_or(200)
        };
        if wire.send(format!("HTTP/1.1 {status} \r\nContent-Length: 0\r\n\r\n")).await.is_err() {
            return;
        }
    }
}
