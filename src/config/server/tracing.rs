//! `[server.tracing]`: the collector for spans, and the share of requests that are traced.

use http::HeaderName;
use url::Url;

use crate::config::certificate_authorities::{Authorities, authorities};
use crate::config::quoting::quote;
use crate::config::reader::{Item, Section};
use crate::config::secret::{Secret, secret};
use crate::config::toml_tree::Value;
use crate::config::values::plain_text;
use crate::config::values::url::{http, is_confidential};

/// `[server.tracing]`: OpenTelemetry traces, over OTLP/HTTP with protobuf.
#[derive(Debug, Clone)]
pub struct Tracing {
    /// The URL to which spans are posted, with the path `/v1/traces`.
    pub endpoint: Url,
    /// The share of the traces that are exported, of those that begin here: 0 to 1.
    pub sample_ratio: f64,
    /// `service.name` of the resource.
    pub service_name: String,
    /// The headers that the collector wants with the spans.
    pub headers: Vec<(HeaderName, Secret)>,
    /// The authorities that certify the collector. `None` means the machine's authorities.
    pub ca: Option<Authorities>,
}

/// The path of traces below the collector's URL, as the OTLP specification has it.
const TRACES: &str = "v1/traces";

/// Headers that frame or describe the message. Portcullis writes these itself.
const OWN_HEADERS: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "transfer-encoding",
    "user-agent",
];

/// Reads the table. An inner `None` means that there are no traces.
#[expect(clippy::option_option, reason = "the outer one is `wrong, and reported`, the inner one `off`")]
pub(crate) fn tracing(server: &Section<'_>) -> Option<Option<Tracing>> {
    let section = server.section("tracing");
    let endpoint = section.optional("otlp_endpoint", "no traces", collector);
    let sample_ratio = section.defaulted("sample_ratio", "1.0", ratio);
    let service_name = section.defaulted("service_name", "\"portcullis\"", plain_text);
    let headers = headers(&section);
    let ca = section.optional("ca", "the machine's authorities", authorities);
    let is_open = endpoint.iter().flatten().any(|url| !is_confidential(url));
    if is_open && headers.as_ref().is_some_and(|headers| !headers.is_empty()) {
        section.warn_at("headers", "they are sent without TLS to another machine", "use an `https` URL");
    }
    let (endpoint, sample_ratio, service_name) = (endpoint?, sample_ratio?, service_name?);
    let (headers, ca) = (headers?, ca?);
    Some(endpoint.map(|endpoint| Tracing { endpoint, sample_ratio, service_name, headers, ca }))
}

/// Reads the URL of the collector and returns the URL for traces.
fn collector(item: &Item<'_>) -> Option<Url> {
    const HINT: &str = "write the collector's URL alone, such as `\"http://127.0.0.1:4318\"`";
    let mut url = http(item, HINT)?;
    let path = url.path().trim_end_matches('/').to_owned();
    if url.query().is_some() {
        return item.fault("this URL has a query", HINT);
    }
    if path.ends_with(TRACES) {
        return item.fault(format!("{} has the path `/{TRACES}`, which is added", quote(url.as_str())), HINT);
    }
    if url.port() == Some(4317) {
        return item.fault(
            format!("{} is the port of OTLP over gRPC, which is not spoken", quote(url.as_str())),
            "use the collector's port for OTLP over HTTP, usually 4318",
        );
    }
    url.set_path(&format!("{path}/{TRACES}"));
    Some(url)
}

/// Reads a number from 0 to 1.
fn ratio(item: &Item<'_>) -> Option<f64> {
    const HINT: &str = "write a number from `0.0` to `1.0`, without quotes";
    let number = match item.value() {
        Value::Integer(0) => 0.0,
        Value::Integer(1) => 1.0,
        Value::Other { kind: "a float", text } => text.parse().unwrap_or(f64::NAN),
        Value::Integer(_) => f64::NAN,
        _ => return item.wrong_type("a number", HINT),
    };
    if (0.0..=1.0).contains(&number) {
        return Some(number);
    }
    let shown = item.value().literal().unwrap_or_default();
    item.fault(format!("{} is not between 0 and 1", quote(&shown)), HINT)
}

fn headers(section: &Section<'_>) -> Option<Vec<(HeaderName, Secret)>> {
    section.record("headers", "{}");
    let mut headers: Vec<(HeaderName, Secret)> = Vec::new();
    let mut is_sound = true;
    for (name, item) in section.open_section("headers").values() {
        match usable_name(name, &item, &headers).zip(secret(&item)) {
            Some(header) => headers.push(header),
            None => is_sound = false,
        }
    }
    is_sound.then_some(headers)
}

fn usable_name(text: &str, item: &Item<'_>, earlier: &[(HeaderName, Secret)]) -> Option<HeaderName> {
    const HINT: &str = "name what the collector asks for, such as `Authorization`";
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        return item.fault(format!("{} is not a header name", quote(text)), HINT);
    };
    if OWN_HEADERS.contains(&name.as_str()) {
        return item.fault(format!("{} is written by Portcullis itself", quote(text)), HINT);
    }
    if earlier.iter().any(|(other, _)| *other == name) {
        return item
            .fault(format!("{} is there twice; case does not count", quote(text)), "remove one of the two");
    }
    Some(name)
}
