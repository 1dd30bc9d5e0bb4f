//! What a request head must look like before anything else sees it (RFC 9112, RFC 9110 section 7).
//!
//! Pure: raw bytes in, framing out. Two parsers that read one head differently are what request smuggling is
//! made of, so everything here that has more than one reading is refused instead of repaired.

use std::ops::Range;

use bytes::BytesMut;
use memchr::memchr;

use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::syntax::authority::{Authority, default_port};

use super::head_fields::{Fields, is_token};

/// Header fields beyond this number are refused (431).
pub(crate) const MAX_FIELDS: usize = 100;

/// Bytes of a head, of a target in origin-form and of a field name beyond which they are refused (431) whatever is configured:
/// Pingora reads no larger head, and the `http` crate counts the others in 16 bits.
pub(crate) const MAX_HEAD: usize = 1_048_575;
pub(crate) const MAX_TARGET: usize = 65_534;
pub(crate) const MAX_FIELD_NAME: usize = 65_535;

/// The methods named in `Allow` when TRACE or CONNECT is refused.
const ALLOWED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// How the end of a request's body is found (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// No body.
    None,
    /// This many bytes, at least one.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What a request wants the connection to become (RFC 9110 section 7.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// A WebSocket handshake: GET, no body, `Connection: upgrade`.
    WebSocket,
    /// Anything else, such as `h2c`: [`RequestHead::rewrite`] drops the field, which makes it a plain request.
    Other,
}

/// A head that has exactly one reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestHead {
    /// The answer will have no body.
    pub(crate) is_head: bool,
    /// Where the body ends.
    pub(crate) framing: Framing,
    /// The client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1).
    pub(crate) expect_continue: bool,
    /// The upgrade that is asked for, if any.
    pub(crate) upgrade: Option<Upgrade>,
    /// The client wants no other answer on this connection (RFC 9112 section 9.6).
    pub(crate) closes: bool,
    /// `http://authority` of an absolute-form target (RFC 9112 section 3.2.2), as a range of the head.
    absolute_prefix: Option<Range<usize>>,
    /// The line of an `Upgrade` field that must not be passed on, with its CRLF.
    dropped_line: Option<Range<usize>>,
}

/// Why a head was refused. Every refusal ends the connection, since what follows cannot be framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.detail())]
pub(crate) enum HeadRefusal {
    /// A line ends in LF alone, or the head does not end in an empty line.
    BareLineFeed,
    /// Not `method SP target SP version`.
    RequestLine,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    Version,
    /// TRACE or CONNECT.
    Method,
    /// A control, space or non-ASCII byte, or `#`, in the target.
    TargetByte,
    /// `<`, `>` or a backtick in the path, which the `http` crate does not carry. Other bytes that no path has are refused later, once
    /// it is known for which app.
    PathByte,
    /// `"`, `<` or `>` in the query, which the `http` crate does not carry.
    QueryByte,
    /// Neither origin-form nor an absolute-form that agrees with Host.
    TargetForm,
    /// A line that begins with white space (RFC 9112 section 5.2).
    FoldedField,
    /// A field name that is empty, no token, or followed by white space (RFC 9112 section 5.1).
    FieldName,
    /// CR, NUL or another control byte in a field value.
    FieldValue,
    /// More than 100 fields.
    TooManyFields,
    /// No Host field, or several.
    HostCount,
    /// A Host that is no host with an optional port.
    HostValue,
    /// Content-Length repeated, a list, not digits, or beyond 63 bits.
    ContentLength,
    /// Anything but one `Transfer-Encoding: chunked`, on HTTP/1.1.
    TransferEncoding,
    /// Content-Length beside Transfer-Encoding (RFC 9112 section 6.1).
    TwoFramings,
    /// `Connection` names a field that frames or routes the message.
    ConnectionOption,
    /// Several Upgrade fields, or a WebSocket handshake with a body.
    UpgradeRequest,
    /// HTTP where TLS is spoken.
    HttpAtTlsPort,
    /// TLS where HTTP is spoken without it.
    TlsAtHttpPort,
    /// What a load balancer may put in front of a connection.
    ProxyProtocol,
    /// The head exceeds `server.limits.max_header_size`, or its target or a field name what can be passed on.
    TooLarge,
}

