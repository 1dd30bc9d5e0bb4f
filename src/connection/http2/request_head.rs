//! The check of a request head before anything else sees it. It checks what HTTP/2 itself leaves open (RFC 9113 section
//! 8.3).
//!
//! Afterwards the head looks like one of HTTP/1.1: the authority in `Host`, only the path in the target, one `Cookie`.

use bytes::Bytes;
use http::{HeaderValue, Uri, header};
use pingora_http::{RequestHeader, ResponseHeader};

use crate::answer::problem::Problem;
use crate::connection::head_refusal::HeadRefusal;
use crate::connection::http1::request_head::MAX_FIELDS;
use crate::connection::request_target;
use crate::syntax::authority::Authority;
use crate::syntax::framing_fields::number;

use super::raw_stream::RawStream;

/// The default port of https. HTTP/2 with clients is used only over TLS.
const HTTPS_PORT: u16 = 443;

/// Checks one head, and changes it to the form that the gateway expects. `max_size` is the most bytes that it may have
/// in the form of HTTP/1.1.
pub(crate) fn check(request: &mut RequestHeader, max_size: usize) -> Result<(), Problem> {
    let checked = check_target(request).and_then(|()| check_fields(request));
    checked.and_then(|()| check_size(request, max_size)).map_err(HeadRefusal::problem)
}

/// Checks the size. This check comes last, because the head then looks like one of HTTP/1.1 and can be measured like
/// one.
fn check_size(request: &RequestHeader, max_size: usize) -> Result<(), HeadRefusal> {
    const OF_REQUEST_LINE: usize = "  HTTP/1.1\r\n\r\n".len();
    const OF_FIELD: usize = ": \r\n".len();
    let fields = request.headers.iter();
    let fields: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + OF_FIELD).sum();
    let line = request.method.as_str().len() + request.raw_path().len() + OF_REQUEST_LINE;
    if line + fields > max_size { Err(HeadRefusal::TooLarge) } else { Ok(()) }
}

fn check_target(request: &mut RequestHeader) -> Result<(), HeadRefusal> {
    request_target::check_method(request.method.as_str().as_bytes())?;
    if request.uri.scheme().is_some_and(|scheme| *scheme != http::uri::Scheme::HTTPS) {
        return Err(HeadRefusal::TargetForm);
    }
    let target = request.raw_path();
    if target.first() != Some(&b'/') {
        return Err(HeadRefusal::TargetForm);
    }
    request_target::check_bytes(target)?;
    request_target::check_length(target.len())?;
    let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    let mut hosts = request.headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes);
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(HeadRefusal::HostCount);
    }
    let parse = |host| Authority::parse(host).ok_or(HeadRefusal::HostValue);
    // The two may be written differently, but must name the same host (RFC 9113 section 8.3.1).
    if let Some((authority, host)) = authority.zip(host)
        && !parse(authority)?.is_same(&parse(host)?, HTTPS_PORT)
    {
        return Err(HeadRefusal::TargetForm);
    }
    let host = authority.or(host).ok_or(HeadRefusal::HostCount)?;
    parse(host)?;
    let host = HeaderValue::from_bytes(host).map_err(|_| HeadRefusal::HostValue)?;
    if let Some(path) = request.uri.path_and_query().cloned() {
        request.set_uri(Uri::from(path));
    }
    request.insert_header(header::HOST, host).map_err(|_| HeadRefusal::HostValue)
}

fn check_fields(request: &mut RequestHeader) -> Result<(), HeadRefusal> {
    let cookies = request.headers.get_all(header::COOKIE).iter().count();
    // Browsers send each cookie in a field of its own (RFC 9113 section 8.2.3).
    if request.headers.len() - cookies.saturating_sub(1) > MAX_FIELDS {
        return Err(HeadRefusal::TooManyFields);
    }
    let mut lengths = request.headers.get_all(header::CONTENT_LENGTH).iter();
    if lengths.next().is_some_and(|length| number(length.as_bytes()).is_none()) || lengths.next().is_some() {
        return Err(HeadRefusal::ContentLength);
    }
    if request.headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(HeadRefusal::TransferEncoding);
    }
    if cookies > 1 {
        let all: Vec<&[u8]> =
            request.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        let joined = HeaderValue::from_bytes(&all.join(b"; ".as_slice()));
        let joined = joined.map_err(|_| HeadRefusal::FieldValue)?;
        request.insert_header(header::COOKIE, joined).map_err(|_| HeadRefusal::FieldValue)?;
    }
    // An informational answer cannot be sent here, so no client may wait for one.
    request.remove_header(&header::EXPECT);
    Ok(())
}

/// Answers a request that nothing else has seen.
pub(crate) async fn refuse(
    stream: &mut RawStream,
    problem: &Problem,
    id: &HeaderValue,
) -> pingora_core::Result<()> {
    let body = problem.body(Some(id));
    let fields = problem.headers(Some(id), &body).list();
    let mut head = Box::new(ResponseHeader::build(problem.status, Some(fields.len()))?);
    for (name, value) in fields {
        head.insert_header(name, value)?;
    }
    let is_head = stream.request().method == http::Method::HEAD;
    stream.write_head(head, is_head)?;
    stream.write_body(if is_head { Bytes::new() } else { body }, true).await
}
