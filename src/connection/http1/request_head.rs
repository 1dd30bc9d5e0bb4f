//! The check of a request head before anything else sees it (RFC 9112, RFC 9110 section 7).
//!
//! This module does no I/O: it takes raw bytes and returns their framing. Request smuggling needs two parsers that read
//! one head differently. So a head that can be read in more than one way is refused, not repaired.

use std::ops::Range;

use bytes::BytesMut;
use memchr::memchr;

use crate::connection::head_refusal::HeadRefusal;
use crate::connection::request_target;
use crate::syntax::authority::{Authority, default_port};
use crate::syntax::header_name::is_token;

use super::head_fields::{Fields, Framing, Upgrade};

/// The most header fields of a request. More are refused (431).
pub(crate) const MAX_FIELDS: usize = 100;

/// The most bytes of a head. A larger head is refused (431) with any configuration, because Pingora reads no larger
/// one.
pub(crate) const MAX_HEAD: usize = 1_048_575;

/// A head that can be read in exactly one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestHead {
    /// True for a HEAD request: the answer will have no body.
    pub(crate) is_head: bool,
    /// The end of the body.
    pub(crate) framing: Framing,
    /// The client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1).
    pub(crate) expect_continue: bool,
    /// The upgrade that is asked for, if any.
    pub(crate) upgrade: Option<Upgrade>,
    /// The client wants no further answer on this connection (RFC 9112 section 9.6).
    pub(crate) closes: bool,
    /// `http://authority` of an absolute-form target (RFC 9112 section 3.2.2), as a range of the head.
    absolute_prefix: Option<Range<usize>>,
    /// The line of an `Upgrade` field that must not be passed on, with its CRLF.
    dropped_line: Option<Range<usize>>,
}

/// Checks one head, from its request line through its empty line.
///
/// Pingora accepts each head that passes this check, and passes it on byte by byte. So Pingora never answers by itself.
pub(crate) fn check(head: &[u8]) -> Result<RequestHead, HeadRefusal> {
    if head.len() > MAX_HEAD {
        return Err(HeadRefusal::TooLarge);
    }
    let mut rest = head;
    let request_line = RequestLine::parse(next_line(&mut rest)?)?;
    let mut fields = Fields::new(request_line.is_http_11);
    let mut count = 0;
    loop {
        let start = head.len() - rest.len();
        let line = next_line(&mut rest)?;
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > MAX_FIELDS {
            return Err(HeadRefusal::TooManyFields);
        }
        // The two bytes are the CRLF that `next_line` took off.
        fields.add(line, start..start + line.len() + 2)?;
    }
    if !rest.is_empty() {
        return Err(HeadRefusal::RequestLine);
    }

    let host = fields.host()?;
    let absolute_prefix = request_line.absolute_prefix(host)?;
    let framing = fields.framing()?;
    let upgrade = fields.upgrade(request_line.method, framing)?;
    let dropped_line = match upgrade {
        Some(Upgrade::Other) => fields.upgrade_line(),
        Some(Upgrade::WebSocket) | None => None,
    };
    let expect_continue = fields.expect_continue && request_line.is_http_11 && framing != Framing::None;
    let is_head = request_line.method == b"HEAD";
    let closes = fields.connection.close;
    Ok(RequestHead { is_head, framing, expect_continue, upgrade, closes, absolute_prefix, dropped_line })
}

/// The most bytes of a body that is read and thrown away if nobody wanted it, to keep the connection. For a larger
/// body, a new connection is cheaper.
pub(crate) const MAX_DRAINED_BODY: u64 = 64 * 1024;

impl RequestHead {
    /// Returns true if the body is read to its end in any case. A client that waits for 100 Continue does not send the
    /// body after a final answer.
    pub(crate) const fn is_drained(&self) -> bool {
        match self.framing {
            Framing::None => true,
            Framing::Length(length) => length <= MAX_DRAINED_BODY && !self.expect_continue,
            Framing::Chunked => false,
        }
    }