impl HeadRefusal {
    /// What to tell the client; never an echo of what it sent.
    const fn detail(self) -> &'static str {
        match self {
            Self::BareLineFeed => "Lines of a request head end in CR LF.",
            Self::RequestLine => "The request line is malformed.",
            Self::Version => "Only HTTP/1.1 and HTTP/1.0 are spoken here.",
            Self::Method => "TRACE and CONNECT are not served.",
            Self::TargetByte | Self::PathByte | Self::QueryByte => {
                "The request target holds a byte that must be percent-encoded."
            }
            Self::TargetForm => {
                "The request target must be a path, or an absolute URI that agrees with Host."
            }
            Self::FoldedField => "Header fields must not be folded over several lines.",
            Self::FieldName => "A header field name is malformed.",
            Self::FieldValue => "A header field value holds a control byte.",
            // `MAX_FIELDS`.
            Self::TooManyFields => "The request has more than 100 header fields.",
            Self::HostCount => "Exactly one Host field is needed.",
            Self::HostValue => "The Host field is malformed.",
            Self::ContentLength => "Content-Length is malformed or repeated.",
            Self::TransferEncoding => "The only transfer coding is one `chunked`, on HTTP/1.1.",
            Self::TwoFramings => "Content-Length and Transfer-Encoding exclude each other.",
            Self::ConnectionOption => "Connection must not name a field that frames or routes the request.",
            Self::UpgradeRequest => "The upgrade request is malformed.",
            Self::HttpAtTlsPort => "A plain HTTP request came to a port that speaks TLS: use https://.",
            Self::TlsAtHttpPort => {
                "TLS came to a port that speaks plain HTTP: use http://, or `server.listen_tls`."
            }
            Self::ProxyProtocol => {
                "The PROXY protocol is not spoken here: let the load balancer send X-Forwarded-For."
            }
            Self::TooLarge => {
                "The request head is larger than `server.limits.max_header_size`, or its target or a field name too long."
            }
        }
    }

    /// The answer that goes with it: 400, 405 or 431.
    pub(crate) fn problem(self) -> Problem {
        match self {
            Self::Method => Problem::new(Code::MethodNotAllowed, self.detail()).allow(ALLOWED_METHODS),
            Self::TooManyFields | Self::TooLarge => Problem::new(Code::HeaderTooLarge, self.detail()),
            Self::HttpAtTlsPort => {
                Problem::new(Code::BadRequest, self.detail()).because(ReasonCode::HttpOnTlsPort)
            }
            Self::TlsAtHttpPort => {
                Problem::new(Code::BadRequest, self.detail()).because(ReasonCode::TlsOnHttpPort)
            }
            Self::ProxyProtocol => {
                Problem::new(Code::BadRequest, self.detail()).because(ReasonCode::ProxyProtocol)
            }
            Self::PathByte => {
                Problem::new(Code::BadRequest, self.detail()).because(ReasonCode::PathCharacter)
            }
            _ => Problem::new(Code::BadRequest, self.detail()),
        }
    }
}

/// Checks one head, from its request line through its empty line.
///
/// What comes through here, Pingora accepts and passes on byte by byte: it never has an answer of its own to give.
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
    let closes = fields.closes;
    Ok(RequestHead { is_head, framing, expect_continue, upgrade, closes, absolute_prefix, dropped_line })
}

/// A body up to this size is read and thrown away when nobody wanted it, to keep the connection. Beyond it,
/// opening a new one is cheaper.
const MAX_DRAINED_BODY: u64 = 64 * 1024;

impl RequestHead {
    /// Whether the body is read to its end in any case. A client that waits for 100 Continue does not send it after a final
    /// answer.
    pub(crate) const fn is_drained(&self) -> bool {
        match self.framing {
            Framing::None => true,
            Framing::Length(length) => length <= MAX_DRAINED_BODY && !self.expect_continue,
            Framing::Chunked => false,
        }
    }

    /// The head as it goes on: in origin-form, and without an upgrade that is not passed on.
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

/// Whether a target has only bytes that can be passed on as they are.
pub(crate) fn check_target_bytes(target: &[u8]) -> Result<(), HeadRefusal> {
    let path_length = memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at_checked(path_length).unwrap_or((target, b""));
    // Without a way out of the loops the compiler vectorises them, and targets are nearly always good.
    let is_bad = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'#' | b'<' | b'>');
    let bad_path = path.iter().fold(0, |bad, &byte| bad | u8::from(is_bad(byte) || byte == b'`'));
    let bad_query = query.iter().fold(0, |bad, &byte| bad | u8::from(is_bad(byte) || byte == b'"'));
    if bad_path | bad_query == 0 {
        return Ok(());
    }
    Err(if target.iter().any(|&byte| !byte.is_ascii_graphic() || byte == b'#') {
        HeadRefusal::TargetByte
    } else if path.iter().any(|byte| matches!(byte, b'<' | b'>' | b'`')) {
        HeadRefusal::PathByte
    } else {
        HeadRefusal::QueryByte
    })
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
        // An app may compare methods without case, so these are refused in any.
        if method.eq_ignore_ascii_case(b"TRACE") || method.eq_ignore_ascii_case(b"CONNECT") {
            return Err(HeadRefusal::Method);
        }
        check_target_bytes(target)?;
        Ok(Self { method, target, is_http_11 })
    }

    /// What to cut from an absolute-form target, whose authority must be the Host field's (RFC 9112 section 3.2.2).
    fn absolute_prefix(&self, host: &[u8]) -> Result<Option<Range<usize>>, HeadRefusal> {
        let host = Authority::parse(host).ok_or(HeadRefusal::HostValue)?;
        if self.target.first() == Some(&b'/') {
            return if self.target.len() > MAX_TARGET { Err(HeadRefusal::TooLarge) } else { Ok(None) };
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
        // One more for the "/" that an empty path becomes.
        if after_scheme.len() - authority_length >= MAX_TARGET {
            return Err(HeadRefusal::TooLarge);
        }
        let start = self.method.len() + 1;
        Ok(Some(start..start + scheme_length + authority_length))
    }
}

#[cfg(test)]
mod tests;
