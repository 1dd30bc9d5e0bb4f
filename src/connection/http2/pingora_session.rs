//! The interface for other protocols, through which Pingora sees a request on an HTTP/2 connection.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use h2::Reason;
use http::HeaderMap;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::custom::CustomMessageWrite;
use pingora_core::protocols::http::custom::server::Session;
use pingora_core::protocols::http::v1::client::http_req_header_to_wire;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};

use super::stream::Http2Stream;

#[async_trait]
impl Session for Http2Stream {
    fn req_header(&self) -> &RequestHeader {
        self.raw().request()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.raw_mut().request_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.read(false, false).await
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        self.read(true, no_body_expected).await
    }

    /// Does nothing: the connection goes on without this stream.
    async fn drain_request_body(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write_response_header(&mut self, response: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.write_head(response, end)
    }

    async fn write_response_header_ref(&mut self, response: &ResponseHeader, end: bool) -> Result<()> {
        self.write_head(Box::new(response.clone()), end)
    }

    async fn write_body(&mut self, bytes: Bytes, end: bool) -> Result<()> {
        self.write(bytes, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.send_trailers(trailers)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut is_end = false;
        for task in tasks {
            is_end |= self.write_task(task).await?;
        }
        if is_end {
            self.finish().await.map_err(Error::into_down)?;
        }
        Ok(is_end)
    }

    /// Does nothing: reads have deadlines of their own.
    fn set_read_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    /// Does nothing: the gateway sets the write time-out in the control.
    fn set_write_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_write_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_total_drain_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        None
    }

    fn request_summary(&self) -> String {
        // This is for Pingora's own log, which nobody reads. A target must not be logged.
        self.raw().request().method.to_string()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.raw().written()
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.raw_mut().reset(Reason::INTERNAL_ERROR);
    }

    fn is_body_done(&mut self) -> bool {
        self.raw().is_body_done()
    }

    async fn finish(&mut self) -> Result<()> {
        self.end_answer()
    }

    fn is_body_empty(&mut self) -> bool {
        self.raw().is_body_empty()
    }

    fn body_bytes_sent(&self) -> usize {
        self.raw().bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.raw().bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        Some(self.raw().digest())
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Arc::get_mut(self.raw_mut().digest_mut())
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.raw().digest().socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.raw().digest().socket_digest.as_ref()?.local_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        http_req_header_to_wire(self.raw().request()).map(BytesMut::freeze).unwrap_or_default()
    }

    fn enable_retry_buffering(&mut self) {
        self.raw_mut().keep_body();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.raw().is_kept_in_part()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.raw().kept_body()
    }

    // HTTP/2 has no other messages than the body.

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}
