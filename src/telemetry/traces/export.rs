//! The way to the collector: a bounded queue, batches, and OTLP over HTTP with protobuf. Every failure is counted, and
//! its spans are dropped.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use prost::Message;
use reqwest::redirect;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;
use url::Url;

use crate::config::{self, Authorities};
use crate::telemetry::metrics::METRICS;

/// The number of spans that may wait. Beyond it, new ones are dropped.
pub(super) const QUEUE: usize = 4096;

/// The number of spans that are sent at once.
const BATCH: usize = 512;

/// The time for which a span waits for others.
const DELAY: Duration = Duration::from_secs(1);

/// The time for the TCP and TLS handshakes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The total time for one batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// The least time between two warnings.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// The most bytes that are read of an answer.
const MAX_ANSWER: usize = 64 * 1024;

enum Job {
    Span(Box<SpanData>),
    Flush(oneshot::Sender<()>),
}

/// The end of the queue that takes spans.
#[derive(Debug)]
pub(super) struct Queue(mpsc::Sender<Job>);

/// The task that sends spans. It ends after it has sent everything and the queue's other ends are dropped.
#[derive(Debug)]
pub(super) struct Exporter(mpsc::Sender<Job>);

impl Exporter {
    pub(super) fn start(settings: &config::Tracing, resource: &Resource) -> Result<(Self, Queue), String> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| error.to_string())?;
        let (sender, jobs) = mpsc::channel(QUEUE);
        let collector = Collector {
            http: client(settings.ca.as_ref())?,
            url: settings.endpoint.clone(),
            headers: headers(settings)?,
            resource: ResourceAttributesWithSchema::from(resource),
            warned: Warned::default(),
        };
        runtime.spawn(run(jobs, collector));
        Ok((Self(sender.clone()), Queue(sender)))
    }

    pub(super) async fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let (done, is_done) = oneshot::channel();
        if let Ok(Ok(())) = timeout_at(deadline, self.0.send(Job::Flush(done))).await {
            let _ = timeout_at(deadline, is_done).await;
        }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if let Err(TrySendError::Full(_) | TrySendError::Closed(_)) =
            self.0.try_send(Job::Span(Box::new(span)))
        {
            METRICS.spans.with_label_values(&["queue_full"]).inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

async fn run(mut jobs: mpsc::Receiver<Job>, mut collector: Collector) {
    let mut batch = Vec::new();
    loop {
        let more = collect(&mut jobs, &mut batch).await;
        if !batch.is_empty() {
            let spans = std::mem::take(&mut batch);
            collector.send(spans).await;
        }
        match more {
            More::Later => {}
            More::Flushed(done) => {
                let _ = done.send(());
            }
            More::Never => return,
        }
    }
}

enum More {
    Later,
    Flushed(oneshot::Sender<()>),
    Never,
}

/// Waits for a first span, then for others, until the batch is full or there is another reason to send it.
async fn collect(jobs: &mut mpsc::Receiver<Job>, batch: &mut Vec<SpanData>) -> More {
    let mut deadline = None;
    while batch.len() < BATCH {
        let next = match deadline {
            None => jobs.recv().await,
            Some(deadline) => match timeout_at(deadline, jobs.recv()).await {
                Ok(next) => next,
                Err(_) => return More::Later,
            },
        };
        match next {
            Some(Job::Span(span)) => {
                batch.push(*span);
                deadline.get_or_insert_with(|| Instant::now() + DELAY);
            }
            Some(Job::Flush(done)) => return More::Flushed(done),
            None => return More::Never,
        }
    }
    More::Later
}

/// The collector that spans are sent to.
struct Collector {
    http: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    resource: ResourceAttributesWithSchema,
    warned: Warned,
}

/// The state of the warnings. Each warning gives the number of spans that were lost since the one before.
#[derive(Default)]
struct Warned {
    at: Option<Instant>,
    lost: u64,
}

impl Collector {
    /// Sends a batch once. Spans that the collector does not accept are dropped.
    async fn send(&mut self, spans: Vec<SpanData>) {
        let count = spans.len() as u64;
        let outcome = timeout(EXPORT_TIMEOUT, self.post(spans)).await;
        let (rejected, error) = match outcome {
            Ok(Ok(0)) => (0, None),
            Ok(Ok(rejected)) => (rejected.min(count), Some(String::from("rejected by the collector"))),
            Ok(Err(error)) => (count, Some(error)),
            Err(_) => (count, Some(format!("no answer within {EXPORT_TIMEOUT:?}"))),
        };
        METRICS.spans.with_label_values(&["exported"]).inc_by(count - rejected);
        let Some(error) = error else { return };
        METRICS.spans.with_label_values(&["failed"]).inc_by(rejected);
        let warned = &mut self.warned;
        warned.lost += rejected;
        if warned.at.is_none_or(|at| at.elapsed() >= WARNING_PAUSE) {
            warn!(collector = %self.url, error, spans = warned.lost, "spans were not exported, and are dropped");
            *warned = Warned { at: Some(Instant::now()), lost: 0 };
        }
    }

    /// Sends a batch, and returns the number of spans that were rejected.
    async fn post(&self, spans: Vec<SpanData>) -> Result<u64, String> {
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let request = self.http.post(self.url.clone()).headers(self.headers.clone()).body(body);
        let mut response = request.send().await.map_err(describe)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(describe)? {
            if answer.len().saturating_add(chunk.len()) > MAX_ANSWER {
                return Err(String::from("the collector's answer is too large"));
            }
            answer.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(format!("status {}", status.as_u16()));
        }
        let answer = ExportTraceServiceResponse::decode(answer.as_slice()).unwrap_or_default();
        let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
        Ok(u64::try_from(rejected).unwrap_or(0))
    }
}

fn client(ca: Option<&Authorities>) -> Result<reqwest::Client, String> {
    let builder = || {
        reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
    };
    if let Some(Authorities(certificates)) = ca {
        let certificates: Result<Vec<_>, _> =
            certificates.iter().map(|der| reqwest::Certificate::from_der(der)).collect();
        return certificates.and_then(|some| builder().tls_certs_only(some).build()).map_err(describe);
    }
    // A bare image has no root certificates. A collector without TLS does not need them.
    builder().build().or_else(|_| builder().tls_certs_only([]).build()).map_err(describe)
}

fn headers(settings: &config::Tracing) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, secret) in &settings.headers {
        let mut value = HeaderValue::from_str(secret.expose()).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        headers.insert(name.clone(), value);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    Ok(headers)
}

/// Puts an error and its causes into words, without the URL, which the log line has in a field of its own.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
