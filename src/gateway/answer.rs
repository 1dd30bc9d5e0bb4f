//! The only writer of answers that Portcullis makes itself.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use crate::access::web_socket;
use crate::answer::problem::{Code, Problem};
use crate::answer::reason::ReasonCode;
use crate::gateway::context::Context;
use crate::telemetry::request_id::X_REQUEST_ID;

/// An answer, ready to be written.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    content_type: Option<&'static str>,
    body: Bytes,
    retry_after: Option<u64>,
    allow: Option<&'static str>,
    /// Why, where it is a refusal.
    refusal: Option<ReasonCode>,
    /// What the log is told beside that.
    note: Option<Box<str>>,
    location: Option<HeaderValue>,
    /// With 426: the version of the WebSocket protocol that is spoken (RFC 6455 section 4.4).
    web_socket_version: Option<&'static str>,
}

impl From<&Problem> for Answer {
    fn from(problem: &Problem) -> Self {
        Self {
            status: problem.status,
            content_type: Some(Problem::CONTENT_TYPE),
            body: problem.body(),
            retry_after: problem.retry_after,
            allow: problem.allow,
            refusal: Some(problem.reason),
            note: problem.note.clone(),
            location: None,
            web_socket_version: (problem.code == Code::UpgradeRequired).then_some(web_socket::VERSION),
        }
    }
}

impl Answer {
    /// 200 with a JSON object.
    pub(crate) fn json(object: serde_json::Map<String, serde_json::Value>) -> Self {
        let body = Bytes::from(serde_json::Value::Object(object).to_string());
        Self {
            status: StatusCode::OK,
            content_type: Some("application/json"),
            body,
            retry_after: None,
            allow: None,
            refusal: None,
            note: None,
            location: None,
            web_socket_version: None,
        }
    }

    /// The same answer, which refuses nothing.
    pub(crate) fn without_refusal(self) -> Self {
        Self { refusal: None, ..self }
    }

    /// 308: the same request, elsewhere.
    pub(crate) fn redirect(location: HeaderValue) -> Self {
        Self { status: StatusCode::PERMANENT_REDIRECT, location: Some(location), ..Self::no_content() }
    }

    /// 200 without a body.
    pub(crate) fn ok() -> Self {
        Self { status: StatusCode::OK, ..Self::no_content() }
    }

    /// 204.
    pub(crate) fn no_content() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            content_type: None,
            body: Bytes::new(),
            retry_after: None,
            allow: None,
            refusal: None,
            note: None,
            location: None,
            web_socket_version: None,
        }
    }

    /// Writes the answer to a request, with its new cookies. The connection stays usable if the request's body has been read
    /// or is short: the server's front drains it.
    pub(crate) async fn send(self, exchange: &mut Session, context: &Context) -> Result<()> {
        let cookies = context.reply.cookies(&context.arrival, &context.decided);
        context.arrival.close_while_stopping(exchange);
        if let Some(reason) = self.refusal {
            context.reply.refuse(reason);
            if let Some(note) = self.note {
                context.reply.note(note);
            }
        }
        let mut head = Box::new(ResponseHeader::build(self.status, Some(9 + cookies.len()))?);
        if let Some(id) = &context.arrival.request_id {
            head.insert_header(X_REQUEST_ID, id)?;
        }
        // Answers tell about one user at one moment.
        head.insert_header(header::CACHE_CONTROL, "no-store")?;
        if let Some(content_type) = self.content_type {
            head.insert_header(header::CONTENT_TYPE, content_type)?;
            head.insert_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
        }
        if self.status != StatusCode::NO_CONTENT {
            head.insert_header(header::CONTENT_LENGTH, self.body.len())?;
        }
        if let Some(seconds) = self.retry_after {
            head.insert_header(header::RETRY_AFTER, seconds)?;
        }
        if let Some(methods) = self.allow {
            head.insert_header(header::ALLOW, methods)?;
        }
        if let Some(version) = self.web_socket_version {
            head.insert_header("Upgrade", "websocket")?;
            head.insert_header("Sec-WebSocket-Version", version)?;
        }
        if let Some(hsts) = &context.reply.hsts {
            head.insert_header(header::STRICT_TRANSPORT_SECURITY, hsts.clone())?;
        }
        if let Some(location) = self.location {
            head.insert_header(header::LOCATION, location)?;
        }
        for cookie in cookies {
            head.append_header(header::SET_COOKIE, cookie.clone())?;
        }
        let without_body = self.body.is_empty() || exchange.req_header().method == Method::HEAD;
        exchange.write_response_header(head, without_body).await?;
        if !without_body {
            exchange.write_response_body(Some(self.body), true).await?;
        }
        Ok(())
    }
}
