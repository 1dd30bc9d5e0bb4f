//! The fields of a request head that frame or route the exchange. In all other fields, only the bytes are checked.

use std::ops::Range;

use memchr::memchr;

use crate::connection::head_refusal::HeadRefusal;
use crate::syntax::framing_fields::{ConnectionOptions, expects_continue, number};
use crate::syntax::header_name::is_token;
use crate::syntax::list_field::{members, trim};
use crate::syntax::web_socket;

/// The most bytes of a field name. A longer one is refused (431), because the `http` crate counts them in 16 bits.
pub(crate) const MAX_FIELD_NAME: usize = 65_535;

/// The way in which the end of a request's body is found (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// No body.
    None,
    /// This many bytes, at least one.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// The protocol that a request wants the connection to become (RFC 9110 section 7.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// A WebSocket handshake: GET without a body, with `Connection: upgrade`.
    WebSocket,
    /// Anything else, such as `h2c`. [`super::request_head::RequestHead::rewrite`] drops the field, so that it is a
    /// plain request.
    Other,
}

/// The facts that the fields of one head state, gathered line by line.
pub(crate) struct Fields<'a> {
    is_http_11: bool,
    host: Option<&'a [u8]>,
    content_length: Option<u64>,
    is_chunked: bool,
    upgrade: Option<(&'a [u8], Range<usize>)>,
    pub(crate) connection: ConnectionOptions,
    /// True for `Expect: 100-continue`.
    pub(crate) expect_continue: bool,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(is_http_11: bool) -> Self {
        Self {
            is_http_11,
            host: None,
            content_length: None,
            is_chunked: false,
            upgrade: None,
            connection: ConnectionOptions { close: false, keep_alive: false, upgrade: false },
            expect_continue: false,
        }
    }

    /// Adds one field line. `range` is the line's place in the head, with its CRLF.
    pub(crate) fn add(&mut self, line: &'a [u8], range: Range<usize>) -> Result<(), HeadRefusal> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(HeadRefusal::FoldedField);
        }
        let colon = memchr(b':', line).ok_or(HeadRefusal::FieldName)?;
        let name = line.get(..colon).unwrap_or_default();
        let value = line.get(colon + 1..).unwrap_or_default();
        if name.is_empty() || !is_token(name) {
            return Err(HeadRefusal::FieldName);
        }
        if name.len() > MAX_FIELD_NAME {
            return Err(HeadRefusal::TooLarge);
        }
        // The loop has no early exit, so that the compiler vectorises it. Values are nearly always good.
        let is_bad = |byte: u8| (byte < 0x20 && byte != b'\t') || byte == 0x7f;
        if value.iter().fold(0, |bad, &byte| bad | u8::from(is_bad(byte))) != 0 {
            return Err(HeadRefusal::FieldValue);
        }
        // The lengths are compared first: they rule out nearly every field.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.add_host(trim(value)),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expect_continue |= expects_continue([value]);
                Ok(())
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.add_upgrade(trim(value), range),
            10 if name.eq_ignore_ascii_case(b"connection") => self.add_connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.add_content_length(trim(value)),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.add_transfer_encoding(trim(value)),
            _ => Ok(()),
        }
    }

    fn add_host(&mut self, value: &'a [u8]) -> Result<(), HeadRefusal> {
        match self.host.replace(value) {
            None => Ok(()),
            Some(_) => Err(HeadRefusal::HostCount),
        }
    }

    fn add_upgrade(&mut self, value: &'a [u8], range: Range<usize>) -> Result<(), HeadRefusal> {
        match self.upgrade.replace((value, range)) {
            None => Ok(()),
            Some(_) => Err(HeadRefusal::UpgradeRequest),
        }
    }

    fn add_connection(&mut self, value: &[u8]) -> Result<(), HeadRefusal> {
        for option in members([value]) {
            self.connection.add(option);
            // A hop that obeys would remove the field, and would then see another end of the message than we did.
            if [b"content-length".as_slice(), b"transfer-encoding", b"host"]
                .iter()
                .any(|field| option.eq_ignore_ascii_case(field))
            {
                return Err(HeadRefusal::ConnectionOption);
            }
        }
        Ok(())
    }

    fn add_content_length(&mut self, value: &[u8]) -> Result<(), HeadRefusal> {
        if self.content_length.is_some() {
            return Err(HeadRefusal::ContentLength);
        }
        self.content_length = Some(number(value).ok_or(HeadRefusal::ContentLength)?);
        Ok(())
    }

    fn add_transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadRefusal> {
        if self.is_chunked || !self.is_http_11 || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadRefusal::TransferEncoding);
        }
        self.is_chunked = true;
        Ok(())
    }

    /// Returns the value of the one Host field (RFC 9112 section 3.2).
    pub(crate) fn host(&self) -> Result<&'a [u8], HeadRefusal> {
        self.host.ok_or(HeadRefusal::HostCount)
    }

    /// Returns the framing as RFC 9112 section 6.3 says, but repairs nothing.
    pub(crate) const fn framing(&self) -> Result<Framing, HeadRefusal> {
        match (self.is_chunked, self.content_length) {
            (true, Some(_)) => Err(HeadRefusal::TwoFramings),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(0) | None) => Ok(Framing::None),
            (false, Some(length)) => Ok(Framing::Length(length)),
        }
    }

    /// Returns the upgrade that is asked for. Only a whole WebSocket handshake (RFC 6455 section 4.1) counts as one.
    /// HTTP/1.0 cannot upgrade: there the field is ignored (RFC 9110 section 7.8), which means here that it is dropped.
    pub(crate) fn upgrade(&self, method: &[u8], framing: Framing) -> Result<Option<Upgrade>, HeadRefusal> {
        let Some((protocol, _)) = &self.upgrade else {
            return Ok(None);
        };
        if !web_socket::is_named(self.is_http_11, protocol, self.connection) {
            return Ok(Some(Upgrade::Other));
        }
        if framing != Framing::None || method != b"GET" {
            return Err(HeadRefusal::UpgradeRequest);
        }
        Ok(Some(Upgrade::WebSocket))
    }

    /// Returns the range of the Upgrade field in the head.
    pub(crate) fn upgrade_line(&self) -> Option<Range<usize>> {
        self.upgrade.as_ref().map(|(_, range)| range.clone())
    }
}
