//! The heads that are written to apps and that apps send. They state the end of the body, and if another message may
//! follow on the connection.
//!
//! An app's head with more than one meaning is refused by the rule of [`crate::syntax::app_head`], if only the bytes
//! show it. Other oddities are let through, because Pingora reads the head too and may refuse it. But after such a
//! head, nothing may follow on the connection.

use std::time::Duration;

use memchr::memchr;

use crate::syntax::app_head::{AppHeadRefusal, Framing, MAX_FIELDS, check_status, has_no_body, is_interim};
use crate::syntax::framing_fields::{ConnectionOptions, number};
use crate::syntax::list_field::{members, trim};

/// The end of a body (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// There is no body.
    None,
    /// After this many bytes, at least one.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// At the end of the connection, or at an unknown place.
    Unknown,
}

/// The head of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestHead {
    pub(crate) body: BodyEnd,
    /// True for a HEAD request: the answer has no body (RFC 9110 section 9.3.2).
    pub(crate) is_head: bool,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerHead {
    /// The status is 1xx except 101: another head follows.
    pub(crate) is_interim: bool,
    /// The status is 101: the following bytes are not HTTP.
    pub(crate) is_switch: bool,
    pub(crate) body: BodyEnd,
    /// Another request may follow on the connection.
    pub(crate) persists: bool,
    /// The time for which the app keeps the idle connection, if the head states it.
    pub(crate) idle: Option<Duration>,
}

/// The fields that matter here.
#[derive(Debug, Default)]
struct Fields {
    count: usize,
    framing: Framing,
    connection: ConnectionOptions,
    /// The least of all values that were stated.
    timeout: Option<u64>,
    /// The number of further requests that may follow.
    max: Option<u64>,
    /// The last line is a field that frames the message.
    is_framing: bool,
    /// A length or a coding was repeated.
    is_repeated: bool,
    /// There is something that others may read in another way.
    is_odd: bool,
    refusal: Option<AppHeadRefusal>,
}

/// Reads one head at the beginning of `bytes`. Returns its first line, its fields, and its length, and `None` if its
/// end has not come. A head with more than `most` fields is refused as soon as the next field begins.
fn read(bytes: &[u8], most: usize) -> Option<(&[u8], Fields, usize)> {
    let mut fields = Fields::default();
    let mut at = 0;
    let first = next_line(bytes, &mut at, &mut fields)?;
    loop {
        if fields.count == most && !matches!(bytes.get(at)?, b'\r' | b'\n' | b' ' | b'\t') {
            fields.refuse(Err(AppHeadRefusal::TooManyFields));
            return Some((first, fields, at));
        }
        let line = next_line(bytes, &mut at, &mut fields)?;
        if line.is_empty() {
            return Some((first, fields, at));
        }
        fields.add(line);
    }
}

/// Returns the line that begins at `at`, without its end. Moves `at` to the next line.
fn next_line<'a>(bytes: &'a [u8], at: &mut usize, fields: &mut Fields) -> Option<&'a [u8]> {
    let rest = bytes.get(*at..)?;
    let end = memchr(b'\n', rest)?;
    let line = rest.get(..end)?;
    *at += end + 1;
    let stripped = line.strip_suffix(b"\r");
    // Pingora also takes a bare LF for the end of a line.
    fields.is_odd |= stripped.is_none();
    Some(stripped.unwrap_or(line))
}

impl Fields {
    fn add(&mut self, line: &[u8]) {
        self.count += usize::from(!matches!(line.first(), Some(b' ' | b'\t')));
        // The first letter rules out nearly every field.
        match line.first() {
            Some(b'c' | b'C' | b't' | b'T' | b'k' | b'K') => {}
            Some(b' ' | b'\t') => {
                self.is_odd = true;
                if self.is_framing {
                    self.refuse(Err(AppHeadRefusal::Folded));
                }
                return;
            }
            _ => {
                self.is_framing = false;
                return;
            }
        }
        self.is_framing = false;
        let Some(colon) = memchr(b':', line) else { return };
        let name = line.get(..colon).unwrap_or_default();
        let value = line.get(colon + 1..).unwrap_or_default();
        match trim(name) {
            name if name.eq_ignore_ascii_case(b"content-length") => {
                self.is_repeated |= self.framing.length.is_some();
                let added = self.framing.add_length(value);
                self.refuse(added);
            }
            name if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let added = self.framing.add_coding(value);
                self.refuse(added);
            }
            name if name.eq_ignore_ascii_case(b"connection") => {
                members([value]).for_each(|option| self.connection.add(option));
            }
            name if name.eq_ignore_ascii_case(b"keep-alive") => self.add_keep_alive(value),
            _ => return,
        }
        self.is_framing = true;
    }

    /// Notes a refusal. The first one is kept.
    fn refuse(&mut self, checked: Result<(), AppHeadRefusal>) {
        self.refusal = self.refusal.or(checked.err());
    }

    /// Reads `Keep-Alive: timeout=5, max=100`. A value that cannot be read counts as 0: there is a limit, but it is not
    /// known.
    fn add_keep_alive(&mut self, value: &[u8]) {
        for parameter in members([value]) {
            let equals = memchr(b'=', parameter);
            let name = trim(parameter.get(..equals.unwrap_or(parameter.len())).unwrap_or_default());
            let known = match name {
                _ if name.eq_ignore_ascii_case(b"timeout") => &mut self.timeout,
                _ if name.eq_ignore_ascii_case(b"max") => &mut self.max,
                _ => continue,
            };
            let value = equals.and_then(|at| parameter.get(at + 1..)).map(trim).unwrap_or_default();
            let said =
                bound(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value));
            *known = Some(known.map_or(said, |known| known.min(said)));
        }
    }

    fn body(&self) -> BodyEnd {
        match self.framing {
            _ if self.is_odd || self.refusal.is_some() => BodyEnd::Unknown,
            Framing { length: Some(_), is_chunked: true } => BodyEnd::Unknown,
            Framing { is_chunked: true, .. } => BodyEnd::Chunked,
            Framing { length: Some(length @ 1..), .. } => BodyEnd::Length(length),
            Framing { length: Some(0) | None, .. } => BodyEnd::None,
        }
    }
}

