//! The header fields of the gateway's own answers. Every writer of such an answer uses this one list.

use http::{HeaderName, HeaderValue, header};

use crate::syntax::web_socket;

/// The facts that decide which fields an answer has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    /// The request's id for `X-Request-Id`. The admin listener's answers have none.
    pub request_id: Option<&'a HeaderValue>,
    /// The media type of the body, if there is one.
    pub content_type: Option<&'static str>,
    /// The length of the body in bytes. `None` if the status permits no `Content-Length` (RFC 9110 section 8.6).
    pub content_length: Option<usize>,
    /// Seconds for `Retry-After` (RFC 9110 section 10.2.3).
    pub retry_after: Option<u64>,
    /// The methods for `Allow`, in an answer with 405 (RFC 9110 section 10.2.1).
    pub allow: Option<&'static str>,
    /// The answer is 426 and names the protocol that the client must speak (RFC 6455 section 4.4).
    pub asks_for_upgrade: bool,
}

impl Headers<'_> {
    /// Lists the fields in the order in which they are written.
    pub fn list(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut list = Vec::with_capacity(9);
        if let Some(id) = self.request_id {
            list.push((HeaderName::from_static("x-request-id"), id.clone()));
        }
        // The answer is for one user at one moment.
        list.push((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        if let Some(content_type) = self.content_type {
            list.push((header::CONTENT_TYPE, HeaderValue::from_static(content_type)));
            list.push((header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
        }
        if let Some(length) = self.content_length {
            list.push((header::CONTENT_LENGTH, HeaderValue::from(length)));
        }
        if let Some(seconds) = self.retry_after {
            list.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        }
        if let Some(methods) = self.allow {
            list.push((header::ALLOW, HeaderValue::from_static(methods)));
        }
        if self.asks_for_upgrade {
            list.push((header::UPGRADE, HeaderValue::from_static("websocket")));
            list.push((header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(web_socket::VERSION)));
        }
        list
    }
}
