//! The only module that writes answers that Portcullis makes itself.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use crate::answer::headers::Headers;
use crate::answer::problem::Problem;
use crate::gateway::context::Context;

/// An answer, ready to be written.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    content: Content,
    /// False if the reason of the answer's problem is not a refusal.
    refuses: bool,
    location: Option<HeaderValue>,
}

/// The body of an answer.
#[derive(Debug)]
enum Content {
    None,
    Json(Bytes),
    Problem(Box<Problem>),
}

impl From<&Problem> for Answer {
    fn from(problem: &Problem) -> Self {
        let content = Content::Problem(Box::new(problem.clone()));
        Self { status: problem.status, content, refuses: true, location: None }
    }
}

impl Answer {
    /// Makes an answer with 200 and a JSON object.
    pub(crate) fn json(object: serde_json::Map<String, serde_json::Value>) -> Self {
        let content = Content::Json(Bytes::from(serde_json::Value::Object(object).to_string()));
        Self { content, ..Self::ok() }
    }

    /// Returns the same answer, but marks it as one that refuses nothing.
    pub(crate) fn without_refusal(self) -> Self {
        Self { refuses: false, ..self }
    }

    /// Makes an answer with 308, which sends the same request elsewhere.
    pub(crate) fn redirect(location: HeaderValue) -> Self {
        Self { status: StatusCode::PERMANENT_REDIRECT, location: Some(location), ..Self::ok() }
    }

    /// Makes an answer with 200 and no body.
    pub(crate) fn ok() -> Self {
        Self { status: StatusCode::OK, content: Content::None, refuses: false, location: None }
    }

    /// Makes an answer with 204.
    pub(crate) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, ..Self::ok() }
    }

    /// Returns the header fields for this kind of answer, and its body.
    fn parts<'a>(&self, request_id: Option<&'a HeaderValue>) -> (Headers<'a>, Bytes) {
        let (content_type, body) = match &self.content {
            Content::None => (None, Bytes::new()),
            Content::Json(body) => (Some("application/json"), body.clone()),
            Content::Problem(problem) => {
                let body = problem.body(request_id);
                return (problem.headers(request_id, &body), body);
            }
        };
        let content_length = (self.status != StatusCode::NO_CONTENT).then_some(body.len());
        (Headers { request_id, content_type, content_length, ..Headers::default() }, body)
    }

    /// Writes the answer to a request, with its new cookies. The connection stays usable if the request's body has been
    /// read, or if the body is short: the listener then drains it.
    pub(crate) async fn send(self, exchange: &mut Session, context: &Context) -> Result<()> {
        let Context { arrival, decided, reply, .. } = context;
        let cookies = reply.cookies(arrival, decided);
        arrival.close_while_stopping(exchange);
        let (fields, body) = self.parts(arrival.request_id.as_ref());
        if let Content::Problem(problem) = self.content
            && self.refuses
        {
            reply.refuse(problem.reason);
            if let Some(note) = problem.note {
                reply.note(note);
            }
        }
        let fields = fields.list();
        let mut head = Box::new(ResponseHeader::build(self.status, Some(fields.len() + 2 + cookies.len()))?);
        for (name, value) in fields {
            // Some clients of WebSockets compare the names of these two by their case.
            if name == header::UPGRADE {
                head.insert_header("Upgrade", value)?;
            } else if name == header::SEC_WEBSOCKET_VERSION {
                head.insert_header("Sec-WebSocket-Version", value)?;
            } else {
                head.insert_header(name, value)?;
            }
        }
        if let Some(hsts) = &reply.hsts {
            head.insert_header(header::STRICT_TRANSPORT_SECURITY, hsts.clone())?;
        }
        if let Some(location) = self.location {
            head.insert_header(header::LOCATION, location)?;
        }
        for cookie in cookies {
            head.append_header(header::SET_COOKIE, cookie.clone())?;
        }
        let without_body = body.is_empty() || exchange.req_header().method == Method::HEAD;
        exchange.write_response_header(head, without_body).await?;
        if !without_body {
            exchange.write_response_body(Some(body), true).await?;
        }
        Ok(())
    }
}
