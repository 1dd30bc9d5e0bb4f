//! `traceparent` and `tracestate` (W3C Trace Context): reads them from a trusted proxy, and writes them for others.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The bytes of version 00: `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LENGTH: usize = 55;

/// Returns the span that a request continues. Returns `None` if a new trace begins (sections 3.2.2 and 4.3).
pub(super) fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (trace, span, flags) = fields(value.as_bytes())?;
    let context = SpanContext::new(
        TraceId::from_bytes(trace.to_be_bytes()),
        SpanId::from_bytes(span.to_be_bytes()),
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
        true,
        state(headers),
    );
    context.is_valid().then_some(context)
}

fn fields(value: &[u8]) -> Option<(u128, u64, u8)> {
    let text = std::str::from_utf8(value).ok()?;
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let mut parts = known.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Only the beginning of a later version is read (section 4.3). `ff` is not a version.
    let is_version = match version {
        "00" => rest.is_empty(),
        "ff" => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    if parts.next().is_some() || !is_version {
        return None;
    }
    digits(version, 2)?;
    let trace = digits(trace, 32)?;
    Some((trace, u64::try_from(digits(span, 16)?).ok()?, u8::try_from(digits(flags, 2)?).ok()?))
}

/// Reads a text that consists of exactly `count` lower-case hexadecimal digits.
fn digits(text: &str, count: usize) -> Option<u128> {
    let are_digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == count && are_digits).then(|| u128::from_str_radix(text, 16).ok())?
}

/// Reads `tracestate`. If it cannot be read, it is dropped, and the trace goes on without it (section 3.3.1.4).
fn state(headers: &HeaderMap) -> TraceState {
    let values = headers.get_all(TRACESTATE).iter().map(|value| value.to_str().unwrap_or("?"));
    values.collect::<Vec<_>>().join(",").parse().unwrap_or_default()
}

/// Returns the two header fields for a call that a span makes. There may be no `tracestate`.
pub(super) fn headers(context: &SpanContext) -> Option<(HeaderValue, Option<HeaderValue>)> {
    let (trace, span) = (context.trace_id(), context.span_id());
    let flags = context.trace_flags() & TraceFlags::SAMPLED;
    let parent = HeaderValue::try_from(format!("00-{trace}-{span}-{flags:02x}")).ok()?;
    let state = context.trace_state().header();
    let state = if state.is_empty() { None } else { HeaderValue::try_from(state).ok() };
    Some((parent, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn read(parents: &[&str], states: &[&str]) -> Option<(String, Option<String>)> {
        let mut map = HeaderMap::new();
        for value in parents {
            map.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        for value in states {
            map.append(TRACESTATE, HeaderValue::from_str(value).unwrap());
        }
        let (parent, state) = headers(&parent(&map)?)?;
        let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
        Some((text(parent), state.map(text)))
    }

    #[test]
    fn what_continues_a_trace() {
        for (given, flags) in [("00", "00"), ("01", "01"), ("ff", "01"), ("02", "00")] {
            let expected = Some((format!("00-{TRACE}-{SPAN}-{flags}"), None));
            assert_eq!(read(&[&format!("00-{TRACE}-{SPAN}-{given}")], &[]), expected);
            assert_eq!(read(&[&format!("cc-{TRACE}-{SPAN}-{given}-what-comes")], &[]), expected);
            assert_eq!(read(&[&format!("01-{TRACE}-{SPAN}-{given}")], &[]), expected);
        }
    }

    #[test]
    fn what_begins_another_one() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        assert!(read(&[], &["a=b"]).is_none());
        assert!(read(&[&good, &good], &[]).is_none());
        for bad in [
            String::new(),
            good.to_ascii_uppercase(),
            good.replace('-', "_"),
            good.replace("00-", "ff-"),
            good.replace("00-", "0g-"),
            good.replace("00-", "000"),
            format!("{good}-"),
            format!("{good}-00"),
            format!("cc-{TRACE}-{SPAN}-01.x"),
            format!("cc-{TRACE}-{SPAN}-01x"),
            format!(" {good}"),
            good.replace(TRACE, &"0".repeat(32)),
            good.replace(SPAN, &"0".repeat(16)),
            good.replace(TRACE, &TRACE.replace('c', "C")),
            good.replace(TRACE, &TRACE.replace('c', "+")),
            good.replace("-01", "-0"),
            good.replace("-01", "-1g"),
            good.get(1..).unwrap().to_owned(),
            "é".repeat(30),
        ] {
            assert!(read(&[&bad], &[]).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_state_goes_along_where_it_can_be_read() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let state = |states: &[&str]| read(&[&good], states).unwrap().1;
        assert_eq!(state(&["a=1,b=2"]).as_deref(), Some("a=1,b=2"));
        assert_eq!(state(&["a=1", "b=2 , ,c@d=3"]).as_deref(), Some("a=1,b=2,c@d=3"));
        for bad in ["", "a", "A=1", "a=1,b"] {
            assert_eq!(state(&[bad]), None, "{bad}");
        }
    }
}
