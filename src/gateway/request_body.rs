//! The bodies of requests that Portcullis answers itself.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora_core::Error;
use pingora_proxy::Session;
use tokio::time::timeout;
use zeroize::Zeroize;

use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::config;
use crate::connection::exchange_control::ExchangeControl;
use crate::gateway::expect;
use crate::session::{BodyFormat, BodyKind};
use crate::syntax::framing_fields::content_length;

/// The reasons why a request to one of our endpoints has no result.
pub(super) enum RequestError {
    /// The request is answered with a problem.
    Refused(Problem),
    /// The client's connection broke.
    Broken(Box<Error>),
}

impl From<Problem> for RequestError {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl From<Box<Error>> for RequestError {
    fn from(error: Box<Error>) -> Self {
        Self::Broken(error)
    }
}

/// A body, zeroised when dropped.
pub(super) struct Body(BytesMut);

impl std::ops::Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.0.as_mut().zeroize();
    }
}

/// Finds the format of a body from the head. A field that comes twice has two meanings, so its value counts as unknown.
pub(super) fn format(headers: &HeaderMap, accepted: &'static [BodyKind]) -> Result<BodyFormat, Problem> {
    let only = |name: HeaderName| {
        let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let first = values.next();
        if values.next().is_some() { Some(b"said twice".as_slice()) } else { first }
    };
    BodyFormat::from_headers(only(header::CONTENT_TYPE), only(header::CONTENT_ENCODING), accepted)
}

/// Reads a whole body of at most `max_size` bytes. Its only deadline is `login_body_timeout`.
pub(super) async fn read(
    limits: &config::Limits,
    max_size: usize,
    exchange: &mut Session,
    connection: Option<&ExchangeControl>,
) -> Result<Body, RequestError> {
    let too_large = || Problem::new(Code::BodyTooLarge, "The body is too large.");
    let length =
        content_length(&exchange.req_header().headers).and_then(|length| usize::try_from(length).ok());
    if length.is_some_and(|length| length > max_size) {
        return Err(too_large().into());
    }
    expect::go_on(exchange).await?;
    if let Some(connection) = connection {
        connection.timeouts.exempt_from_body_rate();
    }
    let reading = async {
        let mut body = Body(BytesMut::with_capacity(length.unwrap_or(1024)));
        while let Some(chunk) = exchange.read_request_body().await? {
            if body.len() + chunk.len() > max_size {
                return Err(too_large().into());
            }
            body.0.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    if let Ok(read) = timeout(limits.login_body_timeout, reading).await {
        return read;
    }
    exchange.set_keepalive(None);
    Err(Problem::new(Code::RequestTimeout, "The body did not arrive in time.").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_is_not_known() {
        const JSON: (HeaderName, &str) = (header::CONTENT_TYPE, "application/json");
        const FORM: (HeaderName, &str) = (header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        const PLAIN: (HeaderName, &str) = (header::CONTENT_ENCODING, "identity");
        for (fields, expected) in [
            (&[JSON][..], Some(BodyFormat::Json)),
            (&[FORM, PLAIN], Some(BodyFormat::Form)),
            (&[JSON, JSON], None),
            (&[FORM, JSON], None),
            (&[JSON, PLAIN, PLAIN], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, HeaderValue::from_static(value));
            }
            assert_eq!(format(&headers, BodyKind::OF_LOGINS).ok(), expected, "{fields:?}");
        }
    }
}
