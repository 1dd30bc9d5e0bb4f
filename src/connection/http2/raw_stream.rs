//! One stream of the `h2` crate: its request, and the means to answer it.
//!
//! Pingora has a type for this, but that type refuses some requests with a bare 400 before the gateway sees them.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, Request, Response, header};
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::body_buffer::FixedBuffer;
use pingora_core::protocols::http::{date, v2};
use pingora_core::{Error, ErrorType, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};

use crate::syntax::framing_fields::{KEEP_ALIVE, PROXY_CONNECTION};

/// The number of bytes of a body that are kept, to send it again.
const MAX_KEPT: usize = 64 * 1024;

/// The fields that HTTP/2 does not have (RFC 9113 section 8.2.2).
const OF_A_CONNECTION: [HeaderName; 5] =
    [header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE, KEEP_ALIVE, PROXY_CONNECTION];

/// A request and its answer.
pub(crate) struct RawStream {
    request: RequestHeader,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    sending: Option<SendStream<Bytes>>,
    written: Option<Box<ResponseHeader>>,
    /// The end of the answer was sent.
    is_ended: bool,
    bytes_read: usize,
    bytes_sent: usize,
    kept: Option<FixedBuffer>,
    digest: Arc<Digest>,
}

impl RawStream {
    /// Takes a stream that was accepted.
    pub(crate) fn new(
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        digest: Arc<Digest>,
    ) -> Self {
        let (head, body) = request.into_parts();
        Self {
            request: RequestHeader::from(head),
            body,
            respond,
            sending: None,
            written: None,
            is_ended: false,
            bytes_read: 0,
            bytes_sent: 0,
            kept: None,
            digest,
        }
    }

    pub(crate) const fn request(&self) -> &RequestHeader {
        &self.request
    }

    pub(crate) const fn request_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    pub(crate) const fn digest(&self) -> &Arc<Digest> {
        &self.digest
    }

    pub(crate) const fn digest_mut(&mut self) -> &mut Arc<Digest> {
        &mut self.digest
    }

    pub(crate) const fn bytes_read(&self) -> usize {
        self.bytes_read
    }

    pub(crate) const fn bytes_sent(&self) -> usize {
        self.bytes_sent
    }

    /// Reads a piece of the body. Returns `None` at its end.
    pub(crate) async fn read_body(&mut self) -> Result<Option<Bytes>> {
        let read = self.body.data().await.transpose().map_err(|error| {
            // A reset by the library means that the body breaks the rules: for instance, it is shorter than its length.
            // Otherwise the client has reset the stream, or the connection has ended.
            let is_malformed = error.is_reset() && error.is_library();
            let kind = if is_malformed { ErrorType::InvalidHTTPHeader } else { ErrorType::ReadError };
            Error::because(kind, "while reading the client's body", error)
        })?;
        if let Some(bytes) = &read {
            self.bytes_read += bytes.len();
            if let Some(kept) = &mut self.kept {
                kept.write_to_buffer(bytes);
            }
            // This fails if the stream has ended in the meantime.
            let _ = self.body.flow_control().release_capacity(bytes.len());
        }
        Ok(read)
    }

    /// Reads a piece of the body. After the body's end, waits until the client resets the stream.
    pub(crate) async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if !no_body_expected && !self.is_body_done() {
            return self.read_body().await;
        }
        let (sending, respond) = (&mut self.sending, &mut self.respond);
        let reset = poll_fn(|context| match sending {
            Some(sending) => sending.poll_reset(context),
            None => respond.poll_reset(context),
        });
        let reason = reset.await.or_err(ErrorType::H2Error, "while the answer is waited for")?;
        Error::e_explain(ErrorType::H2Error, format!("the client has reset the stream: {reason}"))
    }

    pub(crate) fn is_body_done(&self) -> bool {
        self.is_body_empty() || self.body.is_end_stream()
    }

    /// Returns true if there is no body.
    pub(crate) fn is_body_empty(&self) -> bool {
        let length = self.request.headers.get(header::CONTENT_LENGTH);
        self.bytes_read == 0
            && (self.body.is_end_stream() || length.is_some_and(|length| length.as_bytes() == b"0"))
    }

    pub(crate) fn keep_body(&mut self) {
        self.kept.get_or_insert_with(|| FixedBuffer::new(MAX_KEPT));
    }

    /// Returns true if the body was longer than the part that is kept.
    pub(crate) fn is_kept_in_part(&self) -> bool {
        self.kept.as_ref().is_some_and(FixedBuffer::is_truncated)
    }

    pub(crate) fn kept_body(&self) -> Option<Bytes> {
        self.kept.as_ref().filter(|kept| !kept.is_truncated()).and_then(FixedBuffer::get_buffer)
    }

    pub(crate) fn written(&self) -> Option<&ResponseHeader> {
        self.written.as_deref()
    }

    /// Writes the final head once. With `is_end`, nothing follows it.
    pub(crate) fn write_head(&mut self, mut head: Box<ResponseHeader>, is_end: bool) -> Result<()> {
        if self.is_ended || self.written.is_some() || head.status.is_informational() {
            return Ok(());
        }
        head.insert_header(header::DATE, date::get_cached_date())?;
        for name in &OF_A_CONNECTION {
            head.remove_header(name);
        }
        let response = Response::from_parts(head.as_owned_parts(), ());
        let sending = self.respond.send_response(response, is_end);
        self.sending = Some(sending.or_err(ErrorType::WriteError, "while writing the answer's head")?);
        self.written = Some(head);
        self.is_ended = is_end;
        Ok(())
    }

    /// Writes a piece of the body, without a limit of time.
    pub(crate) async fn write_body(&mut self, bytes: Bytes, is_end: bool) -> Result<()> {
        if self.is_ended {
            return Ok(());
        }
        let Some(sending) = &mut self.sending else {
            return Error::e_explain(ErrorType::H2Error, "a body before its head");
        };
        let length = bytes.len();
        v2::write_body(sending, bytes, is_end, None).await.map_err(Error::into_down)?;
        self.bytes_sent += length;
        self.is_ended |= is_end;
        Ok(())
    }

    pub(crate) fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if self.is_ended {
            return Ok(());
        }
        let Some(sending) = &mut self.sending else {
            return Error::e_explain(ErrorType::H2Error, "trailers before the head");
        };
        sending.send_trailers(trailers).or_err(ErrorType::WriteError, "while writing trailers")?;
        self.is_ended = true;
        Ok(())
    }

    /// Ends the answer. If the answer has not begun, does nothing: then the stream is reset when this is dropped.
    pub(crate) fn finish(&mut self) -> Result<()> {
        if let Some(sending) = self.sending.as_mut().filter(|_| !self.is_ended) {
            let sent = sending.send_data(Bytes::new(), true);
            sent.or_err(ErrorType::WriteError, "while ending the answer")?;
            self.is_ended = true;
        }
        Ok(())
    }

    /// Resets the stream, unless it has been answered.
    pub(crate) fn reset(&mut self, reason: Reason) {
        if !self.is_ended {
            self.respond.send_reset(reason);
        }
    }
}
