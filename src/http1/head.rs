//! The heads that are written to apps, or that apps send: they say where the body ends, and if another message
//! may follow on the connection.
//!
//! An app's head that has more than one meaning is refused by the rule of [`crate::syntax::app_head`], as far as the
//! bytes are needed to see it. What else is odd passes, since Pingora reads it too and may refuse it; but then nothing
//! may follow.

use std::time::Duration;

use memchr::memchr;

use crate::syntax::app_head::{AppHeadRefusal, Framing, MAX_FIELDS, check_status, has_no_body, is_interim};
use crate::syntax::framing_fields::{ConnectionOptions, number};
use crate::syntax::list_field::{members, trim};

/// The end of a body (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// There is none.
    None,
    /// After this many bytes, at least one.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection, or it is not known where.
    Unknown,
}

/// The head of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestHead {
    pub(crate) body: BodyEnd,
    /// The answer has no body (RFC 9110 section 9.3.2).
    pub(crate) is_head: bool,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerHead {
    /// 1xx except 101: another head follows.
    pub(crate) is_interim: bool,
    /// 101: what follows is no HTTP.
    pub(crate) is_switch: bool,
    pub(crate) body: BodyEnd,
    /// Another request may follow on the connection.
    pub(crate) persists: bool,
    /// The time for which the connection is kept without one, if that is said.
    pub(crate) idle: Option<Duration>,
}

/// The fields that matter here.
#[derive(Debug, Default)]
struct Fields {
    count: usize,
    framing: Framing,
    connection: ConnectionOptions,
    /// Of all that is said about it, the least.
    timeout: Option<u64>,
    /// As many more requests as may follow.
    max: Option<u64>,
    /// The line before frames the message.
    is_framing: bool,
    /// A length, or a coding, came again.
    is_repeated: bool,
    /// Something that others may read otherwise.
    is_odd: bool,
    refusal: Option<AppHeadRefusal>,
}

/// One head at the beginning of `bytes`: its first line, its fields, and its length. `None`: its end has not come. One
/// with more than `most` fields is refused as soon as the next one begins.
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

/// The line that begins at `at`, without its end; afterwards `at` is behind it.
fn next_line<'a>(bytes: &'a [u8], at: &mut usize, fields: &mut Fields) -> Option<&'a [u8]> {
    let rest = bytes.get(*at..)?;
    let end = memchr(b'\n', rest)?;
    let line = rest.get(..end)?;
    *at += end + 1;
    let stripped = line.strip_suffix(b"\r");
    // Pingora takes a bare LF for the end of a line, too.
    fields.is_odd |= stripped.is_none();
    Some(stripped.unwrap_or(line))
}

impl Fields {
    fn add(&mut self, line: &[u8]) {
        self.count += usize::from(!matches!(line.first(), Some(b' ' | b'\t')));
        // Nearly every field is out after its first letter.
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

    /// The first refusal stays.
    fn refuse(&mut self, checked: Result<(), AppHeadRefusal>) {
        self.refusal = self.refusal.or(checked.err());
    }

    /// `Keep-Alive: timeout=5, max=100`. One that cannot be read is taken for 0: it says that there is a bound, but not
    /// which.
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

/// Reads any number of digits; everything else is 0.
fn bound(value: &[u8]) -> u64 {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    number(value).unwrap_or(if is_number { u64::MAX } else { 0 })
}

impl RequestHead {
    /// Reads a head at the beginning of `bytes`, and says how long it is. `None`: its end has not come.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (first, fields, length) = read(bytes, usize::MAX)?;
        // What we write says each thing once.
        let body = if fields.is_repeated || first.is_empty() { BodyEnd::Unknown } else { fields.body() };
        Some((Self { body, is_head: first.starts_with(b"HEAD ") }, length))
    }
}

impl AnswerHead {
    /// Reads the head of an answer, to a HEAD request or another, at the beginning of `bytes`, and says how long it is.
    /// `None`: its end has not come.
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
            // An app that announces a body here may send it, and only later.
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

/// Reads if it is one of HTTP/1.0, and the status (RFC 9112 section 4).
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