    /// Returns the head as it is passed on: in origin-form, and without an upgrade that is not passed on.
    pub(crate) fn rewrite(&self, head: BytesMut) -> BytesMut {
        if self.absolute_prefix.is_none() && self.dropped_line.is_none() {
            return head;
        }
        let mut rewritten = BytesMut::with_capacity(head.len() + 1);
        let mut from = 0;
        if let Some(prefix) = &self.absolute_prefix {
            rewritten.extend_from_slice(head.get(..prefix.start).unwrap_or_default());
            if head.get(prefix.end) != Some(&b'/') {
                // An empty path is sent as "/" (RFC 9112 section 3.2.1).
                rewritten.extend_from_slice(b"/");
            }
            from = prefix.end;
        }
        if let Some(line) = &self.dropped_line {
            rewritten.extend_from_slice(head.get(from..line.start).unwrap_or_default());
            from = line.end;
        }
        rewritten.extend_from_slice(head.get(from..).unwrap_or_default());
        rewritten
    }
}

/// Takes one line off `rest`, without its CRLF.
fn next_line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], HeadRefusal> {
    let end = memchr(b'\n', rest).ok_or(HeadRefusal::BareLineFeed)?;
    let line = rest.get(..end).unwrap_or_default();
    *rest = rest.get(end + 1..).unwrap_or_default();
    line.strip_suffix(b"\r").ok_or(HeadRefusal::BareLineFeed)
}

/// `method SP request-target SP HTTP-version` (RFC 9112 section 3).
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    is_http_11: bool,
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, HeadRefusal> {
        let method_end = memchr(b' ', line).ok_or(HeadRefusal::RequestLine)?;
        let method = line.get(..method_end).unwrap_or_default();
        let target_and_version = line.get(method_end + 1..).unwrap_or_default();
        if method.is_empty() || !is_token(method) {
            return Err(HeadRefusal::RequestLine);
        }
        let target_end = memchr(b' ', target_and_version).ok_or(HeadRefusal::RequestLine)?;
        let target = target_and_version.get(..target_end).unwrap_or_default();
        let is_http_11 = match target_and_version.get(target_end + 1..).unwrap_or_default() {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            version if version.starts_with(b"HTTP/") && memchr(b' ', version).is_none() => {
                return Err(HeadRefusal::Version);
            }
            _ => return Err(HeadRefusal::RequestLine),
        };
        request_target::check_method(method)?;
        request_target::check_bytes(target)?;
        Ok(Self { method, target, is_http_11 })
    }

    /// Returns what to cut from an absolute-form target. Its authority must equal the Host field's (RFC 9112 section
    /// 3.2.2).
    fn absolute_prefix(&self, host: &[u8]) -> Result<Option<Range<usize>>, HeadRefusal> {
        let host = Authority::parse(host).ok_or(HeadRefusal::HostValue)?;
        if self.target.first() == Some(&b'/') {
            return request_target::check_length(self.target.len()).map(|()| None);
        }
        let colon = memchr(b':', self.target).ok_or(HeadRefusal::TargetForm)?;
        let (scheme, rest) = self.target.split_at_checked(colon).ok_or(HeadRefusal::TargetForm)?;
        let default_port = default_port(scheme).ok_or(HeadRefusal::TargetForm)?;
        if !rest.starts_with(b"://") {
            return Err(HeadRefusal::TargetForm);
        }
        let scheme_length = colon + b"://".len();
        let after_scheme = self.target.get(scheme_length..).unwrap_or_default();
        let authority_length = memchr::memchr2(b'/', b'?', after_scheme).unwrap_or(after_scheme.len());
        let authority = after_scheme.get(..authority_length).unwrap_or_default();
        if !Authority::parse(authority).is_some_and(|authority| authority.is_same(&host, default_port)) {
            return Err(HeadRefusal::TargetForm);
        }
        // The one byte more is the "/" that an empty path becomes.
        request_target::check_length(after_scheme.len() - authority_length + 1)?;
        let start = self.method.len() + 1;
        Ok(Some(start..start + scheme_length + authority_length))
    }
}

#[cfg(test)]
mod tests;