/// Reads any number of digits. Returns 0 for everything else.
fn bound(value: &[u8]) -> u64 {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    number(value).unwrap_or(if is_number { u64::MAX } else { 0 })
}

impl RequestHead {
    /// Reads a head at the beginning of `bytes`, and returns its length with it. Returns `None` if its end has not
    /// come.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (first, fields, length) = read(bytes, usize::MAX)?;
        // We write each field only once.
        let body = if fields.is_repeated || first.is_empty() { BodyEnd::Unknown } else { fields.body() };
        Some((Self { body, is_head: first.starts_with(b"HEAD ") }, length))
    }
}

impl AnswerHead {
    /// Reads the head of an answer at the beginning of `bytes`, and returns its length with it. `is_to_head` is true if
    /// the request was HEAD. Returns `None` if the end of the head has not come.
    pub(crate) fn read(bytes: &[u8], is_to_head: bool) -> Option<(Result<Self, AppHeadRefusal>, usize)> {
        let (first, fields, length) = read(bytes, MAX_FIELDS)?;
        Some((Self::judge(first, &fields, is_to_head), length))
    }

    fn judge(first: &[u8], fields: &Fields, is_to_head: bool) -> Result<Self, AppHeadRefusal> {
        let (is_http_10, status) = status_line(first)?;
        if let Some(refusal) = fields.refusal {
            return Err(refusal);
        }
        fields.framing.check(is_http_10)?;
        let announced = fields.body();
        let persists = !fields.connection.close && fields.max != Some(0);
        let idle = fields.timeout.map(Duration::from_secs);
        let unknown =
            Self { is_interim: false, is_switch: false, body: BodyEnd::Unknown, persists: false, idle: None };
        match status {
            100..=199 if is_http_10 => Err(AppHeadRefusal::InterimOfHttp10),
            101 => Ok(Self { is_switch: true, ..unknown }),
            // An app that announces a body here may send it, but later.
            status if is_interim(status) => {
                Ok(Self { is_interim: true, persists: persists && announced == BodyEnd::None, ..unknown })
            }
            _ => {
                let is_without = has_no_body(is_to_head, status);
                let body = match announced {
                    BodyEnd::None if fields.framing.length.is_none() && !is_without => BodyEnd::Unknown,
                    body => body,
                };
                let persists = persists
                    && !is_http_10
                    && body != BodyEnd::Unknown
                    && (body == BodyEnd::None || !is_without);
                let body = if is_without && body != BodyEnd::Unknown { BodyEnd::None } else { body };
                Ok(Self { body, persists, idle, ..unknown })
            }
        }
    }
}

/// Returns true for HTTP/1.0, and the status (RFC 9112 section 4).
fn status_line(line: &[u8]) -> Result<(bool, u16), AppHeadRefusal> {
    let rest = line.strip_prefix(b"HTTP/1.").ok_or(AppHeadRefusal::StatusLine)?;
    let (minor, status) = match rest {
        [minor @ (b'0' | b'1'), b' ', status @ ..] => (*minor, status),
        _ => return Err(AppHeadRefusal::StatusLine),
    };
    let ([a, b, c] | [a, b, c, b' ', ..]) = status else { return Err(AppHeadRefusal::StatusLine) };
    let status = number(&[*a, *b, *c]).and_then(|status| u16::try_from(status).ok());
    let status = status.ok_or(AppHeadRefusal::StatusLine)?;
    check_status(status)?;
    Ok((minor == b'0', status))
}

#[cfg(test)]
mod tests;
